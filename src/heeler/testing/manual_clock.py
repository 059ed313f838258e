"""A clock that moves only when a test says so, so that retries, schedules and leases need no waiting."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading

__all__ = ["ManualClock"]


class ManualClock:
    """A `heeler.clock.Clock` driven by `advance`; shared by any number of loops and threads.

    It starts at a fixed time (2026-01-01 00:00 UTC, or `start`), so what a test computes is the same in each run.
    `chance` is what `random()` answers: 0.5, the middle, where a test does not care for jitter.
    """

    def __init__(self, start: float = 1_767_225_600.0, *, chance: float = 0.5) -> None:
        self.chance = chance
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def random(self) -> float:
        return self.chance

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been advanced so far; at once (after one turn of the loop) if not positive."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds and wake all whose sleep is over, on whatever loop; from any thread."""
        if seconds < 0:
            raise ValueError(f"ManualClock: a clock goes forward, got {seconds:g} seconds")
        with self._lock:
            self._elapsed += seconds
            due = []
            while self._sleepers and self._sleepers[0][0] <= self._elapsed:
                due.append(heapq.heappop(self._sleepers)[2])
        for future in due:
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():  # the sleep may have been cancelled
        future.set_result(None)
