"""Leases jobs as fast as they fit, hands them to the task loop, and gives back what waits here for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heeler.clock import Clock
from heeler.contracts import Subscription
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.faults import Faults
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.outcome import Released
from heeler.worker.placed_runs import PlacedRuns, has_place
from heeler.worker.placing import Placing
from heeler.worker.run import Run
from heeler.worker.settler import Settler
from heeler.worker.slots import PATIENCE, Slots
from heeler.worker.unknown_tasks import UnknownTasks

__all__ = ["Fetcher"]

NOT_READY = 0.2  # how long a middleware that is not ready postpones a fetch
IN_VAIN = 3  # after so many empty fetches in a row the broker's `ready` is not believed at once
_NO_POLICY = Policy()


class Fetcher:
    """Lives on the I/O thread.

    `may_fetch` is the middleware's `ready`, `full_tasks` names the tasks that have all the runs they may have,
    `ring` tells the task loop that something is in line. With `burst` the fetcher ends when nothing is left.
    """

    def __init__(
        self,
        subscription: Subscription,
        slots: Slots,
        keeper: LeaseKeeper,
        settler: Settler,
        unknown: UnknownTasks,
        placed: PlacedRuns,
        clock: Clock,
        faults: Faults,
        *,
        worker_id: str,
        may_fetch: Callable[[], bool],
        full_tasks: Callable[[], frozenset[str]],
        ring: Callable[[], None],
        burst: bool = False,
    ) -> None:
        self._subscription = subscription
        self._slots = slots
        self._keeper = keeper
        self._settler = settler
        self._unknown = unknown
        self._clock = clock
        self._faults = faults
        self._worker_id = worker_id
        self._may_fetch = may_fetch
        self._full_tasks = full_tasks
        self._ring = ring
        self._burst = burst
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._done = asyncio.Event()  # set when it is over
        self._done.set()
        self._quiet = False
        self._ready: asyncio.Task[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._skipped: frozenset[str] = frozenset()
        self._missed = False  # the broker, at the last look: only a fetch that succeeds shows that it is back
        self._strangers: set[asyncio.Task[None]] = set()
        self._placing = Placing(placed, slots, settler, clock, faults, self._placed)

    def wake(self) -> None:
        """Something ended: there may be room."""
        self._wake.set()

    async def run(self) -> None:
        """Fetch until `quiet`, or with `burst` until nothing is left."""
        self._done.clear()
        try:
            await self._fetch_on()
        finally:
            self._done.set()

    async def _fetch_on(self) -> None:
        in_vain = 0
        more = True  # there may be something to fetch
        while not self._quiet:
            self._wake.clear()
            room = 0 if self._settler.congested else self._slots.room()
            skip = self._full_tasks() | self._unknown.passed_over()
            if not room:
                await self._rest(None)
            elif not self._may_fetch():
                await self._rest(NOT_READY)
            elif not (more or self._burst or self._missed or skip != self._skipped):
                more = await self._until_ready()
            else:
                fetched = await self._fetch(room, skip)
                more = fetched >= room
                in_vain = 0 if fetched else in_vain + 1
                if self._burst and not fetched:
                    if self._nothing_is_left():
                        return
                    await self._rest(None)
                elif in_vain > IN_VAIN:
                    await self._rest(min(0.001 * 2.0 ** min(in_vain, 8), PATIENCE))

    async def quiet(self) -> None:
        """Fetch no more; returns when what was just being leased is in line."""
        self._quiet = True
        self._wake.set()
        if self._ready is not None:
            self._ready.cancel()
        await self._done.wait()
        aside = self._placing.stop()
        self._slots.give_back(len(aside))
        self.give_back([(run, 0.0) for run in aside])
        try:
            await self._subscription.quiet()
        except Exception as error:  # what the broker keeps for us comes back when its leases run out
            self._faults.failed("quiet", error)

    def _placed(self) -> None:
        """Something came in line, or ended."""
        self._ring()
        self._wake.set()

    def give_back(self, runs: list[tuple[Run, float]]) -> None:
        """Release deliveries that have not begun; nobody is charged."""
        now = self._clock.time()
        released = [
            decide(Released(delay), Facts(run.delivery, _NO_POLICY, self._worker_id, now)) for run, delay in runs
        ]
        for run, _ in runs:
            run.ended = True
        if released:
            self._settler.add(released)
            self._wake.set()

    async def _until_ready(self) -> bool:
        """Wait until the broker has work; False if there is something else to look at first."""
        if self._slots.in_hand == 0:
            self._slots.rest()
        self._ready = ready = self._loop.create_task(self._subscription.ready(), name="heeler-ready")
        woken = self._loop.create_task(self._wake.wait()) if self._skipped else None
        try:
            if woken is not None:
                await asyncio.wait((ready, woken), return_when=asyncio.FIRST_COMPLETED)
            else:  # the usual case, without the turn of the loop that `wait` takes
                await ready
            if self._quiet or not self._ready.done() or self._ready.cancelled():
                return False
            self._ready.result()
        except asyncio.CancelledError:
            if self._quiet and ready.cancelled():
                return False
            raise
        except Exception as error:
            self._missed = True
            await self._rest(self._faults.failed("fetch", error))
            return False
        else:
            return True
        finally:
            for task in (self._ready, woken):
                if task is not None:
                    task.cancel()
            self._ready = None

    def _nothing_is_left(self) -> bool:
        """After a fetch in vain: whether nothing has happened since, and nothing is in hand that could bring more."""
        return not (
            self._wake.is_set()
            or self._slots.in_hand
            or self._settler.unsettled
            or self._strangers
            or self._faults.unavailable
        )

    async def _fetch(self, room: int, skip: frozenset[str]) -> int:
        """Lease up to `room` jobs; how many came."""
        try:
            deliveries = await self._subscription.fetch(room, self._slots.room_bytes(), skip)
        except Exception as error:
            self._missed = True
            await self._rest(self._faults.failed("fetch", error))
            return 0
        self._missed = False
        self._faults.recovered("fetch")
        self._skipped = skip
        if not deliveries:
            return 0
        now = self._clock.monotonic()
        runs = [Run(delivery, now) for delivery in deliveries]
        self._keeper.hold(runs, now)
        runs, strangers = self._unknown.sort_out(runs)
        if strangers:
            task = self._loop.create_task(self._settle_strangers(strangers), name="heeler-unknown-tasks")
            self._strangers.add(task)
            task.add_done_callback(self._strangers_settled)
        aside = [run for run in runs if has_place(run)]
        if aside:
            runs = [run for run in runs if not has_place(run)]
            self._placing.add(aside)
        self._slots.took(runs, room, now, len(aside))
        self._ring()
        if self._sweep is None:
            self._sweep = self._loop.call_later(PATIENCE, self._give_back_stale)
        return len(deliveries)

    async def _settle_strangers(self, runs: list[Run]) -> None:
        for run in runs:
            run.ended = True
        while True:
            try:
                self._settler.add(await self._unknown.settle(runs))
            except Exception as error:
                await self._clock.sleep(self._faults.failed("live workers", error))
            else:
                self._faults.recovered("live workers")
                return

    def _strangers_settled(self, task: asyncio.Task[None]) -> None:
        self._strangers.discard(task)
        self._wake.set()

    async def _rest(self, seconds: float | None) -> None:
        """Wait until something ends, at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _give_back_stale(self) -> None:
        self._sweep = None
        self.give_back(list(self._slots.stale(self._clock.monotonic())))
        if self._slots.line or self._slots.parked:
            self._sweep = self._loop.call_later(PATIENCE / 2, self._give_back_stale)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._placing.stop()
        for task in self._strangers:
            task.cancel()
