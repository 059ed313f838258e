"""What is looked after while workers or schedulers run here: leases that nobody keeps, sends that nobody finished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from heeler.brokers.ordered.in_hand import InHand
from heeler.brokers.ordered.sender import Sender
from heeler.clock import Clock
from heeler.contracts import OrderedStore, PlainBroker
from heeler.errors import HeelerError

__all__ = ["Upkeep"]

_log = logging.getLogger("heeler.ordered")
_MOST_UNSENT = 500


class Upkeep:
    """Begins with the first that takes jobs or starts schedules. The shortest lease sets its pace."""

    def __init__(self, plain: PlainBroker, store: OrderedStore, hand: InHand, sender: Sender, clock: Clock) -> None:
        self._plain = plain
        self._store = store
        self._hand = hand
        self._sender = sender
        self._clock = clock
        self._lease = float("inf")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, lease: float) -> None:
        if lease < self._lease:
            self._cancel()
            self._lease = lease
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(self._repeat(self._until_a_lease_ends, self.give_back_expired), name="heeler-leases"),
                loop.create_task(self._repeat(self._one_lease, self.send_unsent), name="heeler-unsent"),
            ]

    async def close(self) -> None:
        tasks = self._tasks
        self._cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def give_back_expired(self) -> None:
        """Hand back the messages of runs whose worker has not renewed them: it may be stuck."""
        tags = self._hand.drop_expired()
        if tags:
            await self._plain.give_back(tags, untouched=False)

    async def send_unsent(self) -> None:
        """Send what somebody took down and then did not send: a message that brings it back may never come."""
        while unsent := await self._store.unsent(self._lease, _MOST_UNSENT):
            await self._sender.send(unsent)
            await self._store.clear([one.key for one in unsent], acknowledged=False)

    async def _repeat(self, wait: Callable[[], Awaitable[None]], step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await wait()
            try:
                await step()
            except HeelerError as error:  # said by whoever fetches and settles, too; the next round tries again
                _log.debug("upkeep of ordered steps has to wait: %s", error)

    async def _until_a_lease_ends(self) -> None:
        await self._clock.sleep(self._hand.seconds_to_next_end(self._lease))

    async def _one_lease(self) -> None:
        await self._clock.sleep(self._lease)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._lease = float("inf")
