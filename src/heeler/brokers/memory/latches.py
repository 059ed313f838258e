"""The latches: which members have arrived where, and which envelopes are let go by that."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import msgspec

from heeler.model import (
    TICK,
    Arrival,
    ArrivalKind,
    Envelope,
    Latch,
    LatchRecord,
    LatchState,
    Notice,
    TaskStatus,
    judge,
)

__all__ = ["LatchTable"]

_UNKNOWN_KEPT = 86400.0  # seconds that arrivals wait for their latch to be published
_DEEPEST = 64  # latches that lie in one another
_STATUSES = {
    LatchState.OPEN: TaskStatus.READY,
    LatchState.RELEASED: TaskStatus.SUCCESSFUL,
    LatchState.BROKEN: TaskStatus.FAILED,
}


class _Entry:
    """A latch, or (`latch` None) the arrivals that came before it.

    `forced`: it was broken from outside, whatever has arrived. `lifted`: a member lives again since it was broken.
    """

    __slots__ = (
        "broke",
        "broken_by",
        "cancelled",
        "forced",
        "forget_at",
        "latch",
        "lifted",
        "members",
        "not_ok",
        "ok",
        "state",
        "ticks",
        "touched_at",
    )

    def __init__(self, forget_at: float | None) -> None:
        self.latch: Latch | None = None
        self.members: dict[int, ArrivalKind] = {}
        self.ok = 0
        self.not_ok = 0
        self.ticks = 0
        self.state = LatchState.OPEN
        self.broke = False  # `on_break` has been let go
        self.broken_by = ""
        self.forced = False
        self.cancelled = False
        self.lifted = False
        self.touched_at = 0.0
        self.forget_at = forget_at  # None: it has not ended


class LatchTable:
    """All latches. What a call lets go comes back as envelopes for the caller to publish in the same step.

    `tell` is given the news of each change of a latch's state, and the inbox that the latch names.
    """

    __slots__ = ("_entries", "_forgetting", "_tell")

    def __init__(self, tell: Callable[[Notice, str | None], None]) -> None:
        self._entries: dict[str, _Entry] = {}
        self._forgetting: list[tuple[float, str]] = []
        self._tell = tell

    def publish(self, latch: Latch, now: float) -> list[Envelope]:
        """Make a latch known, or close an open one by telling its total."""
        entry = self._live(latch.id, now)
        if entry is None:
            entry = self._entries[latch.id] = _Entry(None)
        if entry.latch is None:
            entry.latch = latch
            entry.forget_at = None
        elif entry.latch.total is not None:
            return []
        elif latch.total is not None:
            entry.latch = msgspec.structs.replace(entry.latch, total=latch.total, data=latch.data)
        entry.touched_at = now
        return self._judge(entry, now)

    def arrive(self, arrival: Arrival, now: float) -> list[Envelope]:
        """A member has ended."""
        entry = self._live(arrival.latch, now)
        if entry is None:
            entry = self._entries[arrival.latch] = _Entry(None)
            self._forget(entry, arrival.latch, now + _UNKNOWN_KEPT)
        revived = arrival.kind is ArrivalKind.REVIVED
        if revived:
            entry.forced = entry.cancelled = False
            entry.lifted = True
            self._lift_around(entry, now)
        if arrival.member == TICK:
            entry.ticks += -1 if revived else 1
        elif entry.state is LatchState.RELEASED or not self._count(entry, arrival):
            return []
        if not entry.not_ok and not entry.forced:
            entry.broken_by = ""
        return self._judge(entry, now)

    def break_(self, id: str, by: str, cancelled: bool, now: float) -> list[Envelope] | None:
        """Break a latch from outside; None if there is none, or it is released."""
        entry = self._live(id, now)
        if entry is None or entry.latch is None or entry.state is LatchState.RELEASED:
            return None
        entry.forced = True
        entry.lifted = False
        entry.cancelled = entry.cancelled or cancelled
        entry.broken_by = entry.broken_by or by
        return self._judge(entry, now)

    def _lift_around(self, entry: _Entry, now: float) -> None:
        """A member lives again: then one of all latches in which its own lies lives again, too."""
        around: _Entry | None = entry
        for _ in range(_DEEPEST):
            if around is None or around.latch is None or around.latch.scope is None:
                return
            around = self._live(around.latch.scope, now)
            if around is not None and around.state is LatchState.BROKEN:
                around.lifted = True

    def expire(self, id: str, forget_at: float, now: float) -> None:
        """Forget a latch at that time, in whatever state it is."""
        entry = self._live(id, now)
        if entry is not None:
            self._forget(entry, id, forget_at)

    def record(self, id: str, with_data: bool, now: float) -> LatchRecord | None:
        """What is known of a latch; None where it was never published."""
        entry = self._live(id, now)
        latch = None if entry is None else entry.latch
        if entry is None or latch is None:
            return None
        stopped = cancelled = False
        around: _Entry | None = entry
        for _ in range(_DEEPEST):
            if around is None or around.latch is None:
                break
            stopped = stopped or (around.state is LatchState.BROKEN and not around.lifted)
            cancelled = cancelled or around.cancelled
            around = self._live(around.latch.scope, now) if around.latch.scope is not None else None
        return LatchRecord(
            id=id,
            rule=latch.rule,
            total=latch.total,
            state=entry.state,
            ok=entry.ok,
            not_ok=entry.not_ok,
            ticks=entry.ticks,
            scope=latch.scope,
            broken_by=entry.broken_by,
            stopped=stopped,
            cancelled=cancelled,
            touched_at=entry.touched_at,
            data=latch.data if with_data else b"",
        )

    def records(self, ids: Sequence[str], with_data: bool, now: float) -> list[LatchRecord | None]:
        return [self.record(id, with_data, now) for id in ids]

    def prune(self, now: float, most: int) -> None:
        """Forget up to `most` latches whose time is over."""
        while most and self._forgetting and self._forgetting[0][0] <= now:
            _, latch_id = heapq.heappop(self._forgetting)
            self._live(latch_id, now)
            most -= 1

    def _live(self, id: str, now: float) -> _Entry | None:
        entry = self._entries.get(id)
        if entry is not None and entry.forget_at is not None and entry.forget_at <= now:
            del self._entries[id]
            return None
        return entry

    def _forget(self, entry: _Entry, id: str, at: float) -> None:
        entry.forget_at = at
        heapq.heappush(self._forgetting, (at, id))

    def _count(self, entry: _Entry, arrival: Arrival) -> bool:
        """Take a member in; whether that changes anything."""
        before = entry.members.get(arrival.member)
        kind = arrival.kind
        if kind is ArrivalKind.REVIVED:
            if before is None or before is ArrivalKind.OK:
                return True
            del entry.members[arrival.member]
            entry.not_ok -= 1
            return True
        if before is ArrivalKind.OK or (before is not None and kind is not ArrivalKind.OK):
            return False
        entry.members[arrival.member] = kind
        if kind is ArrivalKind.OK:
            entry.ok += 1
            entry.not_ok -= before is not None
        else:
            entry.not_ok += 1
            entry.lifted = False
            entry.broken_by = entry.broken_by or arrival.job
        return True

    def _judge(self, entry: _Entry, now: float) -> list[Envelope]:
        latch = entry.latch
        if latch is None or entry.state is LatchState.RELEASED:
            return []
        state = judge(latch.rule, latch.total, entry.ok, entry.not_ok)
        if entry.forced:
            state = LatchState.BROKEN
        if state is entry.state:
            return []
        entry.state = state
        self._tell(Notice(id=latch.id, status=_STATUSES[state]), latch.reply_to)
        if state is LatchState.OPEN:
            entry.forget_at = None
            return []
        self._forget(entry, latch.id, now + latch.keep)
        if state is LatchState.RELEASED:
            entry.members.clear()
            return [latch.envelope] if latch.envelope is not None else []
        if entry.broke or latch.on_break is None:
            return []
        entry.broke = True
        return [latch.on_break]
