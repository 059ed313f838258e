"""A message server without a store, in this process's memory: for tests of what is composed with a store.

It delivers at least once, like the servers it stands for: what is in hand comes back when the connection is lost,
marked as redelivered, and an id may be on its way twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.memory.state import MemoryState, shared_state
from heeler.clock import Clock, new_id
from heeler.contracts import (
    DeadLetterBox,
    Features,
    Outgoing,
    PlainBroker,
    PlainDelivery,
    PlainSubscription,
    QueueShare,
    QueueSize,
    ReplyBox,
    Subscription,
)
from heeler.io_thread import IoThread
from heeler.model import Action, DeadLetter, Delivery, Envelope, Publication, Settlement

__all__ = ["MemoryPlainBroker"]

_FOR_EVER = 10 * 365 * 86400.0  # only a lost connection ends a lease here
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


class MemoryPlainBroker(PlainBroker):
    """Brokers of the same `name` share their messages. `queues` names the only queues there are; None: any."""

    features = Features(shared=False, durable=False)
    carries_replies = True

    def __init__(
        self,
        *,
        io: IoThread,
        clock: Clock,
        namespace: str,
        name: str | None = None,
        queues: frozenset[str] | None = None,
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        self.queues = queues
        shared = f"plain messages/{name if name is not None else new_id()}"
        self._state = shared_state(namespace, shared, clock, 2 * self.max_payload)
        self._broker = MemoryBroker(io=io, clock=clock, namespace=namespace, name=shared)
        self._in_hand: dict[str, Delivery] = {}
        self._letters = MemoryDeadLetterBox(self._state)
        self._boxes = _BOXES.setdefault((namespace, shared), {})

    @property
    def dead_letters(self) -> DeadLetterBox:
        return self._letters

    async def open(self) -> None:
        await self._broker.open()

    async def close(self) -> None:
        await self.lose_connection()
        await self._broker.close()

    async def lose_connection(self) -> None:
        """What is in hand goes back and comes again as redelivered; its tags are stale."""
        await self.give_back(list(self._in_hand), untouched=False)

    async def publish(self, messages: Sequence[Outgoing]) -> list[str]:
        reasons = [self._why_unroutable(message.envelope) for message in messages]
        wrapped = [_wrap(message) for message, reason in zip(messages, reasons, strict=True) if not reason]
        await self._broker.publish(Publication(envelopes=tuple(wrapped)))
        return reasons

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str) -> PlainSubscription:
        return MemoryPlainSubscription(self, queues)

    async def acknowledge(self, tags: Sequence[Any]) -> None:
        await self._settle(tags, Action.ACK)

    async def give_back(self, tags: Sequence[Any], *, untouched: bool) -> None:
        await self._settle(tags, Action.RELEASE, touched=not untouched)

    async def take(self, queue: str, limit: int) -> list[PlainDelivery]:
        return self.hand_over(await (await self.messages([QueueShare(queue)])).fetch(limit))

    async def reply_box(self) -> ReplyBox:
        return MemoryReplyBox(self._boxes)

    async def reply(self, replies: Sequence[tuple[str, bytes]]) -> None:
        for address, body in replies:
            box = self._boxes.get(address)
            if box is not None:
                box.put(body)

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        return await self._broker.admin.sizes(queues)

    async def messages(self, queues: Sequence[QueueShare]) -> Subscription:
        """The messages of these queues as jobs of the memory broker behind this one."""
        return await self._broker.subscribe(queues, _FOR_EVER)

    def hand_over(self, deliveries: Sequence[Delivery]) -> list[PlainDelivery]:
        """Note that these messages are in this process's hands."""
        self._in_hand.update((delivery.receipt.id, delivery) for delivery in deliveries)
        return [
            PlainDelivery(_decoder.decode(delivery.envelope.body), delivery.receipt.id, delivery.suspect)
            for delivery in deliveries
        ]

    def _why_unroutable(self, envelope: Envelope) -> str:
        if self.queues is None or envelope.queue in self.queues:
            return ""
        return f"there is no queue {envelope.queue!r}"

    async def _settle(self, tags: Sequence[Any], action: Action, *, touched: bool = False) -> None:
        deliveries = [self._in_hand.pop(tag) for tag in tags if tag in self._in_hand]
        await self._broker.settle(
            [
                Settlement(delivery=delivery, action=action, suspect=delivery.suspect or touched)
                for delivery in deliveries
            ]
        )


class MemoryPlainSubscription(PlainSubscription):
    """The messages of some queues."""

    def __init__(self, broker: MemoryPlainBroker, shares: Sequence[QueueShare]) -> None:
        self._broker = broker
        self._shares = shares
        self._skipped: frozenset[str] | None = None
        self._inner: Subscription | None = None
        self._quiet = False

    async def ready(self) -> None:
        await (await self._messages(self._skipped or frozenset())).ready()

    async def fetch(
        self, limit: int, max_bytes: int, skip_tasks: frozenset[str], skip_queues: frozenset[str]
    ) -> list[PlainDelivery]:
        messages = await self._messages(skip_queues)
        return self._broker.hand_over(await messages.fetch(limit, max_bytes, skip_tasks))

    async def quiet(self) -> None:
        self._quiet = True
        if self._inner is not None:
            await self._inner.quiet()

    async def _messages(self, skipped: frozenset[str]) -> Subscription:
        if self._inner is None or skipped != self._skipped:
            if self._inner is not None:
                await self._inner.quiet()
            self._skipped = skipped
            self._inner = await self._broker.messages([share for share in self._shares if share.queue not in skipped])
            if self._quiet:
                await self._inner.quiet()
        return self._inner


class MemoryReplyBox(ReplyBox):
    """Replies on the loop of whoever opened it."""

    def __init__(self, boxes: dict[str, MemoryReplyBox]) -> None:
        self.address = new_id()
        self._boxes = boxes
        self._boxes[self.address] = self
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def put(self, body: bytes) -> None:
        self._loop.call_soon_threadsafe(self._replies.put_nowait, body)

    async def receive(self) -> list[bytes]:
        return [await self._replies.get()]

    async def close(self) -> None:
        self._boxes.pop(self.address, None)


_BOXES: dict[tuple[str, str], dict[str, MemoryReplyBox]] = {}  # by namespace and name of their brokers


class MemoryDeadLetterBox(DeadLetterBox):
    """The dead letters of all brokers of one name."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        with self._state.lock:
            for letter in letters:
                self._state.dead.add(letter, 0)

    async def find(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> list[DeadLetter]:
        with self._state.lock:
            return [parked.letter for parked in self._state.dead.find(ids, queue, task, self._state.clock.time())]

    async def remove(self, ids: Sequence[str]) -> int:
        with self._state.lock:
            found = [parked.letter.id for parked in self._state.dead.find(ids, None, None, self._state.clock.time())]
            for letter_id in found:
                self._state.dead.remove(letter_id)
            return len(found)


def _wrap(message: Outgoing) -> Envelope:
    """A job of its own for each message, so that an id may be on its way twice."""
    envelope = message.envelope
    return Envelope(
        id=new_id(),
        task=envelope.task,
        queue=envelope.queue,
        body=_encoder.encode(envelope),
        content_type="",
        priority=envelope.priority,
        delay=message.delay,
        keep=0.0,
    )
