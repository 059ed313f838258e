"""One sweep for all timeouts of a worker: a heap and a single timer, since a timer for each job costs too much."""

from __future__ import annotations

import asyncio
import enum
import heapq
from collections.abc import Callable

from heeler.worker.run import Run

__all__ = ["Deadline", "Deadlines"]

SLACK = 1024  # so many entries of ended runs are worth less than a rebuild of the heap


class Deadline(enum.Enum):
    """What is over when a moment comes."""

    SOFT = "SOFT"
    HARD = "HARD"
    PATIENCE = "PATIENCE"  # a cancelled coroutine has had its moment to end


class Deadlines:
    """Tells `on_due` which runs have passed which deadline. Moments are those of `monotonic`.

    Entries of runs that ended meanwhile stay in the heap until they come up or outnumber the others, so adding is
    all that a job with a timeout pays.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float],
        on_due: Callable[[Run, Deadline], None],
    ) -> None:
        self._loop = loop
        self._monotonic = monotonic
        self._on_due = on_due
        self._heap: list[tuple[float, int, Run, Deadline]] = []
        self._count = 0
        self._prune_at = SLACK
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, moment: float, run: Run, deadline: Deadline) -> None:
        """Watch one deadline of a run."""
        self._count += 1
        heap = self._heap
        heapq.heappush(heap, (moment, self._count, run, deadline))
        if len(heap) > self._prune_at:
            self._prune()
        if self._timer is None or moment < self._timer_at:
            self._arm()

    def sweep(self) -> None:
        """Tell of every deadline that has passed by now."""
        now = self._monotonic()
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, run, deadline = heapq.heappop(heap)
            if not run.ended:
                self._on_due(run, deadline)
        self._arm()

    def close(self) -> None:
        self._heap.clear()
        self._arm()

    def _prune(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].ended]
        heapq.heapify(self._heap)
        self._prune_at = 2 * len(self._heap) + SLACK

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_at = self._heap[0][0]
            self._timer = self._loop.call_later(max(0.0, self._timer_at - self._monotonic()), self.sweep)
