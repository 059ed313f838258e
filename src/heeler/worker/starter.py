"""Decides which run starts now: those in line, as slots are free and their own limits allow; suspects run alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heeler.clock import Clock
from heeler.worker.ending import Ending
from heeler.worker.outcome import Cancelled, Crashed, Expired
from heeler.worker.run import Interrupt, Run
from heeler.worker.runner import Runner
from heeler.worker.slots import Lane, Slots

__all__ = ["Starter"]

LIMITED_DELAY = 0.5  # how long a job stays away whose task has all the runs it may have here
CHILD_DELAY = 1.0  # the same for a suspect while another one runs in the child
EXCLUSIVE_DELAY = 3.0  # the same for one that waits in vain for all others to end: while it waits nothing starts


class Starter:
    """Lives on the task loop; only `ring` and `full_tasks` are called on the I/O thread.

    `mark` has the broker write down that a run starts; `poke` tells the fetcher that there is room again.
    """

    def __init__(
        self,
        slots: Slots,
        clock: Clock,
        runner: Runner,
        ending: Ending,
        *,
        mark: Callable[[Run], None],
        poke: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._clock = clock
        self._open = runner.open
        self._begin = runner.begin
        self._flush = runner.flush
        self._end = ending.end
        self._fail = ending.raised
        self._mark = mark
        self._poke = poke
        self._loop = asyncio.get_running_loop()
        self._armed = False  # a turn of `_start_more` is on its way
        self._stopped = False
        self._limited: dict[str, Lane] = {}
        self._limits: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._in_child = Lane(CHILD_DELAY)
        self._exclusive = Lane(EXCLUSIVE_DELAY)
        self._child_run: Run | None = None
        self._exclusive_run: Run | None = None
        slots.lanes += [self._in_child, self._exclusive]

    # From the I/O thread

    def ring(self) -> None:
        """Something came into the line."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon_threadsafe(self._start_more)

    def full_tasks(self) -> frozenset[str]:
        """The tasks that have all the runs they may have here."""
        if not self._limited:
            return frozenset()
        return frozenset([name for name, lane in list(self._limited.items()) if lane or self._is_full(name)])

    # On the task loop

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True

    def ended(self, run: Run) -> None:
        """A run gave its slot back."""
        if run.begun:
            self._slots.running -= 1
            recipe = run.recipe
            if recipe is not None and recipe.limit is not None:
                self._counts[recipe.spec.name] -= 1
            if run is self._child_run:
                self._child_run = None
            elif run is self._exclusive_run:
                self._exclusive_run = None
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._start_more)

    def marked(self, runs: list[Run]) -> None:
        """The broker knows that these start."""
        for run in runs:
            if not run.ended:
                self._begin(run)
        self._flush()

    def _start_more(self) -> None:
        # Disarmed before the line is read: what comes after the last look rings again.
        self._armed = False
        slots = self._slots
        if slots.parked:
            self._start_parked()
        line = slots.line
        while slots.running < slots.concurrency and self._exclusive_run is None and not self._stopped:
            if self._exclusive:
                if slots.running:
                    break  # what runs is awaited for a moment, before the lane is given back
                self._consider_popped(self._exclusive)
                break
            try:
                run = line.popleft()
            except IndexError:
                break
            self._look_at(run)
        self._flush()

    def _start_parked(self) -> None:
        for name, lane in self._limited.items():
            while lane and not self._is_full(name) and self._has_room():
                self._consider_popped(lane)
        while self._in_child and self._child_run is None and self._has_room():
            self._consider_popped(self._in_child)

    def _consider_popped(self, lane: Lane) -> None:
        try:
            run = lane.popleft()
        except IndexError:
            return  # given back just now by the other thread
        self._look_at(run)

    def _has_room(self) -> bool:
        return self._slots.running < self._slots.concurrency and self._exclusive_run is None and not self._stopped

    def _is_full(self, name: str) -> bool:
        return self._counts[name] >= self._limits[name]

    def _look_at(self, run: Run) -> None:
        try:
            self._consider(run)
        except Exception as error:  # a fault of ours or of the user's registry must not leave a job in nobody's hands
            self._fail(run, error)

    def _consider(self, run: Run) -> None:
        """Start a run that this loop has popped, put it into a lane, or end it."""
        delivery = run.delivery
        if run.interrupt is not None:
            self._end(run, Cancelled() if run.interrupt is Interrupt.CANCELLED else None)
            return
        if delivery.expires_at is not None and self._broker_time(run) >= delivery.expires_at:
            self._end(run, Expired())
            return
        if run.recipe is None and not self._open(run):
            return
        recipe = run.recipe
        assert recipe is not None
        max_crashes = recipe.policy.max_crashes
        if delivery.crashes > max_crashes:
            self._end(run, Crashed("its worker died while it ran alone", counted=True))
            return
        if delivery.suspect:
            self._consider_suspect(run)
            return
        if recipe.limit is not None:
            name = recipe.spec.name
            if name not in self._limited:
                self._limit_task(name, recipe.limit)
            if self._is_full(name):
                self._limited[name].append(run)
                self._poke()
                return
            self._counts[name] += 1
        self._slots.running += 1
        run.begun = True
        if max_crashes == 0:
            self._mark(run)
        else:
            self._begin(run)

    def _broker_time(self, run: Run) -> float:
        """The broker's clock now, without a look at ours: its time at the lease and what has passed since."""
        return run.delivery.leased_at + self._clock.monotonic() - run.fetched_at

    def _consider_suspect(self, run: Run) -> None:
        recipe = run.recipe
        assert recipe is not None
        if recipe.spec.importable:
            if self._child_run is not None:
                self._in_child.append(run)
                self._poke()
                return
            self._child_run = run
        else:
            if self._slots.running:
                self._exclusive.append(run)
                self._poke()
                return
            self._exclusive_run = run
        if recipe.limit is not None:
            name = recipe.spec.name
            if name not in self._limited:
                self._limit_task(name, recipe.limit)
            self._counts[name] += 1
        self._slots.running += 1
        run.begun = True
        run.alone = True
        self._mark(run)

    def _limit_task(self, name: str, limit: int) -> None:
        self._limits[name] = limit
        self._counts[name] = 0
        lane = self._limited[name] = Lane(LIMITED_DELAY)
        self._slots.lanes.append(lane)
