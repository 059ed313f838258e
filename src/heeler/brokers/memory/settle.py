"""The step that ends leases, with all that becomes true by that."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.memory.job import Job, Phase, current_record, holds
from heeler.brokers.memory.publish import add, arrive
from heeler.brokers.memory.state import MemoryState
from heeler.model import (
    Action,
    CallId,
    DeadLetter,
    Notice,
    SettleAnswer,
    Settlement,
    SettleResult,
    TaskStatus,
    settlement_too_large,
)

__all__ = ["settle"]

_ACCEPTED = SettleResult(SettleAnswer.ACCEPTED)
_LOST = SettleResult(SettleAnswer.LOST)


def settle(state: MemoryState, settlements: Sequence[Settlement], call: CallId | None) -> list[SettleResult]:
    now = state.clock.time()
    answers = state.settle_answers.find(call, now)
    if answers is None:
        state.forget_old(now, len(settlements) + 64)
        answers = [_settle_one(state, settlement, now) for settlement in settlements]
        state.settle_answers.keep(call, answers, now)
        state.finish()
    return answers


def _settle_one(state: MemoryState, settlement: Settlement, now: float) -> SettleResult:
    receipt = settlement.delivery.receipt
    job = state.jobs.get(receipt.id)
    if not holds(job, receipt):
        return _LOST
    reason = settlement_too_large(settlement, state.max_payload)
    if reason:
        return SettleResult(SettleAnswer.INVALID, reason)
    action = settlement.action
    if action is Action.ACK or action is Action.DEAD_LETTER:
        _end(state, job, settlement, now)
    else:
        _come_back(state, job, settlement, now)
    if settlement.follow_ups is not None:
        add(state, settlement.follow_ups, now)
    if settlement.arrivals:
        arrive(state, settlement.arrivals, now)
    return _ACCEPTED


def _end(state: MemoryState, job: Job, settlement: Settlement, now: float) -> None:
    envelope = job.envelope
    record = settlement.record
    if job.phase is Phase.LEASED:
        del state.leased[envelope.id]
    else:
        state.withdraw(job)
    job.phase = Phase.OVER
    del state.jobs[envelope.id]
    state.ended.keep(job.number, envelope, record, now)
    if settlement.action is Action.DEAD_LETTER:
        letter = DeadLetter(
            id=envelope.id,
            queue=envelope.queue,
            reason=settlement.reason,
            died_at=now,
            task=envelope.task,
            envelope=envelope,
            errors=settlement.errors,
            attempts=settlement.attempts,
            crashes=settlement.crashes,
        )
        state.dead.add(letter, job.epoch)
    if record is not None and state.news.heard(envelope):
        state.news.tell(envelope, Notice(id=envelope.id, status=record.status, record=record))


def _come_back(state: MemoryState, job: Job, settlement: Settlement, now: float) -> None:
    """RETRY or RELEASE: the job is READY again, behind all others or at its old place."""
    retry = settlement.action is Action.RETRY
    state.withdraw(job)
    job.held = job.started = job.reported = False
    job.attempts = settlement.attempts
    job.crashes = settlement.crashes
    job.suspect = settlement.suspect
    job.note = settlement.note
    if settlement.record is not None:
        job.record = settlement.record
    if job.cancelled:
        arrive(state, state.end_unrun(job, "cancelled while it ran; it was given back", now), now)
        return
    if retry:
        job.sequence = state.next_sequence()
        job.since = now
    if settlement.delay > 0.0:
        state.schedule(state.queue(job.envelope.queue), job, now + settlement.delay)
    elif retry:
        job.due_at = None
        state.enqueue(job)
    else:
        state.put_back(job)
    if retry and state.news.heard(job.envelope):
        record = current_record(job, now)
        state.news.tell(
            job.envelope, Notice(id=job.envelope.id, status=TaskStatus.READY, record=record, next_at=record.next_at)
        )
