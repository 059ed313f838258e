"""How many messages the server may send ahead of what runs: a pure decision, from what the worker has room for."""

from __future__ import annotations

__all__ = ["ReadAhead"]

_WORTH = 0.05  # seconds of measured work
_MOST = 2000
_MEASURED_OVER = 0.02
_FIRST = 1


class ReadAhead:
    """Follows how fast jobs end. With `limit_only` nothing is read ahead of what may run at once."""

    def __init__(self, *, limit_only: bool = False) -> None:
        self._limit_only = limit_only
        self._rate = 0.0  # messages settled per second
        self._measured_at: float | None = None
        self._measured = 0
        self.capacity = _FIRST  # how many the worker may have in hand

    def measure(self, settled: int, in_hand: int, room: int, now: float) -> None:
        """What has been settled in all, what is in hand, and how much more the worker asks for."""
        capacity = in_hand + room
        if self._limit_only:
            self.capacity = capacity if self.capacity == _FIRST else min(self.capacity, capacity)
            return
        self.capacity = capacity
        if self._measured_at is None:
            self._measured_at, self._measured = now, settled
            return
        passed = now - self._measured_at
        if passed >= _MEASURED_OVER:
            rate = (settled - self._measured) / passed
            self._rate = rate if not self._rate else (self._rate + rate) / 2
            self._measured_at, self._measured = now, settled

    def expect(self, least: int) -> None:
        """The worker may have at least so many."""
        if not self._limit_only:
            self.capacity = max(self.capacity, least)

    def rest(self) -> None:
        """Nothing is there: the time until the next job says nothing of how fast jobs end."""
        self._measured_at = None

    def collapse(self) -> None:
        """What was read ahead lay too long."""
        self._rate = 0.0
        self._measured_at = None

    @property
    def wanted(self) -> int:
        """How many messages may be with this process, in hand and waiting."""
        if self._limit_only:
            return self.capacity
        return self.capacity + min(_MOST, int(self._rate * _WORTH))
