"""From messages that come to deliveries that may run: each batch is one question to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from heeler.brokers.ordered.in_hand import InHand
from heeler.brokers.ordered.sender import Sender
from heeler.brokers.ordered.upkeep import Upkeep
from heeler.clock import Clock
from heeler.contracts import (
    BeginAnswer,
    Begun,
    Candidate,
    OrderedStore,
    PlainBroker,
    PlainDelivery,
    PlainSubscription,
    Subscription,
    Unsent,
)
from heeler.errors import BrokerUnavailable
from heeler.model import Delivery, Receipt, Renewal

__all__ = ["OrderedSubscription"]

_PAUSED_FOR = 1.0  # how soon a paused queue is asked about again; who resumes it here is faster


class Parked(msgspec.Struct, frozen=True, gc=False):
    """A message that waits here until the store is asked about it again."""

    message: PlainDelivery
    ask_at: float
    paused: bool  # because its queue is paused, not because somebody else holds its job


class OrderedSubscription(Subscription):
    """What one worker takes.

    A message is in one of three places: with the plain broker; here, because the store has not answered yet or said
    to ask again; or in hand, as a run.
    """

    def __init__(
        self,
        plain: PlainBroker,
        messages: PlainSubscription,
        store: OrderedStore,
        hand: InHand,
        sender: Sender,
        upkeep: Upkeep,
        clock: Clock,
        lease: float,
    ) -> None:
        self._plain = plain
        self._messages = messages
        self._store = store
        self._hand = hand
        self._sender = sender
        self._upkeep = upkeep
        self._clock = clock
        self._lease = lease
        self._asking: list[PlainDelivery] = []
        self._parked: list[Parked] = []
        self._skipped_queues: frozenset[str] = frozenset()
        self._again = asyncio.Event()
        self._quiet = False

    def look_again(self) -> None:
        """A queue was resumed: what waits here because of that is asked about at once."""
        if self._parked:
            self._parked = [Parked(one.message, 0.0, one.paused) if one.paused else one for one in self._parked]
            self._again.set()

    async def ready(self) -> None:
        if self._asking or self._skipped_queues != self._paused_queues():
            return
        if not self._parked:
            await self._messages.ready()
            return
        self._again.clear()
        wait = min(one.ask_at for one in self._parked) - self._clock.monotonic()
        if wait > 0:
            await _first_of(self._messages.ready(), self._clock.sleep(wait), self._again.wait())

    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        if self._quiet or limit <= 0:
            return []
        await self._upkeep.give_back_expired()
        self._asking += self._due()
        skip_queues = self._paused_queues()
        if len(self._asking) < limit or skip_queues != self._skipped_queues:
            room = max(0, limit - len(self._asking))
            self._asking += await self._messages.fetch(room, max_bytes, skip_tasks, skip_queues)
            self._skipped_queues = skip_queues
        if not self._asking:
            return []
        await self._adopt()
        return await self._begin(self._asking)

    async def quiet(self) -> None:
        self._quiet = True
        await self._messages.quiet()
        waiting = self._asking + [one.message for one in self._parked]
        self._asking, self._parked = [], []
        for redelivered in (False, True):
            tags = [message.tag for message in waiting if message.redelivered is redelivered]
            if tags:
                await self._plain.give_back(tags, untouched=not redelivered)

    async def _adopt(self) -> None:
        """Messages of runs that go on here: the connection was away, and the leases are still ours."""
        held = {
            message.envelope.id: holding
            for message in self._asking
            if (holding := self._hand.of_job(message.envelope.id)) is not None
        }
        if not held:
            return
        lost = (await self._store.renew([Renewal(delivery=one.delivery) for one in held.values()], self._lease)).lost
        others = []
        for message in self._asking:
            holding = self._hand.of_job(message.envelope.id)  # it may have ended meanwhile
            if holding is not None and holding is held.get(message.envelope.id) and message.envelope.id not in lost:
                holding.tags.append(message.tag)
                self._hand.keep([holding.delivery], self._lease)
            else:
                others.append(message)
        self._asking = others

    async def _begin(self, messages: list[PlainDelivery]) -> list[Delivery]:
        begun = await self._store.begin(
            [Candidate(message.envelope, message.redelivered) for message in messages], self._lease
        )
        self._asking = []
        deliveries: list[Delivery] = []
        ended: list[tuple[PlainDelivery, Unsent]] = []
        for message, answer in zip(messages, begun, strict=True):
            if answer.answer is BeginAnswer.RUN:
                self._run(message, answer, deliveries)
            elif answer.unsent is not None:
                ended.append((message, answer.unsent))
            else:
                paused = answer.answer is BeginAnswer.PAUSED
                wait = _PAUSED_FOR if paused else answer.wait
                self._parked.append(Parked(message, self._clock.monotonic() + wait, paused))
        if ended:
            await self._finish(ended)
        return deliveries

    def _run(self, message: PlainDelivery, answer: Begun, deliveries: list[Delivery]) -> None:
        envelope = message.envelope
        holding = self._hand.of_job(envelope.id)
        if holding is not None and holding.delivery.receipt.epoch == answer.epoch:
            holding.tags.append(message.tag)  # the same message twice in one batch
            return
        delivery = Delivery(
            envelope=envelope,
            receipt=Receipt(envelope.id, answer.epoch),
            leased_at=answer.at,
            expires_at=answer.expires_at,
            attempts=envelope.attempts,
            crashes=answer.crashes,
            suspect=answer.suspect,
            note=envelope.note,
        )
        self._hand.take(delivery, [message.tag], self._lease)
        deliveries.append(delivery)

    async def _finish(self, ended: Sequence[tuple[PlainDelivery, Unsent]]) -> None:
        """Do what was left undone when these messages' runs ended."""
        try:
            await self._sender.send([unsent for _, unsent in ended])
            await self._plain.acknowledge([message.tag for message, _ in ended])
        except BrokerUnavailable:  # the runs of this batch are not to wait for that: it is asked again
            self._asking += [message for message, _ in ended]
        else:
            self._sender.clear_soon([unsent.key for _, unsent in ended])

    def _due(self) -> list[PlainDelivery]:
        if not self._parked:
            return []
        now = self._clock.monotonic()
        due = [one.message for one in self._parked if one.ask_at <= now]
        self._parked = [one for one in self._parked if one.ask_at > now]
        return due

    def _paused_queues(self) -> frozenset[str]:
        return frozenset(one.message.envelope.queue for one in self._parked if one.paused)


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
