"""The steps that end runs and jobs."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.memory.job import cancelled_record
from heeler.brokers.memory.ordered.jobs import CarriedJob, Timed, current_record, message_key
from heeler.brokers.memory.ordered.reserve import add, arrive
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import Applied, CancelAnswer, Cancelled, Unsent
from heeler.model import (
    Action,
    CallId,
    DeadLetter,
    Envelope,
    Notice,
    ResultRecord,
    SettleAnswer,
    Settlement,
    TaskStatus,
    copy_of,
    letter_of,
)

__all__ = ["apply", "cancel", "drop", "end_unrun", "known_job"]

_LOST = Applied(SettleAnswer.LOST)


def apply(state: MemoryState, settlements: Sequence[Settlement], call: CallId | None, now: float) -> list[Applied]:
    applied: list[Applied] | None = state.settle_answers.find(call, now)
    if applied is None:
        applied = [_apply_one(state, settlement, now) for settlement in settlements]
        state.settle_answers.keep(call, applied, now)
        return applied
    return [
        Applied(one.answer, state.carried.unsent(one.unsent.key, now)) if one.unsent is not None else one
        for one in applied
    ]


def cancel(state: MemoryState, id: str, now: float) -> Cancelled:
    job = state.carried.get(id)
    if job is None:
        return Cancelled(CancelAnswer.NOT_FOUND)
    if job.over:
        record = current_record(job, now)
        if record is not None:
            was_cancelled = record.status is TaskStatus.CANCELLED
            return Cancelled(CancelAnswer.CANCELLED if was_cancelled else CancelAnswer.ENDED)
        return Cancelled(CancelAnswer.ENDED if job.keep_until > now else CancelAnswer.NOT_FOUND)
    if job.is_held(now):
        job.cancelled = True
        return Cancelled(CancelAnswer.REQUESTED)
    return Cancelled(CancelAnswer.CANCELLED, end_unrun(state, job, "cancelled before it started", now))


def drop(state: MemoryState, envelope: Envelope, reason: str, now: float) -> Unsent | None:
    job = known_job(state, envelope, envelope.epoch)
    if job.over or job.sent != envelope.epoch or job.is_held(now):
        return None
    return end_unrun(state, job, reason, now)


def end_unrun(state: MemoryState, job: CarriedJob, reason: str, now: float) -> Unsent:
    """End a job as CANCELLED whose message waits somewhere, or is in the hands of whoever calls this."""
    envelope = job.envelope
    record = cancelled_record(current_record(job, now) or ResultRecord(envelope=envelope), reason, now)
    _end(state, job, record, now)
    messages = arrive(state, job.skipped(), now)
    return state.carried.note(message_key(envelope.id, job.sent), messages, None, now, job)


def known_job(state: MemoryState, envelope: Envelope, epoch: int) -> CarriedJob:
    """The job; one that the store does not know (any more) is as its message says."""
    job = state.carried.get(envelope.id)
    if job is None:
        job = state.carried.add(CarriedJob(envelope=envelope, sent=envelope.epoch, epoch=epoch))
        job.attempts = envelope.attempts
    return job


def _apply_one(state: MemoryState, settlement: Settlement, now: float) -> Applied:
    receipt = settlement.delivery.receipt
    job = known_job(state, settlement.delivery.envelope, receipt.epoch)
    if job.over or job.epoch != receipt.epoch:
        return _LOST
    key = message_key(receipt.id, job.sent)
    messages: list[Timed] = []
    letter: DeadLetter | None = None
    if settlement.action is Action.ACK or settlement.action is Action.DEAD_LETTER:
        if settlement.action is Action.DEAD_LETTER:
            letter = letter_of(settlement, now)
        _end(state, job, settlement.record, now)
    else:
        messages += _come_back(state, job, settlement, now)
    if settlement.follow_ups is not None:
        messages += add(state, settlement.follow_ups, now)[1]
    messages += arrive(state, settlement.arrivals, now)
    return Applied(SettleAnswer.ACCEPTED, state.carried.note(key, messages, letter, now, job))


def _end(state: MemoryState, job: CarriedJob, record: ResultRecord | None, now: float) -> None:
    state.carried.end(job, record, now)
    if record is not None and state.news.heard(job.envelope):
        state.news.tell(job.envelope, Notice(id=job.envelope.id, status=record.status, record=record))


def _come_back(state: MemoryState, job: CarriedJob, settlement: Settlement, now: float) -> list[Timed]:
    """RETRY or RELEASE: a copy is to be sent, unless the job is cancelled."""
    if settlement.record is not None:
        job.record = settlement.record
    if job.cancelled:
        job.attempts, job.crashes = settlement.attempts, settlement.crashes
        job.begun = False
        so_far = current_record(job, now) or ResultRecord(envelope=job.envelope)
        _end(state, job, cancelled_record(so_far, "cancelled while it ran; it was given back", now), now)
        return arrive(state, job.skipped(), now)
    copy = copy_of(settlement)
    due_at = now + settlement.delay if settlement.delay > 0.0 else None
    job.send_again(copy, due_at)
    if settlement.action is Action.RETRY and state.news.heard(job.envelope):
        record = current_record(job, now)
        state.news.tell(job.envelope, Notice(id=copy.id, status=TaskStatus.READY, record=record, next_at=due_at))
    return [(copy, due_at)]
