"""The steps that take down what is going to be sent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from heeler.brokers.memory.ordered.jobs import CarriedJob, Timed, current_record
from heeler.brokers.memory.state import MemoryState
from heeler.clock import new_id
from heeler.contracts import Reserved, Unsent
from heeler.model import (
    Arrival,
    DeadLetter,
    Envelope,
    Notice,
    Publication,
    PublishAnswer,
    PublishResult,
    TaskStatus,
    revived,
)

__all__ = ["add", "arrive", "reserve", "revive"]


def reserve(state: MemoryState, publication: Publication, now: float) -> Reserved:
    known = state.publish_answers.find(publication.call, now)
    if known is None:
        results, messages = add(state, publication, now)
        key = f"publication/{new_id()}"
        if messages:
            state.carried.note_publication(key, messages, now)
        known = [Reserved(results), key]
        state.publish_answers.keep(publication.call, known, now)
    reserved, key = known
    unsent = state.carried.unsent(key, now)
    return Reserved(reserved.results, unsent if unsent.messages else None)


def add(state: MemoryState, publication: Publication, now: float) -> tuple[list[PublishResult], list[Timed]]:
    """Take down a publication within a step: the answers, and what has to be sent."""
    guard = publication.guard
    if guard is not None:
        if state.cells.get(guard.cell) != guard.expected:
            reason = f"the cell {guard.cell!r} does not hold what the publication expects"
            refused = [PublishResult(PublishAnswer.REFUSED, envelope.id, reason) for envelope in publication.envelopes]
            return refused, []
        if guard.next is None:
            state.cells.pop(guard.cell, None)
        else:
            state.cells[guard.cell] = guard.next
    messages: list[Timed] = []
    answers = [_add_one(state, envelope, messages, now) for envelope in publication.envelopes]
    for latch in publication.latches:
        for envelope in state.latches.publish(latch, now):
            _add_one(state, envelope, messages, now)
    return answers, messages


def arrive(state: MemoryState, arrivals: Iterable[Arrival], now: float) -> list[Timed]:
    """Tell latches who has ended; what they let go is to be sent."""
    messages: list[Timed] = []
    for arrival in arrivals:
        for envelope in state.latches.arrive(arrival, now):
            _add_one(state, envelope, messages, now)
    return messages


def revive(state: MemoryState, letter: DeadLetter, now: float) -> Unsent | None:
    """A dead letter starts anew; None if a job of its id is alive, or if it holds no job at all."""
    envelope = letter.envelope
    there = state.carried.get(letter.id)
    if envelope is None or (there is not None and not there.over):
        return None
    again = revived(envelope, max(envelope.epoch, there.epoch if there is not None else 0) + 1)
    expires_at = now + again.expires_in if again.expires_in is not None else None
    job = state.carried.add(CarriedJob(envelope=again, sent=again.epoch, epoch=again.epoch, expires_at=expires_at))
    if state.news.heard(again):
        state.news.tell(again, Notice(id=again.id, status=TaskStatus.READY, record=current_record(job, now)))
    return state.carried.note_publication(f"redrive/{again.id}/{again.epoch}", [(again, None)], now)


def _add_one(state: MemoryState, envelope: Envelope, messages: list[Timed], now: float) -> PublishResult:
    there = state.carried.get(envelope.id)
    if there is not None:
        if not there.over or there.keep_until > now:
            return _clash(envelope, there.envelope)
        if there.epoch >= envelope.epoch:  # messages of the earlier job with this id must not be taken for this one's
            envelope = msgspec.structs.replace(envelope, epoch=there.epoch + 1)
    due_at = envelope.run_at
    if envelope.delay > 0.0 and (due_at is None or now + envelope.delay > due_at):
        due_at = now + envelope.delay
    expires_at = envelope.expires_at
    if envelope.expires_in is not None and (expires_at is None or now + envelope.expires_in < expires_at):
        expires_at = now + envelope.expires_in
    state.carried.add(
        CarriedJob(
            envelope=envelope,
            sent=envelope.epoch,
            epoch=envelope.epoch,
            expires_at=expires_at,
            due_at=due_at,
            attempts=envelope.attempts,
            crashes=envelope.crashes,
        )
    )
    messages.append((envelope, due_at))
    return PublishResult(PublishAnswer.ACCEPTED, envelope.id)


def _clash(envelope: Envelope, there: Envelope) -> PublishResult:
    """Without a fingerprint nothing tells two jobs of one id apart: it is taken for the same."""
    if envelope.fingerprint and envelope.task != there.task:
        reason = f"the id {envelope.id!r} is taken by a job of {there.task}"
        return PublishResult(PublishAnswer.CONFLICT, envelope.id, reason)
    if envelope.fingerprint and envelope.fingerprint != there.fingerprint:
        reason = f"the id {envelope.id!r} is taken by a job of {there.task} with other arguments"
        return PublishResult(PublishAnswer.CONFLICT, envelope.id, reason)
    return PublishResult(PublishAnswer.EXISTS, envelope.id)
