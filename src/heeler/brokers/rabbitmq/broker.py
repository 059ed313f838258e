"""RabbitMQ as a plain broker: the contract's verbs as thin shells around a publisher, subscriptions and a topology."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pika import spec

from heeler.brokers.rabbitmq.connection import Channel, Connection, Message
from heeler.brokers.rabbitmq.dead_letters import RabbitmqDeadLetters
from heeler.brokers.rabbitmq.delays import LONGEST
from heeler.brokers.rabbitmq.doctor import caveats, findings
from heeler.brokers.rabbitmq.faults import Lost, Missing
from heeler.brokers.rabbitmq.ledger import Ledger
from heeler.brokers.rabbitmq.link import Link
from heeler.brokers.rabbitmq.messages import (
    REPLY,
    NoEnvelope,
    PropertyReader,
    encode,
    marked_as_delivered,
    opened,
    properties_for,
)
from heeler.brokers.rabbitmq.options import RabbitmqOptions
from heeler.brokers.rabbitmq.publisher import Parcel, Publisher
from heeler.brokers.rabbitmq.replies import RabbitmqReplyBox
from heeler.brokers.rabbitmq.subscription import Held, Line, RabbitmqSubscription
from heeler.brokers.rabbitmq.topology import Topology
from heeler.clock import Clock, new_id
from heeler.contracts import Features, Needs, Outgoing, PlainBroker, PlainDelivery, Queue, QueueShare, QueueSize
from heeler.forks import call_in_child
from heeler.io_thread import IoThread
from heeler.model import DeadLetter, Envelope

__all__ = ["RabbitmqBroker"]

_CLEARED_AWAY = 0.5  # seconds from the deletion of a queue until another of its name may be made


class RabbitmqBroker(PlainBroker):
    """Messages through RabbitMQ: one connection, a channel for publishing, one for each worker."""

    features = Features(
        lists_waiting=False,
        exact_priorities=False,
        exact_weights=False,
        keeps_place_on_release=False,
        skips_tasks=False,
        binding_keys=True,
    )

    carries_replies = True

    def __init__(self, options: RabbitmqOptions, *, io: IoThread, clock: Clock, namespace: str) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        self.options = options
        self.max_payload = options.max_payload
        self._known: list[Queue] = []
        self._parked: list[Any] = []
        self._begin()
        call_in_child(self._start_anew)

    def _begin(self) -> None:
        self._link = Link(self.options, self.clock, lambda: self.logger.getChild("rabbitmq"))
        self._topology = Topology(self.options, self.namespace, self._link)
        self._topology.know(self._known)
        self._publisher = Publisher(self._link)
        self._dead_letters = RabbitmqDeadLetters(self._link, self._topology, self._publisher, self.clock)
        self._subscriptions: set[RabbitmqSubscription] = set()
        self._reader = PropertyReader()
        self._closing: set[asyncio.Task[None]] = set()
        self._opened = False

    def _start_anew(self) -> None:
        """In a forked child: what was inherited is kept where nobody uses or closes it."""
        self._parked += [self._link, self._topology, self._publisher, self._dead_letters, self._subscriptions]
        self._begin()

    @property
    def dead_letters(self) -> RabbitmqDeadLetters:
        return self._dead_letters

    def declare(self, queues: Sequence[Queue]) -> None:
        self._known += queues
        self._topology.know(self._known)

    async def open(self) -> None:
        if self._opened:
            return
        if self._link.is_closed:
            self._parked.clear()
            self._begin()
        await self._link.connection()
        try:
            await self._topology.ensure([queue.name for queue in self._known])
        except BaseException:
            await self._link.close()
            raise
        self._opened = True

    async def close(self) -> None:
        self._opened = False
        for subscription in tuple(self._subscriptions):
            await subscription.quiet()
        await self._link.close()

    # Publishing

    async def publish(self, messages: Sequence[Outgoing]) -> list[str]:
        """As long as there is time, it is repeated on the next connection when one is lost meanwhile.

        Where an exchange was deleted, all is declared again, once.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.options.publish_timeout
        is_declared_again = False
        while True:
            try:
                await self._link.connection(until)
                return await self._publish(messages, until)
            except Lost:
                if loop.time() >= until:
                    raise
            except Missing:
                if is_declared_again:
                    raise
                self._topology.forget_all()
                is_declared_again = True

    async def _publish(self, messages: Sequence[Outgoing], until: float) -> list[str]:
        answers = await self._prepare(messages)
        places = [place for place, reason in enumerate(answers) if not reason]
        parcels = [self._parcel(messages[place]) for place in places]
        returned = await self._publisher.send(parcels, until)
        if returned and (again := [number for number in returned if self._may_be_declared(messages[places[number]])]):
            for number in again:  # the queue was there, and was deleted
                self._topology.forget(messages[places[number]].envelope.queue)
            # A quorum queue that is made again while the server still clears the old one away keeps its consumers in
            # name, and swallows as many messages as these have had before.
            await asyncio.sleep(_CLEARED_AWAY)
            await self._prepare([messages[places[number]] for number in again])
            still = await self._publisher.send([parcels[number] for number in again], until)
            returned = {number: why for number, why in returned.items() if number not in again}
            returned |= {again[number]: why for number, why in still.items()}
        for number in returned:
            answers[places[number]] = self._why_unroutable(parcels[number])
        return answers

    def _may_be_declared(self, message: Outgoing) -> bool:
        return not self.options.passive and message.delay <= 0.0 and self._goes_by_queue(message.envelope)

    def _goes_by_queue(self, envelope: Envelope) -> bool:
        """Whether it is meant for the queue that it names, directly or by that name as its routing key."""
        if self._topology.is_direct(envelope):
            return True
        return self.options.exchange is not None and self._topology.routing_key(envelope) == envelope.queue

    async def _prepare(self, messages: Sequence[Outgoing]) -> list[str]:
        """See to it that what these need is declared; for each why it cannot be sent, empty if it can."""
        topology = self._topology
        answers = [""] * len(messages)
        queues: set[str] = set()
        due_in: set[str] = set()
        by_exchange = delayed = False
        for place, message in enumerate(messages):
            envelope = message.envelope
            is_direct = topology.is_direct(envelope)
            by_exchange = by_exchange or not is_direct
            delayed = delayed or message.delay > 0.0
            if self._goes_by_queue(envelope):
                queues.add(envelope.queue)
                if message.delay > 0.0:
                    due_in.add(envelope.queue)
            elif message.delay > 0.0 and not topology.goes_to_all:
                found = topology.known_by_key(topology.routing_key(envelope))
                due_in.update(found)
                if not found:
                    answers[place] = _why_not_later(topology.exchange, topology.routing_key(envelope))
        if by_exchange:
            await topology.ensure_exchange()
        if not self.options.passive:
            await topology.ensure(queues)
        if delayed:
            await topology.ensure_delays(due_in)
        return answers

    def _parcel(self, message: Outgoing, *, direct: bool = False) -> Parcel:
        """As it is sent; `direct`: to the queue that it names, in any case."""
        envelope, delay = message.envelope, message.delay
        if delay <= 0.0:
            exchange, key = self._topology.destination(envelope)
            return Parcel(exchange, key, properties_for(envelope), encode(envelope))
        direct = direct or self._topology.is_direct(envelope)
        exchange, key = self._topology.delayed_destination(envelope, delay, direct=direct)
        rest = delay - LONGEST if delay > LONGEST else 0.0
        return Parcel(exchange, key, properties_for(envelope, rest), encode(envelope))

    def _why_unroutable(self, parcel: Parcel) -> str:
        if not parcel.exchange:
            return f"RabbitMQ at {self.options.shown} has no queue {parcel.routing_key!r}; declare it there"
        return (
            f"no queue is bound to exchange {parcel.exchange!r} with routing key {parcel.routing_key!r}; bind one "
            f"(Queue(…, binding_keys=[…])), or correct the key"
        )

    # Taking

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str) -> RabbitmqSubscription:
        await self._link.keep_alive_for(lease)
        await self._topology.ensure([share.queue for share in queues])
        subscription = RabbitmqSubscription(
            self._link,
            self._topology,
            queues,
            worker_id,
            give_back=self.give_back,
            bury=self._bury,
            put_off=self._put_off,
            forget=self._subscriptions.discard,
        )
        self._subscriptions.add(subscription)
        return subscription

    async def acknowledge(self, tags: Sequence[Held]) -> None:
        for channel, held in _by_channel(tags):
            channel.send(held[0].ledger.acknowledge(channel.number, _settled(held)))

    async def give_back(self, tags: Sequence[Held], *, untouched: bool) -> None:
        """Send a copy, then acknowledge.

        A rejected message would come back as redelivered in any case, and count towards a limit of deliveries.
        """
        live = [held for held in tags if not held.stale]
        if not live:
            return
        name = self._topology.on_server
        parcels = []
        for held in live:
            message = held.message
            keeps = untouched and not message.redelivered
            properties = message.properties if keeps else marked_as_delivered(message.properties)
            parcels.append(Parcel("", name(held.queue), properties, message.body))
        returned = await self._publisher.send(parcels)
        await self.acknowledge([held for place, held in enumerate(live) if place not in returned])
        for channel, gone in _by_channel([live[place] for place in returned]):  # their queue is gone, and they with it
            channel.send(gone[0].ledger.reject(channel.number, _settled(gone)))

    async def _bury(self, held: Held, reason: str) -> None:
        raw = held.message.body
        letter = DeadLetter(id=new_id(), queue=held.queue, reason=reason, died_at=self.clock.time(), raw=raw)
        await self._dead_letters.put_raw(letter, held.message.properties)
        await self.acknowledge([held])

    async def _put_off(self, held: Held, envelope: Envelope, delay: float) -> None:
        parcel = self._parcel(Outgoing(envelope, delay), direct=True)
        try:
            await self._topology.ensure_delays([held.queue])
            await self._publisher.send([parcel])
        except Missing:  # its exchange was deleted
            self._topology.forget_all()
            await self._topology.ensure_delays([held.queue])
            await self._publisher.send([parcel])
        await self.acknowledge([held])

    async def take(self, queue: str, limit: int) -> list[PlainDelivery]:
        taken: list[Held] = []
        for subscription in self._subscriptions:
            taken += subscription.steal(queue, limit - len(taken))
        if len(taken) < limit:
            taken += await self._get(queue, limit - len(taken))
        deliveries = []
        for held in taken:
            try:
                properties = self._reader.read(held.message.properties)
                envelope = opened(properties, held.message.body, queue)
            except NoEnvelope as reason:
                await self._bury(held, str(reason))
            else:
                deliveries.append(PlainDelivery(envelope, held, held.message.redelivered or properties.delivered))
        return deliveries

    async def _get(self, queue: str, limit: int) -> list[Held]:
        await self._topology.ensure([queue])
        channel = await (await self._link.connection()).channel()
        ledger = Ledger()
        get = spec.Basic.Get(queue=self._topology.on_server(queue))
        answers = await channel.call_all([get] * limit)
        line = Line(QueueShare(queue))
        found = [Held(answer, line, ledger) for answer in answers if isinstance(answer, Message)]
        ledger.delivered = len(found)
        if found:
            ledger.on_empty = lambda: self._close_soon(channel)
        else:
            await channel.close()
        return found

    def _close_soon(self, channel: Channel) -> None:
        closing = asyncio.get_running_loop().create_task(channel.close(), name="heeler-rabbitmq-close-channel")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    # Replying

    async def reply_box(self) -> RabbitmqReplyBox:
        return await RabbitmqReplyBox(self._link, self._topology.reply_queue(new_id())).open()

    async def reply(self, replies: Sequence[tuple[str, bytes]]) -> None:
        returned = await self._publisher.send([Parcel("", address, REPLY, body) for address, body in replies])
        for place in returned:
            self._link.logger.debug("nobody waits for replies at %s any more", replies[place][0])

    # Looking

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        connection = await self._link.connection()
        dead: dict[str, int] = {}
        for letter in await self._dead_letters.find():
            dead[letter.queue] = dead.get(letter.queue, 0) + 1
        names = sorted({*self._topology.known, *dead}) if queues is None else list(queues)
        return [
            QueueSize(queue=name, waiting=await self._waiting(connection, name), dead=dead.get(name, 0))
            for name in names
        ]

    async def _waiting(self, connection: Connection, queue: str) -> int:
        channel = await connection.channel()
        try:
            declared = await channel.call(spec.Queue.Declare(queue=self._topology.on_server(queue), passive=True))
        except Missing:
            return 0
        finally:
            await channel.close()
        ahead = sum(subscription.waiting(queue) for subscription in self._subscriptions)
        return int(declared.message_count) + ahead

    async def doctor(self) -> list[tuple[str, str, str]]:
        connection = await self._link.connection()
        return findings(connection, self.options)

    def caveats(self, needs: Needs) -> list[tuple[str, str, str]]:
        connection = self._link.current
        return caveats(connection.version if connection is not None else (), self.options, needs)


def _why_not_later(exchange: str, key: str) -> str:
    return (
        f"nobody here knows a queue that exchange {exchange!r} sends routing key {key!r} to, so it cannot be delayed; "
        f"declare one (Queue(…, binding_keys=[…])), or send it without a delay"
    )


def _by_channel(tags: Sequence[Held]) -> Iterable[tuple[Any, list[Held]]]:
    """The tags that are not stale, by their channel."""
    first = tags[0].message.channel if tags else None
    if all(held.message.channel is first for held in tags):
        return [(first, list(tags))] if first is not None and first.closed is None else []
    channels: dict[Any, list[Held]] = {}
    for held in tags:
        if not held.stale:
            channels.setdefault(held.message.channel, []).append(held)
    return channels.items()


def _settled(held: Sequence[Held]) -> list[int]:
    """Count these as settled; their delivery tags."""
    for one in held:
        one.line.unsettled -= 1
    return [one.message.number for one in held]
