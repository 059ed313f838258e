"""The steps that take down what is going to be sent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from heeler.brokers.carried.job import CarriedJob, Timed
from heeler.brokers.carried.tables import CarriedTables
from heeler.clock import new_id
from heeler.contracts import Reserved, Unsent
from heeler.model import (
    Arrival,
    ArrivalKind,
    DeadLetter,
    Envelope,
    Publication,
    PublishAnswer,
    PublishResult,
    TaskStatus,
    arrivals_of,
    guard_moved,
    guard_refused,
    revived,
)

__all__ = ["add", "arrive", "break_latches", "reserve", "revive"]


def reserve(tables: CarriedTables, publication: Publication) -> Reserved:
    known = tables.recall("reserve", publication.call, Reserved)
    if known is not None:
        unsent = tables.unsent(known.unsent.key) if known.unsent is not None else None
        return Reserved(known.results, unsent)
    results, messages = add(tables, publication)
    key = f"publication/{new_id()}"
    reserved = Reserved(results, tables.owe_messages(key, messages) if messages else None)
    tables.remember("reserve", publication.call, Reserved(results, Unsent(key) if messages else None))
    return reserved


def add(tables: CarriedTables, publication: Publication) -> tuple[list[PublishResult], list[Timed]]:
    """Take down a publication within a step: the answers, and what has to be sent."""
    guard = publication.guard
    if guard is not None:
        if tables.cell(guard.cell) != guard.expected:
            return guard_refused(publication), []
        tables.set_cell(guard.cell, guard.next, guard.due_at)
    messages: list[Timed] = []
    answers = [_add_one(tables, envelope, messages) for envelope in publication.envelopes]
    for latch in publication.latches:
        for envelope in tables.publish_latch(latch):
            _add_one(tables, envelope, messages)
    if guard is not None:
        answers.append(guard_moved(guard))
    return answers, messages


def arrive(tables: CarriedTables, arrivals: Iterable[Arrival]) -> list[Timed]:
    """Tell latches who has ended; what they let go is to be sent."""
    messages: list[Timed] = []
    for arrival in arrivals:
        for envelope in tables.arrive(arrival):
            _add_one(tables, envelope, messages)
    return messages


def revive(tables: CarriedTables, letter: DeadLetter) -> Unsent | None:
    """A dead letter starts anew; None if a job of its id is alive, or if it holds no job at all."""
    envelope = letter.envelope
    there = tables.job(letter.id)
    if envelope is None or (there is not None and not there.over):
        return None
    again = revived(envelope, max(envelope.epoch, there.epoch if there is not None else 0) + 1)
    expires_at = tables.now + again.expires_in if again.expires_in is not None else None
    job = CarriedJob.first(again, None, expires_at)
    tables.add(job)
    messages: list[Timed] = [(again, None), *arrive(tables, arrivals_of(again, ArrivalKind.REVIVED))]
    tables.tell(job, TaskStatus.READY)
    return tables.owe_messages(f"redrive/{again.id}/{again.epoch}", messages)


def break_latches(
    tables: CarriedTables, ids: Iterable[str], by: str, cancelled: bool
) -> tuple[list[bool], Unsent | None]:
    """Break latches from outside: which of them were, and what is to be sent because of that."""
    messages: list[Timed] = []
    broken = []
    for id in ids:
        freed = tables.break_latch(id, by, cancelled)
        broken.append(freed is not None)
        for envelope in freed or ():
            _add_one(tables, envelope, messages)
    return broken, tables.owe_messages(f"break/{new_id()}", messages) if messages else None


def _add_one(tables: CarriedTables, envelope: Envelope, messages: list[Timed]) -> PublishResult:
    now = tables.now
    there = tables.job(envelope.id)
    if there is not None:
        if there.is_taken(now):
            return _clash(envelope, there.envelope)
        if there.epoch >= envelope.epoch:  # messages of the earlier job with this id must not be taken for this one's
            envelope = msgspec.structs.replace(envelope, epoch=there.epoch + 1)
    due_at = envelope.run_at
    if envelope.delay > 0.0 and (due_at is None or now + envelope.delay > due_at):
        due_at = now + envelope.delay
    expires_at = envelope.expires_at
    if envelope.expires_in is not None and (expires_at is None or now + envelope.expires_in < expires_at):
        expires_at = now + envelope.expires_in
    tables.add(CarriedJob.first(envelope, due_at, expires_at))
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
