"""The life of a scheduler: sleep until the next time or until something changes, start what is due, sleep again."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable
from typing import Any

from heeler.clock import Clock, new_id
from heeler.connections import Connections
from heeler.contracts import Broker, ControlChannel, ScheduleEntry, ScheduleStore
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.producer import Producer
from heeler.scheduler.firing import Firing
from heeler.schedules import Schedules, synchronise

__all__ = ["SchedulerLoop"]

BATCH = 100  # schedules that are started before others are looked for
SWEEP = 30.0  # seconds after which it looks even if nothing is due: for clocks that jump and words that got lost
TICK = 0.001  # seconds: loops round shorter sleeps down, so they would be many instead of one
COURTESY = 0.02  # seconds that it lets others go first after they were faster
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
_ASIDE = 30.0  # seconds for which a schedule that cannot be started is left alone


class SchedulerLoop:
    """One of as many as there are; `run` is its life on the I/O thread, which whoever started it ends by cancelling.

    Time is the store's: how long to sleep is reckoned from what it says, and slept by a clock that does not jump.
    """

    def __init__(
        self,
        name: str,
        connections: Connections,
        producer: Producer,
        schedules: Schedules,
        logger: logging.Logger,
        lease: float,
    ) -> None:
        self.name = name
        self._connections = connections
        self._lease = lease
        self._clock: Clock = connections.clock
        self._declared = schedules.declared
        self._logger = logger
        self._make_firing = functools.partial(Firing, producer, schedules.startables, self._clock, logger)
        self._changed = asyncio.Event()
        self._listening = asyncio.Event()
        self._gives_way = False  # somebody was faster the last time
        self._tries = 0
        self._aside: dict[str, tuple[bytes, float]] = {}
        self.ready = asyncio.Event()
        """Set when what the code declares is in the store, and this scheduler hears of changes."""

    async def run(self) -> None:
        """Until cancelled. Raises ConfigurationError where schedules cannot be kept, and what is final."""
        while True:
            try:
                await self._work()
            except BrokerUnavailable as error:
                if error.given_up:
                    raise
                await self._pause(error)
            except ConfigurationError:
                raise
            except Exception as error:
                await self._pause(error)

    async def _work(self) -> None:
        broker = await self._connections.opened()
        store = broker.schedules
        if store is None:
            raise ConfigurationError(f"{self._connections.shown_url} cannot keep schedules")
        broker.look_after(
            self._lease
        )  # another one may have died after it had moved a schedule, before it sent the job
        firing = self._make_firing()
        listening = asyncio.create_task(self._listen(broker.control), name=f"heeler-scheduler-changes {self.name}")
        try:
            await self._synchronise(store)
            await self._listening.wait()
            self.ready.set()
            while True:
                await self._turn(broker, store, firing)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _turn(self, broker: Broker, store: ScheduleStore, firing: Firing) -> None:
        """Start what is due, or sleep until something is."""
        self._changed.clear()
        due = await store.due(BATCH + len(self._aside))
        self._recovered()
        entries = [entry for entry in due.entries if not self._is_aside(entry)]
        if not entries:
            wait = SWEEP if due.next_at is None else min(SWEEP, max(0.0, due.next_at - due.now))
            await self._rest(wait + self._courtesy() if due.next_at is not None else wait)
            return
        fired = await firing.fire(broker, self._in_order(entries[:BATCH]), due.now)
        for entry, error in fired.broken:
            self._put_aside(entry, error)
        self._gives_way = fired.lost > fired.won
        if self._gives_way:
            await self._rest(self._courtesy())

    def _courtesy(self) -> float:
        """Who was too late the last time lets others go first: so mostly one of them does it all, whichever it is."""
        return COURTESY * (0.25 + self._clock.random()) if self._gives_way else 0.0

    def _in_order(self, entries: list[ScheduleEntry]) -> list[ScheduleEntry]:
        """The earliest first; but who gives way begins somewhere, to meet others seldom where there is much to do."""
        first = int(self._clock.random() * len(entries)) if self._gives_way else 0
        return entries[first:] + entries[:first]

    async def _rest(self, seconds: float) -> None:
        """Sleep so long, or until something changes."""
        if 0.0 < seconds < TICK:
            seconds = TICK
        await _first_of(self._clock.sleep(seconds), self._changed.wait())

    # What the code declares

    async def _synchronise(self, store: ScheduleStore) -> None:
        for drift in await synchronise(store, self._declared):
            level = logging.INFO if drift.kind == "new" else logging.WARNING
            done = "disabled" if drift.kind == "left" else "now as in the code"
            self._logger.log(level, "schedule %s: %s; %s", drift.name, drift, done)

    # Changes

    async def _listen(self, control: ControlChannel | None) -> None:
        """Look when somebody says that schedules have changed."""
        if control is None:
            self._listening.set()
            return
        while True:
            try:
                inbox = await control.commands(f"scheduler:{self.name}:{new_id()[-12:]}")
                try:
                    self._listening.set()
                    self._changed.set()
                    while True:
                        if any(command.kind == "schedules" for command in await inbox.receive()):
                            self._changed.set()
                finally:
                    await inbox.close()
            except Exception as error:
                self._listening.set()  # the sweep finds changes, too
                self._logger.debug("scheduler %s: hears of no changes: %s", self.name, error)
                await self._clock.sleep(LONGEST_PAUSE)

    # What goes wrong

    def _is_aside(self, entry: ScheduleEntry) -> bool:
        there = self._aside.get(entry.name)
        if there is None:
            return False
        if there[0] == entry.state and there[1] > self._clock.monotonic():
            return True
        del self._aside[entry.name]
        return False

    def _put_aside(self, entry: ScheduleEntry, error: Exception) -> None:
        """One that cannot be started must not hold up the others; it is tried again later."""
        self._aside[entry.name] = (entry.state, self._clock.monotonic() + _ASIDE)
        self._logger.error(
            "schedule %s cannot be started, and is tried again in %g s", entry.name, _ASIDE, exc_info=error
        )

    async def _pause(self, error: Exception) -> None:
        if not isinstance(error, BrokerUnavailable):
            self._logger.error("scheduler %s: failed; trying again", self.name, exc_info=error)
        elif not self._tries:
            self._logger.warning("scheduler %s: the broker is unavailable: %s", self.name, error)
        pause = min(FIRST_PAUSE * 2.0 ** min(self._tries, 30), LONGEST_PAUSE)
        self._tries += 1
        await self._clock.sleep(pause * (0.5 + self._clock.random() / 2))

    def _recovered(self) -> None:
        if self._tries:
            self._tries = 0
            self._logger.info("scheduler %s: goes on", self.name)


async def _first_of(*waits: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
