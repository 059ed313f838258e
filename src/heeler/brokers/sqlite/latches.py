"""The latches: which members have arrived where, and which envelopes are let go by that."""

from __future__ import annotations

import msgspec

from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_latch, encode
from heeler.model import Arrival, ArrivalKind, Envelope, Latch, LatchRule, LatchState, judge

__all__ = ["arrive", "forget_old", "publish"]

_UNKNOWN_KEPT = 86400.0  # seconds that arrivals wait for their latch to be published
_FEW = 64  # arrivals that one step drops


class _Entry(msgspec.Struct, gc=False):
    """A latch's row. `rule` is None while only arrivals are known of it."""

    id: str
    rule: LatchRule | None = None
    total: int | None = None
    keep: float = 0.0
    state: LatchState = LatchState.OPEN
    ok: int = 0
    not_ok: int = 0
    broke: bool = False
    forget_at: float | None = None


def publish(step: Step, latch: Latch) -> list[Envelope]:
    """Make a latch known, or close an open one by telling its total; the envelopes that this lets go."""
    entry = _load(step, latch.id)
    if entry.rule is None:
        entry.rule = latch.rule
        entry.total = latch.total
        entry.keep = latch.keep
        entry.forget_at = None
        step.run("write_latch_content", (latch.id, encode(latch)))
    elif entry.total is None and latch.total is not None:
        entry.total = latch.total
    else:
        return []
    return _judge(step, entry)


def arrive(step: Step, arrival: Arrival) -> list[Envelope]:
    """A member has ended; the envelopes that this lets go."""
    entry = _load(step, arrival.latch)
    if entry.state is LatchState.RELEASED:
        return []
    row = step.row("arrival", (arrival.latch, arrival.member))
    before = None if row is None else row[0]
    is_ok = arrival.kind is ArrivalKind.OK
    if before == ArrivalKind.OK or (before is not None and not is_ok):
        return []
    step.run("write_arrival", (arrival.latch, arrival.member, str(arrival.kind)))
    if is_ok:
        entry.ok += 1
        entry.not_ok -= before is not None
    else:
        entry.not_ok += 1
    return _judge(step, entry)


def forget_old(step: Step) -> None:
    """Drop a few latches whose time is over, each after all its arrivals."""
    for (id,) in step.run("forgettable_latches", (step.now,)).fetchall():
        if step.run("drop_arrivals", (id, _FEW)).rowcount < _FEW:
            _drop(step, id)


def _load(step: Step, id: str) -> _Entry:
    row = step.row("latch", (id,))
    if row is None:
        return _Entry(id)
    rule, total, keep, state, ok, not_ok, broke, forget_at = row
    if forget_at is not None and forget_at <= step.now:
        while step.run("drop_arrivals", (id, _FEW)).rowcount:
            pass
        _drop(step, id)
        return _Entry(id)
    rule = None if rule is None else LatchRule(rule)
    return _Entry(id, rule, total, keep, LatchState(state), ok, not_ok, bool(broke), forget_at)


def _drop(step: Step, id: str) -> None:
    step.run("drop_latch", (id,))
    step.run("drop_latch_content", (id,))


def _judge(step: Step, entry: _Entry) -> list[Envelope]:
    """Write the entry with the state that follows from its counts, and say what that lets go."""
    freed: Envelope | None = None
    if entry.rule is None:
        if entry.forget_at is None:
            entry.forget_at = step.now + _UNKNOWN_KEPT
    else:
        state = judge(entry.rule, entry.total, entry.ok, entry.not_ok)
        if state is not entry.state:
            entry.state = state
            entry.forget_at = None if state is LatchState.OPEN else step.now + entry.keep
            if state is LatchState.RELEASED:
                freed = _content(step, entry.id).envelope
            elif state is LatchState.BROKEN and not entry.broke:
                freed = _content(step, entry.id).on_break
                entry.broke = freed is not None
    step.run("write_latch", msgspec.structs.astuple(entry))
    return [] if freed is None else [freed]


def _content(step: Step, id: str) -> Latch:
    return decode_latch(step.row("latch_content", (id,))[0])
