"""Whether a worker is well: its loops turn, its leases are renewed, and it takes jobs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec

from heeler.clock import Clock
from heeler.worker.faults import Faults
from heeler.worker.lease_keeper import LeaseKeeper

__all__ = ["Vitals", "WorkerHealth"]


class WorkerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """`live`: it does what it should, so leave it alone. `ready`: it takes jobs. `reasons` say why not."""

    name: str
    pid: int
    state: str
    live: bool
    ready: bool
    running: int = 0
    reasons: tuple[str, ...] = ()


class Vitals:
    """Lives on the I/O thread, whose loop turns if this answers at all.

    The task loop is asked now and then for a sign of life, and may be silent for `patience` seconds. While the broker
    is away no lease can be renewed, and a restart would not help: that is no lack of life.
    """

    def __init__(
        self, name: str, clock: Clock, patience: float, running: Callable[[], int], state: Callable[[], str]
    ) -> None:
        self._name = name
        self._clock = clock
        self._patience = patience
        self._running = running
        self._state = state
        self._silent_since: float | None = None
        self.faults: Faults | None = None
        self.keeper: LeaseKeeper | None = None

    async def watch(self, ping: Callable[[Callable[[], object]], None]) -> None:
        """Ask the task loop until cancelled; `ping` has it call back."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._silent_since is None:
                    self._silent_since = self._clock.monotonic()
                    ping(lambda: loop.call_soon_threadsafe(self._heard))
                await asyncio.sleep(self._patience / 6)
        finally:
            self._silent_since = None

    def _heard(self) -> None:
        self._silent_since = None

    def now(self) -> WorkerHealth:
        """How it is at this moment."""
        state = self._state()
        faults = list(self._faults_of_life())
        away = self.faults is not None and self.faults.unavailable
        reasons = [*faults, "the broker is unavailable"] if away else list(faults)
        if state != "running":
            reasons.append(f"it is {state}")
        return WorkerHealth(
            name=self._name,
            pid=os.getpid(),
            state=state,
            live=not faults,
            ready=not reasons,
            running=self._running(),
            reasons=tuple(reasons),
        )

    def _faults_of_life(self) -> list[str]:
        now = self._clock.monotonic()
        found = []
        silent = 0.0 if self._silent_since is None else now - self._silent_since
        if silent > self._patience:
            found.append(f"its task loop has been silent for {silent:.0f} s: some coroutine blocks it")
        if self.keeper is not None and not (self.faults is not None and self.faults.unavailable):
            overdue = self.keeper.overdue(now)
            if overdue > 0:
                found.append(f"a lease ran out {overdue:.0f} s ago and was not renewed")
        return found
