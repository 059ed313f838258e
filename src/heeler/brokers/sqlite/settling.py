"""The step that ends leases, with all that becomes true by that."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.sqlite import latches
from heeler.brokers.sqlite.endings import bury, end_unrun, forget_old, is_kept
from heeler.brokers.sqlite.leases import Held, held_leases
from heeler.brokers.sqlite.publishing import add, arrive, arrive_well, find_answers, keep_answers
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_settle_answers, encode
from heeler.model import (
    Action,
    Arrival,
    CallId,
    Delivery,
    SettleAnswer,
    Settlement,
    SettleResult,
    TaskStatus,
    all_ok,
    encode_bare_record,
    settlement_too_large,
)

__all__ = ["settle"]

_ACCEPTED = SettleResult(SettleAnswer.ACCEPTED)
_LOST = SettleResult(SettleAnswer.LOST)
_FORGET_MORE = 16  # records that a step drops beyond as many as it adds


def settle(step: Step, settlements: Sequence[Settlement], call: CallId | None) -> list[SettleResult]:
    if call is not None:
        known = find_answers(step, "settle", call)
        if known is not None:
            return decode_settle_answers(known)
    answers = _settle_all(step, settlements)
    forget_old(step, len(settlements) + _FORGET_MORE)
    latches.forget_old(step)
    if call is not None:
        keep_answers(step, "settle", call, encode(answers))
    return answers


class _Ends:
    """Ends of jobs that are alike for all, so that a few statements do for any number of them.

    So are their arrivals where all end well: in which order they do means nothing.
    """

    __slots__ = ("arrivals", "dropped", "leased", "records", "with_history")

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.leased: list[tuple[int]] = []
        self.records: list[tuple[int, bytes | None, float]] = []
        self.dropped: list[tuple[int]] = []
        self.with_history: list[tuple[int]] = []

    def write(self, step: Step) -> None:
        if self.leased:
            step.run_many("end_lease", self.leased)
        if self.records:
            step.run_many("keep_record", self.records)
        if self.dropped:
            step.drop_jobs(self.dropped)
            step.run_many("drop_record", self.dropped)
        if self.with_history:
            step.run_many("drop_history", self.with_history)
        if self.arrivals:
            arrive_well(step, self.arrivals)


def _settle_all(step: Step, settlements: Sequence[Settlement]) -> list[SettleResult]:
    held = held_leases(step, [(s.delivery.receipt.tag, s.delivery.receipt.epoch) for s in settlements])
    answers: list[SettleResult] = []
    ends = _Ends()
    most = step.limits.max_payload
    for settlement in settlements:
        receipt = settlement.delivery.receipt
        lease = held.get(receipt.tag)
        if lease is None or lease.epoch != receipt.epoch:
            answers.append(_LOST)
            continue
        reason = settlement_too_large(settlement, most)
        if reason:
            answers.append(SettleResult(SettleAnswer.INVALID, reason))
            continue
        answers.append(_ACCEPTED)
        del held[receipt.tag]
        if lease.line is None:
            ends.leased.append((receipt.tag,))
        else:
            step.run("leave_ready", lease.line)
        action = settlement.action
        if action is Action.ACK or action is Action.DEAD_LETTER:
            _add_end(step, ends, settlement, lease)
        arrivals = settlement.arrivals
        if action is Action.ACK and settlement.follow_ups is None and all_ok(arrivals):
            ends.arrivals += arrivals
        else:
            # What follows may concern the jobs before it in this batch: they have ended by then.
            ends.write(step)
            ends = _Ends()
            _settle_rest(step, settlement, lease)
    ends.write(step)
    return answers


def _add_end(step: Step, ends: _Ends, settlement: Settlement, lease: Held) -> None:
    delivery = settlement.delivery
    seq: int = delivery.receipt.tag
    envelope = delivery.envelope
    record = settlement.record
    if is_kept(envelope, record):
        data = encode_bare_record(record) if record is not None and envelope.keeps_result else None
        ends.records.append((seq, data, step.now + envelope.keep))
    else:
        ends.dropped.append((seq,))
    if lease.line is not None or _has_history(delivery):
        ends.with_history.append((seq,))
    if record is not None:
        step.event(envelope, record.status)


def _has_history(delivery: Delivery) -> bool:
    return bool(
        delivery.receipt.epoch != 1 or delivery.attempts or delivery.crashes or delivery.suspect or delivery.note
    )


def _settle_rest(step: Step, settlement: Settlement, lease: Held) -> None:
    if settlement.action is Action.DEAD_LETTER:
        envelope = settlement.delivery.envelope
        bury(
            step,
            envelope.id,
            step.queue(envelope.queue),
            envelope.task,
            lease.epoch,
            encode(envelope),
            reason=settlement.reason,
            errors=settlement.errors,
            attempts=settlement.attempts,
            crashes=settlement.crashes,
        )
    elif settlement.action is not Action.ACK:
        _come_back(step, settlement, lease)
    if settlement.follow_ups is not None:
        add(step, settlement.follow_ups)
    arrive(step, settlement.arrivals)


def _come_back(step: Step, settlement: Settlement, lease: Held) -> None:
    """RETRY or RELEASE: the job is READY again, behind all others or at its old place."""
    envelope = settlement.delivery.envelope
    seq: int = settlement.delivery.receipt.tag
    is_retry = settlement.action is Action.RETRY
    queue, rank, task, place, *_ = step.row("place_of", (seq,))
    if is_retry:
        place = step.draw_place()
    at = step.now + settlement.delay
    counters = (settlement.attempts, settlement.crashes, settlement.suspect, settlement.note)
    step.run("write_history", (seq, place, at, lease.epoch, *counters))
    if settlement.record is not None:
        step.run("keep_record", (seq, encode_bare_record(settlement.record), None))
    if lease.cancelled:
        arrive(step, end_unrun(step, seq, envelope, "cancelled while it ran; it was given back"))
        return
    if at > step.now:
        step.run("schedule", (queue, at, place, seq, rank, task))
        step.due_for(queue, at)
    else:
        step.put_back([(queue, rank, place, seq, task)])
    if is_retry:
        step.event(envelope, TaskStatus.READY, next_at=at if at > step.now else None)
