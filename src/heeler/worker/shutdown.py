"""How a worker ends: stop fetching, give back what has not started, wait for what runs, then give that back, too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from heeler.clock import Clock
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.fetcher import Fetcher
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.outcome import Released
from heeler.worker.run import Interrupt, Run
from heeler.worker.settler import Settler
from heeler.worker.slots import Slots

__all__ = ["Shutdown", "StopRequest"]

LAST_WORDS = 2.5  # how long cancelled runs have to end before they are given back as they are
LAST_SETTLEMENTS = 5.0  # how long the broker has to answer the last settlements
_NO_POLICY = Policy()


class StopRequest:
    """That the worker shall stop, and how patiently. Lives on the I/O thread; may be there before anything else."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.made = asyncio.Event()
        self.at_once = asyncio.Event()

    def stop(self, grace: float | None = None) -> None:
        """Ask for a stop; a second request can only shorten the grace."""
        if grace is not None and grace < self.grace:
            self.grace = grace
            if grace <= 0:
                self.at_once.set()
        self.made.set()

    def signalled(self) -> None:
        """A signal came: the first one asks for a stop, the second one for haste."""
        if self.made.is_set():
            self.at_once.set()
        self.made.set()


class Shutdown:
    """Lives on the I/O thread, so that a task which blocks its loop delays nothing.

    `stop_starting` and `interrupt` reach the task loop: start nothing more; end a run.
    """

    def __init__(
        self,
        label: str,
        request: StopRequest,
        slots: Slots,
        fetcher: Fetcher,
        keeper: LeaseKeeper,
        settler: Settler,
        clock: Clock,
        logger: logging.Logger,
        *,
        worker_id: str,
        stop_starting: Callable[[], None],
        interrupt: Callable[[Run, Interrupt], None],
    ) -> None:
        self._label = label
        self._request = request
        self._slots = slots
        self._fetcher = fetcher
        self._keeper = keeper
        self._settler = settler
        self._clock = clock
        self._logger = logger
        self._worker_id = worker_id
        self._stop_starting = stop_starting
        self._interrupt = interrupt
        self._ended = asyncio.Event()

    def notice(self) -> None:
        """Some run has ended."""
        self._ended.set()

    async def carry_out(self) -> None:
        """All phases; returns when nothing is in hand any more, or the broker will not hear of it."""
        self._stop_starting()
        await self.go_quiet()
        running = self._slots.in_hand
        if running:
            self._logger.info(
                "%s: stopping; %d running, waiting up to %g s for them", self._label, running, self._request.grace
            )
            await self._wait_for_runs()
        else:
            self._logger.info("%s: stopping; nothing runs", self._label)
        if self._slots.in_hand:
            await self._give_back_runs()
        if not await self._settler.drain(LAST_SETTLEMENTS):
            self._logger.warning(
                "%s: the broker could not be told how %s ended; what it does not know of runs again when its "
                "lease runs out",
                self._label,
                _jobs(self._settler.unsettled),
            )

    async def go_quiet(self) -> None:
        """Fetch no more, and give back what has not started."""
        await self._fetcher.quiet()
        unstarted = self._slots.take_unstarted()
        self._fetcher.give_back([(run, 0.0) for run in unstarted])
        if unstarted:
            self._logger.info("%s: gave back %s not started", self._label, _jobs(len(unstarted)))

    async def _wait_for_runs(self) -> None:
        """Until all have ended, the grace is over, or somebody is in haste."""
        haste = asyncio.create_task(self._request.at_once.wait())
        try:
            async with asyncio.timeout(self._request.grace):
                await self._until_ended(haste)
        except TimeoutError:
            pass
        finally:
            haste.cancel()

    async def _until_ended(self, haste: asyncio.Task[Any] | None = None) -> None:
        while self._slots.in_hand and not (haste and haste.done()):
            self._ended.clear()
            ended: asyncio.Task[Any] = asyncio.create_task(self._ended.wait())
            try:
                await asyncio.wait([ended, haste] if haste else [ended], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
            # What was parked or popped when we went quiet may have come back into a lane.
            self._fetcher.give_back([(run, 0.0) for run in self._slots.take_unstarted()])

    async def _give_back_runs(self) -> None:
        self._logger.info("%s: giving back %s still running", self._label, _jobs(self._slots.in_hand))
        for run in self._keeper.held_runs():
            if not run.ended:
                self._interrupt(run, Interrupt.RELEASED)
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._until_ended()
        except TimeoutError:
            self._give_back_by_force()

    def _give_back_by_force(self) -> None:
        """The task loop does not turn, so what it holds is released without it; what it says later is not heard."""
        left = [run for run in self._keeper.held_runs() if not run.ended]
        now = self._clock.time()
        for run in left:
            run.ended = True
        self._slots.give_back(len(left))
        self._settler.add(
            [
                decide(
                    Released(),
                    Facts(
                        run.delivery,
                        _NO_POLICY if run.recipe is None else run.recipe.policy,
                        self._worker_id,
                        now,
                        run.started_at,
                        run.saved,
                        announced=run.announced,
                    ),
                )
                for run in left
            ]
        )


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
