"""The step that makes a publication real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from heeler.brokers.sqlite import latches
from heeler.brokers.sqlite.connection import Database
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope, decode_publish_answers, encode
from heeler.model import (
    Arrival,
    CallId,
    Envelope,
    Publication,
    PublishAnswer,
    PublishResult,
    guard_moved,
    guard_refused,
)

__all__ = [
    "add",
    "arrive",
    "arrive_well",
    "find_answers",
    "forget_job",
    "keep_answers",
    "let_go",
    "lone_row",
    "publish",
]

_ACCEPTED = PublishAnswer.ACCEPTED
_CALLS_KEPT = 120.0  # seconds


def publish(step: Step, publication: Publication) -> list[PublishResult]:
    call = publication.call
    if call is None:
        return add(step, publication)
    known = find_answers(step, "publish", call)
    if known is not None:
        return decode_publish_answers(known)
    answers = add(step, publication)
    keep_answers(step, "publish", call, encode(answers))
    return answers


def add(step: Step, publication: Publication) -> list[PublishResult]:
    """Make a publication real within a step."""
    guard = publication.guard
    if guard is not None:
        row = step.row("cell", (guard.cell,))
        if (row[0] if row is not None else None) != guard.expected:
            return guard_refused(publication)
        if guard.next is None:
            step.run("clear_cell", (guard.cell,))
        else:
            step.run("set_cell", (guard.cell, guard.next, guard.due_at))
    envelopes = publication.envelopes
    if len(envelopes) == 1 and _is_plain(envelopes[0], step.limits.max_payload):
        answers = _add_one(step, envelopes[0])
    else:
        answers = _add_all(step, envelopes) if envelopes else []
    for latch in publication.latches:
        let_go(step, latches.publish(step, latch))
    if guard is not None:
        answers.append(guard_moved(guard))
    return answers


def arrive(step: Step, arrivals: Iterable[Arrival]) -> None:
    """Tell latches who has ended, and publish what they let go."""
    for arrival in arrivals:
        let_go(step, latches.arrive(step, arrival))


def arrive_well(step: Step, arrivals: Iterable[Arrival]) -> None:
    """The same for arrivals that are all OK, in one go at each latch."""
    members: dict[str, list[int]] = {}
    for arrival in arrivals:
        members.setdefault(arrival.latch, []).append(arrival.member)
    for latch, some in members.items():
        let_go(step, latches.arrive_well(step, latch, some))


def let_go(step: Step, freed: Sequence[Envelope]) -> None:
    """Publish what latches let go."""
    if freed:
        _add_all(step, freed)


def forget_job(step: Step, seq: int) -> None:
    """Drop all that is stored of a job that waits nowhere."""
    step.drop_jobs([(seq,)])
    step.run("drop_record", (seq,))
    step.run("drop_history", (seq,))


def find_answers(step: Step, verb: str, call: CallId) -> bytes | None:
    """The answers to a call that was carried out before, else None."""
    row = step.row("answers", (verb, call.session, call.number, step.now - _CALLS_KEPT))
    return None if row is None else row[0]


def keep_answers(step: Step, verb: str, call: CallId, answers: bytes) -> None:
    step.run("prune_answers", (step.now - _CALLS_KEPT,))
    step.run("keep_answers", (verb, call.session, call.number, step.now, answers))


def _is_plain(envelope: Envelope, max_payload: int) -> bool:
    """Whether the job may start at once and has nothing behind it."""
    return (
        envelope.delay <= 0.0
        and envelope.run_at is None
        and envelope.epoch == 1
        and not (envelope.attempts or envelope.crashes or envelope.suspect or envelope.note)
        and len(envelope.body) <= max_payload
    )


def _add_one(step: Step, envelope: Envelope) -> list[PublishResult]:
    """What `_add_all` does, for one plain job: who enqueues one by one pays for each statement."""
    queue = step.queue(envelope.queue)
    task = step.task(envelope.task)
    rank = -envelope.priority
    expires_at = _expiry(envelope, step.now)
    cursor = step.run("add_one_job", (envelope.id, queue, task, rank, step.now, expires_at, encode(envelope)))
    if cursor.rowcount != 1:
        return _add_all(step, (envelope,))
    seq = cursor.lastrowid
    step.run("make_ready", (queue, rank, seq, seq, task))
    step.work_for(queue, task)
    return [PublishResult(_ACCEPTED, envelope.id)]


def lone_row(database: Database, publication: Publication) -> tuple[Any, ...] | None:
    """The row of `add_lone_job`, for a publication of one plain job of a known queue and task; None for any other."""
    envelopes = publication.envelopes
    if len(envelopes) != 1 or publication.latches or publication.guard or publication.call:
        return None
    envelope = envelopes[0]
    queue = database.numbers.queues.get(envelope.queue)
    task = database.numbers.tasks.get(envelope.task)
    if (
        queue is None
        or task is None
        or envelope.expires_in is not None
        or envelope.expires_at is not None
        or not _is_plain(envelope, database.limits.max_payload)
    ):
        return None
    return envelope.id, queue, task, -envelope.priority, database.clock.time(), encode(envelope)


def _add_all(step: Step, envelopes: Sequence[Envelope]) -> list[PublishResult]:
    now = step.now
    most = step.limits.max_payload
    first = seq = step.next_seq()
    answers: list[PublishResult] = []
    rows: list[tuple[Any, ...]] = []
    scheduled = carried = False
    for envelope in envelopes:
        size = len(envelope.body)
        if size > most:
            reason = f"the message has {size} bytes, the broker takes {most}"
            answers.append(PublishResult(PublishAnswer.REFUSED, envelope.id, reason))
            continue
        queue = step.queue(envelope.queue)
        task = step.task(envelope.task)
        at = now
        if envelope.delay > 0.0 or envelope.run_at is not None:
            at = max(now + envelope.delay, envelope.run_at or 0.0)
        if at > now:
            scheduled = True
            step.due_for(queue, at)
        else:
            step.work_for(queue, task)
        if envelope.epoch != 1 or envelope.attempts or envelope.crashes or envelope.suspect or envelope.note:
            carried = True
        rows.append(
            (
                seq,
                envelope.id,
                queue,
                task,
                -envelope.priority,
                at,
                _expiry(envelope, now),
                encode(envelope),
            )
        )
        answers.append(PublishResult(_ACCEPTED, envelope.id))
        seq += 1
    if rows:
        if step.run_many("add_job", rows) != len(rows):
            _settle_clashes(step, first, envelopes, rows, answers)
        last = seq - 1
        step.run("enqueue_ready", (first, last, now))
        if scheduled:
            step.run("enqueue_scheduled", (first, last, now))
        if carried:
            _carry_history(step, first, last, envelopes, rows)
    return answers


def _expiry(envelope: Envelope, now: float) -> float | None:
    if envelope.expires_in is None:
        return envelope.expires_at
    by_delay = now + envelope.expires_in
    return by_delay if envelope.expires_at is None else min(by_delay, envelope.expires_at)


def _settle_clashes(
    step: Step,
    first: int,
    envelopes: Sequence[Envelope],
    rows: Sequence[tuple[Any, ...]],
    answers: list[PublishResult],
) -> None:
    """Some ids were taken: say so in their answers, or take the place of what is only waiting to be forgotten."""
    added = {seq for (seq,) in step.run("added_jobs", (first, first + len(rows) - 1))}
    row_of = iter(rows)
    for index, answer in enumerate(answers):
        if answer.answer is not _ACCEPTED:
            continue
        row = next(row_of)
        if row[0] in added:
            continue
        holder, bytes_, forget_at = step.row("holder_of_id", (answer.id,))
        if forget_at is not None and forget_at <= step.now:
            forget_job(step, holder)
            step.run("add_job", row)
        else:
            answers[index] = _clash(envelopes[index], decode_envelope(bytes_))


def _clash(envelope: Envelope, there: Envelope) -> PublishResult:
    """Without a fingerprint nothing tells two jobs of one id apart: it is taken for the same."""
    if envelope.fingerprint and (envelope.fingerprint != there.fingerprint or envelope.task != there.task):
        reason = f"the id {envelope.id!r} is taken by a job of {there.task}"
        if envelope.task == there.task:
            reason += " with other arguments"
        return PublishResult(PublishAnswer.CONFLICT, envelope.id, reason)
    return PublishResult(PublishAnswer.EXISTS, envelope.id)


def _carry_history(
    step: Step, first: int, last: int, envelopes: Sequence[Envelope], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Write down what copies of jobs bring with them."""
    added = {seq for (seq,) in step.run("added_jobs", (first, last))}
    by_id = {envelope.id: envelope for envelope in envelopes}
    for seq, id, _, _, _, at, *_ in rows:
        e = by_id[id]
        if seq in added and (e.epoch != 1 or e.attempts or e.crashes or e.suspect or e.note):
            step.run("write_history", (seq, seq, at, e.epoch - 1, e.attempts, e.crashes, e.suspect, e.note))
