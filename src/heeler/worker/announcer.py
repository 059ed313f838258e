"""Says every fifteen seconds that this worker lives, and takes it back at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heeler.clock import Clock
from heeler.contracts import ControlChannel
from heeler.model import WorkerPresence
from heeler.worker.faults import Faults

__all__ = ["Announcer"]

ANNOUNCE_EVERY = 15.0


class Announcer:
    """Lives on the I/O thread. `presence` gives what is true just now."""

    def __init__(
        self, control: ControlChannel, clock: Clock, faults: Faults, presence: Callable[[], WorkerPresence]
    ) -> None:
        self._control = control
        self._clock = clock
        self._faults = faults
        self._presence = presence
        self._again = asyncio.Event()
        self.announced = asyncio.Event()

    async def run(self) -> None:
        while True:
            self._again.clear()
            try:
                await self._control.announce(self._presence())
            except Exception as error:
                await self._clock.sleep(self._faults.failed("announce", error))
                continue
            self._faults.recovered("announce")
            self.announced.set()
            try:
                async with asyncio.timeout(ANNOUNCE_EVERY):
                    await self._again.wait()
            except TimeoutError:
                pass

    def announce_again(self) -> None:
        """Something has changed, or somebody asks: say it now."""
        self._again.set()

    async def withdraw(self) -> None:
        """Say that this worker is gone. If the broker cannot be told, the announcement runs out by itself."""
        try:
            await self._control.withdraw(self._presence().id)
        except Exception as error:
            self._faults.failed("withdraw", error)
