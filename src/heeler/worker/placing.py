"""Sees jobs of workflows from the fetch into the line, in order; what needs many results holds nobody up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from heeler.clock import Clock
from heeler.dag.place import Place
from heeler.worker.faults import Faults
from heeler.worker.placed_runs import PlacedRuns, Sorted
from heeler.worker.run import Run
from heeler.worker.settler import Settler
from heeler.worker.slots import Slots

__all__ = ["Placing"]


class Placing:
    """Lives on the I/O thread. `on_placed` is called when some are in line, or have ended without a run."""

    def __init__(
        self,
        placed: PlacedRuns,
        slots: Slots,
        settler: Settler,
        clock: Clock,
        faults: Faults,
        on_placed: Callable[[], None],
    ) -> None:
        self._placed = placed
        self._slots = slots
        self._settler = settler
        self._clock = clock
        self._faults = faults
        self._on_placed = on_placed
        self._waiting: deque[list[Run]] = deque()
        self._aside: dict[int, Run] = {}
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, runs: list[Run]) -> None:
        """Runs that were fetched together."""
        self._waiting.append(runs)
        self._aside.update((id(run), run) for run in runs)
        if self._worker is None:
            self._worker = self._spawn(self._sort_all())

    def stop(self) -> list[Run]:
        """Go no further; the runs that are not in line."""
        for task in self._tasks:
            task.cancel()
        aside, self._aside = list(self._aside.values()), {}
        self._waiting.clear()
        return aside

    async def _sort_all(self) -> None:
        try:
            while self._waiting:
                runs = self._waiting[0]
                found = await self._insist(lambda runs=runs: self._placed.sort(runs))
                self._waiting.popleft()
                for run, place in found.slow:
                    self._spawn(self._complete(run, place))
                self._take(found)
        finally:
            self._worker = None

    async def _complete(self, run: Run, place: Place) -> None:
        self._take(await self._insist(lambda: self._placed.complete(run, place)))

    async def _insist(self, attempt: Callable[..., Coroutine[Any, Any, Sorted]]) -> Sorted:
        """Try until the store answers."""
        while True:
            try:
                found = await attempt()
            except Exception as error:
                await self._clock.sleep(self._faults.failed("workflows", error))
            else:
                self._faults.recovered("workflows")
                return found

    def _take(self, found: Sorted) -> None:
        if found.let_go:
            self._placed.on_let_go(found.let_go)
        for run in (*found.ready, *found.ended):
            del self._aside[id(run)]
        self._slots.ready(found.ready, self._clock.monotonic())
        for run in found.ended:
            run.ended = True
        self._slots.give_back(len(found.ended))
        if found.settlements:
            self._settler.add(found.settlements)
        self._on_placed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="heeler-placed-runs")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
