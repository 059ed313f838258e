"""The latches: which members have arrived where, and which envelopes are let go by that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_latch, encode
from heeler.model import (
    TICK,
    Arrival,
    ArrivalKind,
    Envelope,
    Latch,
    LatchRecord,
    LatchRule,
    LatchState,
    TaskStatus,
    judge,
)

__all__ = ["arrive", "arrive_well", "break_", "forget_old", "publish", "records"]

_UNKNOWN_KEPT = 86400.0  # seconds that arrivals wait for their latch to be published
_FEW = 64  # arrivals that one step drops
_DEEPEST = 64  # latches that lie in one another
_STATUSES = {
    LatchState.OPEN: TaskStatus.READY,
    LatchState.RELEASED: TaskStatus.SUCCESSFUL,
    LatchState.BROKEN: TaskStatus.FAILED,
}


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
    ticks: int = 0
    forced: bool = False
    cancelled: bool = False
    lifted: bool = False
    broken_by: str = ""
    touched_at: float = 0.0
    scope: str | None = None


def publish(step: Step, latch: Latch) -> list[Envelope]:
    """Make a latch known, or close an open one by telling its total; the envelopes that this lets go."""
    entry = _load(step, latch.id)
    if entry.rule is None:
        entry.rule = latch.rule
        entry.total = latch.total
        entry.keep = latch.keep
        entry.scope = latch.scope
        entry.forget_at = None
        step.run("write_latch_content", (latch.id, encode(latch)))
    elif entry.total is not None:
        return []
    elif latch.total is not None:
        entry.total = latch.total
        content = msgspec.structs.replace(_content(step, latch.id), total=latch.total, data=latch.data)
        step.run("write_latch_content", (latch.id, encode(content)))
    entry.touched_at = step.now
    return _judge(step, entry)


def arrive(step: Step, arrival: Arrival) -> list[Envelope]:
    """A member has ended; the envelopes that this lets go."""
    entry = _load(step, arrival.latch)
    revived = arrival.kind is ArrivalKind.REVIVED
    if revived:
        entry.forced = entry.cancelled = False
        entry.lifted = True
        _lift_around(step, entry)
    if arrival.member == TICK:
        entry.ticks += -1 if revived else 1
    elif entry.state is LatchState.RELEASED or not _count(step, entry, arrival):
        return []
    if not entry.not_ok and not entry.forced:
        entry.broken_by = ""
    return _judge(step, entry)


def _lift_around(step: Step, entry: _Entry) -> None:
    """A member lives again: then one of all latches in which its own lies lives again, too."""
    scope = entry.scope
    for _ in range(_DEEPEST):
        row = step.row("latch", (scope,)) if scope is not None else None
        if scope is None or row is None:
            return
        around = _entry(scope, row)
        if around.rule is None or (around.forget_at is not None and around.forget_at <= step.now):
            return
        if around.state is LatchState.BROKEN and not around.lifted:
            around.lifted = True
            step.run("write_latch", msgspec.structs.astuple(around))
        scope = around.scope


def arrive_well(step: Step, id: str, members: Sequence[int]) -> list[Envelope]:
    """These members of one latch have ended OK, ticks among them; the envelopes that this lets go.

    It is what so many calls of `arrive` do, for the price of one.
    """
    entry = _load(step, id)
    numbers = [member for member in members if member != TICK]
    ticks = len(members) - len(numbers)
    is_news = False
    if numbers and entry.state is not LatchState.RELEASED:
        is_news = _count_well(step, entry, numbers)
    if not ticks and not is_news:
        return []
    entry.ticks += ticks
    if not entry.not_ok and not entry.forced:
        entry.broken_by = ""
    return _judge(step, entry)


def break_(step: Step, id: str, by: str, cancelled: bool) -> list[Envelope] | None:
    """Break a latch from outside: the envelopes that this lets go; None if there is none, or it is released."""
    entry = _load(step, id)
    if entry.rule is None or entry.state is LatchState.RELEASED:
        return None
    entry.forced = True
    entry.lifted = False
    entry.cancelled = entry.cancelled or cancelled
    entry.broken_by = entry.broken_by or by
    return _judge(step, entry)


def records(step: Step, ids: Sequence[str], with_data: bool) -> list[LatchRecord | None]:
    """What is known of each latch; None where it was never published."""
    read: dict[str, _Entry | None] = {}

    def entry_of(id: str) -> _Entry | None:
        if id not in read:
            row = step.row("latch", (id,))
            entry = None if row is None else _entry(id, row)
            is_there = entry is not None and entry.rule is not None
            is_over = entry is not None and entry.forget_at is not None and entry.forget_at <= step.now
            read[id] = entry if is_there and not is_over else None
        return read[id]

    found: list[LatchRecord | None] = []
    for id in ids:
        entry = around = entry_of(id)
        if entry is None or entry.rule is None:
            found.append(None)
            continue
        stopped = cancelled = False
        for _ in range(_DEEPEST):
            if around is None:
                break
            stopped = stopped or (around.state is LatchState.BROKEN and not around.lifted)
            cancelled = cancelled or around.cancelled
            around = entry_of(around.scope) if around.scope is not None else None
        found.append(
            LatchRecord(
                id=id,
                rule=entry.rule,
                total=entry.total,
                state=entry.state,
                ok=entry.ok,
                not_ok=entry.not_ok,
                ticks=entry.ticks,
                scope=entry.scope,
                broken_by=entry.broken_by,
                stopped=stopped,
                cancelled=cancelled,
                touched_at=entry.touched_at,
                data=_content(step, id).data if with_data else b"",
            )
        )
    return found


def forget_old(step: Step) -> None:
    """Drop a few latches whose time is over, each after all its arrivals."""
    for (id,) in step.run("forgettable_latches", (step.now,)).fetchall():
        if step.run("drop_arrivals", (id, _FEW)).rowcount < _FEW:
            _drop(step, id)


def _load(step: Step, id: str) -> _Entry:
    row = step.row("latch", (id,))
    if row is None:
        return _Entry(id)
    entry = _entry(id, row)
    if entry.forget_at is not None and entry.forget_at <= step.now:
        while step.run("drop_arrivals", (id, _FEW)).rowcount:
            pass
        _drop(step, id)
        return _Entry(id)
    return entry


def _entry(id: str, row: tuple[Any, ...]) -> _Entry:
    rule, total, keep, state, ok, not_ok, broke, forget_at, ticks, forced, cancelled, lifted, by, touched_at, scope = (
        row
    )
    return _Entry(
        id,
        None if rule is None else LatchRule(rule),
        total,
        keep,
        LatchState(state),
        ok,
        not_ok,
        bool(broke),
        forget_at,
        ticks,
        bool(forced),
        bool(cancelled),
        bool(lifted),
        by,
        touched_at,
        scope,
    )


def _drop(step: Step, id: str) -> None:
    step.run("drop_latch", (id,))
    step.run("drop_latch_content", (id,))


def _count(step: Step, entry: _Entry, arrival: Arrival) -> bool:
    """Take a member in; whether that changes anything."""
    row = step.row("arrival", (arrival.latch, arrival.member))
    before = None if row is None else row[0]
    kind = arrival.kind
    if kind is ArrivalKind.REVIVED:
        if before is not None and before != ArrivalKind.OK:
            step.run("drop_arrival", (arrival.latch, arrival.member))
            entry.not_ok -= 1
        return True
    if before == ArrivalKind.OK or (before is not None and kind is not ArrivalKind.OK):
        return False
    step.run("write_arrival", (arrival.latch, arrival.member, str(kind)))
    if kind is ArrivalKind.OK:
        entry.ok += 1
        entry.not_ok -= before is not None
    else:
        entry.not_ok += 1
        entry.lifted = False
        entry.broken_by = entry.broken_by or arrival.job
    return True


def _count_well(step: Step, entry: _Entry, members: Sequence[int]) -> bool:
    """Take members in that have ended OK; whether that changes anything."""
    listed = json.dumps(members)
    before = dict(step.run("some_arrivals", (entry.id, listed)).fetchall())
    new = {member for member in members if before.get(member) != ArrivalKind.OK}
    if not new:
        return False
    step.run("write_arrivals", (entry.id, str(ArrivalKind.OK), listed))
    entry.ok += len(new)
    entry.not_ok -= len(new & before.keys())
    return True


def _judge(step: Step, entry: _Entry) -> list[Envelope]:
    """Write the entry with the state that follows from its counts, and say what that lets go."""
    freed: Envelope | None = None
    if entry.rule is None:
        if entry.forget_at is None:
            entry.forget_at = step.now + _UNKNOWN_KEPT
    elif entry.state is not LatchState.RELEASED:
        state = judge(entry.rule, entry.total, entry.ok, entry.not_ok)
        if entry.forced:
            state = LatchState.BROKEN
        if state is not entry.state:
            entry.state = state
            entry.forget_at = None if state is LatchState.OPEN else step.now + entry.keep
            content = _content(step, entry.id)
            step.latch_event(entry.id, _STATUSES[state], content.reply_to)
            if state is LatchState.RELEASED:
                freed = content.envelope
            elif state is LatchState.BROKEN and not entry.broke:
                freed = content.on_break
                entry.broke = freed is not None
    step.run("write_latch", msgspec.structs.astuple(entry))
    return [] if freed is None else [freed]


def _content(step: Step, id: str) -> Latch:
    return decode_latch(step.row("latch_content", (id,))[0])
