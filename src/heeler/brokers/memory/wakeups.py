"""Who waits for work, and the alarm for work that comes by time: pushed, and about one wake-up for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from heeler.brokers.memory.queue import MemoryQueue
from heeler.clock import Clock

__all__ = ["Alarm", "Idle", "Sleeper"]

_TICK = 0.001  # seconds: loops round shorter sleeps down, so they would be many instead of one


class Sleeper(Protocol):
    """A subscription that waits for work."""

    queues: tuple[MemoryQueue, ...]
    skipped: frozenset[str]  # the tasks that its last fetch passed over: they do not wake it

    def wake(self) -> bool:
        """False: its loop is closed."""
        ...


class Idle:
    """The sleepers of each queue, the one that waits longest first."""

    __slots__ = ("_by_queue",)

    def __init__(self) -> None:
        self._by_queue: dict[MemoryQueue, dict[Sleeper, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_queue)

    def add(self, sleeper: Sleeper) -> None:
        for queue in sleeper.queues:
            self._by_queue.setdefault(queue, {})[sleeper] = None

    def remove(self, sleeper: Sleeper) -> bool:
        """Whether it was idle still, that is, had not been woken."""
        found = False
        for queue in sleeper.queues:
            sleepers = self._by_queue.get(queue)
            if sleepers is not None and sleeper in sleepers:
                found = True
                del sleepers[sleeper]
                if not sleepers:
                    del self._by_queue[queue]
        return found

    def wake(self, queue: MemoryQueue, jobs: int) -> None:
        """Wake as many sleepers of the queue as there are jobs. Who is woken and leaves some wakes the next."""
        for sleeper in tuple(self._by_queue.get(queue, ())):
            if jobs <= 0 or not queue.has_work():
                return
            if queue.has_work(sleeper.skipped):
                self.remove(sleeper)
                if sleeper.wake():
                    jobs -= 1


class Alarm:
    """Rings when the next scheduled job comes due or the next lease runs out; one for each open broker object.

    `ring` does what is due and answers when to ring next (None: nothing is in sight).
    """

    def __init__(self, clock: Clock, ring: Callable[[], float | None]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._at = float("inf")
        self._sleep: asyncio.Task[None] | None = None

    def set(self, at: float) -> None:
        """Ring at `at` if nothing rings earlier; from any thread."""
        if at < self._at and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arm, at)

    async def close(self) -> None:
        self._at = float("-inf")
        if self._sleep is not None:
            self._sleep.cancel()
            await asyncio.gather(self._sleep, return_exceptions=True)
            self._sleep = None

    def _arm(self, at: float) -> None:
        if at < self._at:
            if self._sleep is not None:
                self._sleep.cancel()
            self._at = at
            self._sleep = self._loop.create_task(self._run(), name="heeler memory alarm")

    async def _run(self) -> None:
        while self._at < float("inf"):
            left = self._at - self._clock.time()
            await self._clock.sleep(_TICK if 0.0 < left < _TICK else max(0.0, left))
            self._at = float("inf")
            following = self._ring()
            if following is not None and following < self._at:
                self._at = following
        self._sleep = None
