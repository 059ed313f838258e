"""The jobs that were given up: reading, redriving and dropping them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heeler.brokers.sqlite.publishing import arrive, forget_job
from heeler.brokers.sqlite.records import KnownJob
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_dead_details, decode_envelope
from heeler.model import ArrivalKind, DeadLetter, Envelope, TaskStatus, arrivals_of, decode_bare_record

__all__ = ["Parked", "newest", "oldest", "redrive", "revive", "with_ids"]

_BEYOND_ALL = 1 << 62


class Parked(NamedTuple):
    """A row of `dead_letters`. `epoch` is that of its job's last lease, from which a redrive goes on."""

    number: int
    id: str
    queue: str
    task: str
    died_at: float
    epoch: int
    details: bytes
    content: bytes

    def letter(self) -> DeadLetter:
        details = decode_dead_details(self.details)
        return DeadLetter(
            id=self.id,
            queue=self.queue,
            reason=details.reason,
            died_at=self.died_at,
            task=self.task,
            envelope=None if details.raw else decode_envelope(self.content),
            raw=self.content if details.raw else b"",
            errors=details.errors,
            attempts=details.attempts,
            crashes=details.crashes,
        )


def newest(step: Step, queue: str | None, task: str | None, limit: int, after: str | None) -> list[DeadLetter]:
    row = None if after is None else step.row("dead_number", (after,))
    below = _BEYOND_ALL if row is None else row[0]
    rows = step.run("dead_letters", (_oldest_kept(step), queue, task, below, limit))
    return [parked.letter() for parked in map(Parked._make, rows)]


def oldest(step: Step, queue: str | None, task: str | None, limit: int, above: int, last: int) -> list[Parked]:
    """For going through all of them, batch by batch: those with numbers beyond `above`, up to `last`."""
    rows = step.run("oldest_dead", (_oldest_kept(step), queue, task, above, last, limit))
    return list(map(Parked._make, rows))


def with_ids(step: Step, ids: Sequence[str], queue: str | None, task: str | None) -> list[Parked]:
    rows = step.run("dead_letters_by_id", (_oldest_kept(step), msgspec.json.encode(ids).decode()))
    return [
        parked
        for parked in map(Parked._make, rows)
        if (queue is None or parked.queue == queue) and (task is None or parked.task == task)
    ]


def redrive(step: Step, parked: Parked) -> bool:
    """Whether the job went back: not if it is no envelope, or if a job that has not ended has its id by now."""
    envelope = parked.letter().envelope
    if envelope is None or not _live_again(step, envelope, parked.content, parked.epoch):
        return False
    step.run("drop_dead", (parked.number,))
    return True


def revive(step: Step, job: KnownJob) -> bool:
    """Make a job new again from its record; False if it has not ended, was successful, or its record is gone."""
    if job.forget_at is None or job.record is None:
        return False
    envelope = job.decoded()
    if decode_bare_record(job.record, envelope).status is TaskStatus.SUCCESSFUL:
        return False
    parked = with_ids(step, [job.id], None, None)
    if not _live_again(step, envelope, job.envelope, parked[0].epoch if parked else 0):
        return False
    step.run_many("drop_dead", [(letter.number,) for letter in parked])
    return True


def _live_again(step: Step, envelope: Envelope, content: bytes, epoch: int) -> bool:
    """Whether the job is READY again, with its counters at zero: not if a job of its id has not ended."""
    holder = step.row("holder_of_id", (envelope.id,))
    if holder is not None:
        seq, _, forget_at = holder
        if forget_at is None:
            return False
        forget_job(step, seq)
    number = step.next_seq()
    queue = step.queue(envelope.queue)
    expires_at = None if envelope.expires_in is None else step.now + envelope.expires_in
    task = step.task(envelope.task)
    rank = -envelope.priority
    step.run("add_job", (number, envelope.id, queue, task, rank, step.now, expires_at, content))
    step.run("write_history", (number, number, step.now, epoch, 0, 0, False, b""))
    step.run("make_ready", (queue, rank, number, number, task))
    step.work_for(queue, task)
    step.event(envelope, TaskStatus.READY)
    arrive(step, arrivals_of(envelope, ArrivalKind.REVIVED))
    return True


def _oldest_kept(step: Step) -> float:
    return step.now - step.limits.dead_letter_ttl
