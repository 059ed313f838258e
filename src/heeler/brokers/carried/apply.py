"""The steps that end runs and jobs."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.carried.job import CarriedJob, Timed, message_key
from heeler.brokers.carried.reserve import add, arrive
from heeler.brokers.carried.tables import CarriedTables
from heeler.contracts import Applied, CancelAnswer, Cancelled, Unsent
from heeler.model import (
    Action,
    CallId,
    DeadLetter,
    Envelope,
    ResultRecord,
    SettleAnswer,
    Settlement,
    TaskStatus,
    cancelled_record,
    copy_of,
    letter_of,
)

__all__ = ["apply", "cancel", "drop", "end_unrun"]

_LOST = Applied(SettleAnswer.LOST)


def apply(tables: CarriedTables, settlements: Sequence[Settlement], call: CallId | None) -> list[Applied]:
    known = tables.recall("apply", call, list[Applied])
    if known is not None:
        return [Applied(one.answer, tables.unsent(one.unsent.key)) if one.unsent is not None else one for one in known]
    applied = [_apply_one(tables, settlement) for settlement in settlements]
    if call is not None:
        keys = [Applied(one.answer, Unsent(one.unsent.key)) if one.unsent is not None else one for one in applied]
        tables.remember("apply", call, keys)
    return applied


def cancel(tables: CarriedTables, id: str) -> Cancelled:
    now = tables.now
    job = tables.job(id)
    if job is None or not job.is_taken(now):
        return Cancelled(CancelAnswer.NOT_FOUND)
    if job.over:
        was_cancelled = job.record is not None and job.record.status is TaskStatus.CANCELLED
        return Cancelled(CancelAnswer.CANCELLED if was_cancelled else CancelAnswer.ENDED)
    if job.has_expired(now):
        return Cancelled(CancelAnswer.ENDED)
    if job.is_held(now):
        job.cancelled = True
        tables.save(job)
        return Cancelled(CancelAnswer.REQUESTED)
    return Cancelled(CancelAnswer.CANCELLED, end_unrun(tables, job, "cancelled before it started"))


def drop(tables: CarriedTables, envelope: Envelope, reason: str) -> Unsent | None:
    job = tables.known_or_added(envelope, envelope.epoch)
    if job.over or job.sent != envelope.epoch or job.is_held(tables.now):
        return None
    return end_unrun(tables, job, reason)


def end_unrun(tables: CarriedTables, job: CarriedJob, reason: str) -> Unsent:
    """End a job as CANCELLED whose message waits somewhere, or is in the hands of whoever asks for this."""
    so_far = job.current_record(tables.now) or ResultRecord(envelope=job.envelope)
    _end(tables, job, cancelled_record(so_far, reason, tables.now))
    messages = arrive(tables, job.skipped())
    return tables.owe_for_end(message_key(job.envelope.id, job.sent), job, messages)


def _apply_one(tables: CarriedTables, settlement: Settlement) -> Applied:
    receipt = settlement.delivery.receipt
    job = tables.known_or_added(settlement.delivery.envelope, receipt.epoch)
    if job.is_lost(receipt.epoch):
        return _LOST
    key = message_key(receipt.id, job.sent)
    messages: list[Timed] = []
    letter: DeadLetter | None = None
    if settlement.action is Action.ACK or settlement.action is Action.DEAD_LETTER:
        if settlement.action is Action.DEAD_LETTER:
            letter = letter_of(settlement, tables.now)
        _end(tables, job, settlement.record)
    else:
        messages += _come_back(tables, job, settlement)
    if settlement.follow_ups is not None:
        messages += add(tables, settlement.follow_ups)[1]
    messages += arrive(tables, settlement.arrivals)
    return Applied(SettleAnswer.ACCEPTED, tables.owe_for_end(key, job, messages, letter))


def _end(tables: CarriedTables, job: CarriedJob, record: ResultRecord | None) -> None:
    job.end(record, tables.now)
    tables.save(job)
    if record is not None:
        tables.tell(job, record.status, record)


def _come_back(tables: CarriedTables, job: CarriedJob, settlement: Settlement) -> list[Timed]:
    """RETRY or RELEASE: a copy is to be sent, unless the job is cancelled."""
    if settlement.record is not None:
        job.record = settlement.record
    if job.cancelled:
        job.attempts, job.crashes = settlement.attempts, settlement.crashes
        job.begun = False
        so_far = job.current_record(tables.now) or ResultRecord(envelope=job.envelope)
        _end(tables, job, cancelled_record(so_far, "cancelled while it ran; it was given back", tables.now))
        return arrive(tables, job.skipped())
    copy = copy_of(settlement)
    due_at = tables.now + settlement.delay if settlement.delay > 0.0 else None
    job.send_again(copy, due_at)
    tables.save(job)
    if settlement.action is Action.RETRY:
        tables.tell(job, TaskStatus.READY)
    return [(copy, due_at)]
