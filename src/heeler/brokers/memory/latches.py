"""The latches: which members have arrived where, and which envelopes are let go by that."""

from __future__ import annotations

import heapq

import msgspec

from heeler.model import Arrival, ArrivalKind, Envelope, Latch, LatchState, judge

__all__ = ["LatchTable"]

_UNKNOWN_KEPT = 86400.0  # seconds that arrivals wait for their latch to be published


class _Entry:
    """A latch, or (`latch` None) the arrivals that came before it."""

    __slots__ = ("broke", "forget_at", "latch", "members", "not_ok", "ok", "state")

    def __init__(self, forget_at: float | None) -> None:
        self.latch: Latch | None = None
        self.members: dict[int, ArrivalKind] = {}
        self.ok = 0
        self.not_ok = 0
        self.state = LatchState.OPEN
        self.broke = False  # `on_break` has been let go
        self.forget_at = forget_at  # None: it has not ended


class LatchTable:
    """All latches. What a call lets go comes back as envelopes for the caller to publish in the same step."""

    __slots__ = ("_entries", "_forgetting")

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._forgetting: list[tuple[float, str]] = []

    def publish(self, latch: Latch, now: float) -> list[Envelope]:
        """Make a latch known, or close an open one by telling its total."""
        entry = self._live(latch.id, now)
        if entry is None:
            entry = self._entries[latch.id] = _Entry(None)
        if entry.latch is None:
            entry.latch = latch
            entry.forget_at = None
        elif entry.latch.total is None and latch.total is not None:
            entry.latch = msgspec.structs.replace(entry.latch, total=latch.total)
        else:
            return []
        return self._judge(entry, now)

    def arrive(self, arrival: Arrival, now: float) -> list[Envelope]:
        """A member has ended."""
        entry = self._live(arrival.latch, now)
        if entry is None:
            entry = self._entries[arrival.latch] = _Entry(now + _UNKNOWN_KEPT)
            heapq.heappush(self._forgetting, (now + _UNKNOWN_KEPT, arrival.latch))
        if entry.state is LatchState.RELEASED:
            return []
        before = entry.members.get(arrival.member)
        if before is ArrivalKind.OK or (before is not None and arrival.kind is not ArrivalKind.OK):
            return []
        entry.members[arrival.member] = arrival.kind
        if arrival.kind is ArrivalKind.OK:
            entry.ok += 1
            entry.not_ok -= before is not None
        else:
            entry.not_ok += 1
        return self._judge(entry, now)

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

    def _judge(self, entry: _Entry, now: float) -> list[Envelope]:
        latch = entry.latch
        if latch is None or entry.state is LatchState.RELEASED:
            return []
        state = judge(latch.rule, latch.total, entry.ok, entry.not_ok)
        if state is entry.state:
            return []
        entry.state = state
        entry.forget_at = None
        if state is LatchState.OPEN:
            return []
        entry.forget_at = now + latch.keep
        heapq.heappush(self._forgetting, (entry.forget_at, latch.id))
        if state is LatchState.RELEASED:
            entry.members.clear()
            return [latch.envelope] if latch.envelope is not None else []
        if entry.broke or latch.on_break is None:
            return []
        entry.broke = True
        return [latch.on_break]
