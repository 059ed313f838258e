"""The step that makes a publication real."""

from __future__ import annotations

from collections.abc import Iterable

from heeler.brokers.memory.job import Job
from heeler.brokers.memory.state import MemoryState
from heeler.model import (
    Arrival,
    Envelope,
    Publication,
    PublishAnswer,
    PublishResult,
    guard_moved,
    guard_refused,
)

__all__ = ["add", "arrive", "let_go", "publish"]

_ACCEPTED = PublishAnswer.ACCEPTED


def publish(state: MemoryState, publication: Publication) -> list[PublishResult]:
    now = state.clock.time()
    answers = state.publish_answers.find(publication.call, now)
    if answers is None:
        state.forget_old(now, len(publication.envelopes) + 64)
        answers = add(state, publication, now)
        state.publish_answers.keep(publication.call, answers, now)
        state.finish()
    return answers


def add(state: MemoryState, publication: Publication, now: float) -> list[PublishResult]:
    """Make a publication real within a step."""
    guard = publication.guard
    if guard is not None:
        if state.cells.get(guard.cell) != guard.expected:
            return guard_refused(publication)
        state.cells.set(guard.cell, guard.next, guard.due_at)
    answers = [_add_one(state, envelope, now) for envelope in publication.envelopes]
    for latch in publication.latches:
        let_go(state, state.latches.publish(latch, now), now)
    if guard is not None:
        answers.append(guard_moved(guard))
    return answers


def arrive(state: MemoryState, arrivals: Iterable[Arrival], now: float) -> None:
    """Tell latches who has ended, and publish what they let go."""
    for arrival in arrivals:
        let_go(state, state.latches.arrive(arrival, now), now)


def let_go(state: MemoryState, envelopes: Iterable[Envelope], now: float) -> None:
    """Publish what latches let go."""
    for envelope in envelopes:
        _add_one(state, envelope, now)


def _add_one(state: MemoryState, envelope: Envelope, now: float) -> PublishResult:
    job_id = envelope.id
    if len(envelope.body) > state.max_payload:
        reason = f"the message has {len(envelope.body)} bytes, the broker takes {state.max_payload}"
        return PublishResult(PublishAnswer.REFUSED, job_id, reason)
    there = state.jobs.get(job_id)
    if there is not None:
        return _clash(envelope, there.envelope.fingerprint, there.envelope.task)
    ended = state.ended.get(job_id, now)
    if ended is not None:
        return _clash(envelope, ended.fingerprint, ended.task)
    due_at = envelope.run_at
    if envelope.delay > 0.0 and (due_at is None or now + envelope.delay > due_at):
        due_at = now + envelope.delay
    expires_at = envelope.expires_at
    if envelope.expires_in is not None and (expires_at is None or now + envelope.expires_in < expires_at):
        expires_at = now + envelope.expires_in
    number = state.next_sequence()
    job = state.jobs[job_id] = Job(
        envelope=envelope,
        number=number,
        sequence=number,
        epoch=envelope.epoch - 1,
        since=now,
        attempts=envelope.attempts,
        crashes=envelope.crashes,
        suspect=envelope.suspect,
        note=envelope.note,
        due_at=due_at if due_at is not None and due_at > now else None,
        expires_at=expires_at,
    )
    state.register.enter(number, job_id)
    state.enqueue(job)
    return PublishResult(_ACCEPTED, job_id)


def _clash(envelope: Envelope, fingerprint: bytes, task: str) -> PublishResult:
    """Without a fingerprint nothing tells two jobs of one id apart: it is taken for the same."""
    if envelope.fingerprint and (envelope.fingerprint != fingerprint or envelope.task != task):
        reason = f"the id {envelope.id!r} is taken by a job of {task} with other arguments"
        if envelope.task != task:
            reason = f"the id {envelope.id!r} is taken by a job of {task}"
        return PublishResult(PublishAnswer.CONFLICT, envelope.id, reason)
    return PublishResult(PublishAnswer.EXISTS, envelope.id)
