"""Dead letters in a real queue: the message as it was, with what is to be known of it in the headers.

AMQP cannot look at a message without taking it, so who looks takes all, and gives them back by closing the channel.
One looks at a time, over all processes: the lock is a queue that only one connection may have.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from pika import spec

from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.connection import Channel, Message
from heeler.brokers.rabbitmq.faults import Missing
from heeler.brokers.rabbitmq.link import Link
from heeler.brokers.rabbitmq.messages import CONTENT_TYPE, NoEnvelope, decoded, encode, encoded
from heeler.brokers.rabbitmq.publisher import Parcel, Publisher
from heeler.brokers.rabbitmq.topology import Topology
from heeler.clock import Clock, new_id
from heeler.contracts import DeadLetterBox
from heeler.errors import BrokerUnavailable
from heeler.model import DeadLetter, Envelope, ErrorRecord

__all__ = ["RabbitmqDeadLetters"]

_ASKED_AT_ONCE = 200
_PATIENCE = 10.0  # seconds to wait for another reader
_PERSISTENT = 2
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_errors = msgspec.msgpack.Decoder(tuple[ErrorRecord, ...]).decode


class RabbitmqDeadLetters(DeadLetterBox):
    """The queue `<namespace>.dead`, which keeps letters for the time, and as many, as the URL says."""

    def __init__(self, link: Link, topology: Topology, publisher: Publisher, clock: Clock) -> None:
        self._link = link
        self._topology = topology
        self._publisher = publisher
        self._clock = clock
        self._turn = asyncio.Lock()

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        await self._send([(letter, _properties(letter)) for letter in letters])

    async def put_raw(self, letter: DeadLetter, properties: bytes) -> None:
        """One whose bytes could not be understood, with the properties that they came with."""
        await self._send([(letter, _properties(letter, properties))])

    async def _send(self, letters: Sequence[tuple[DeadLetter, bytes]]) -> None:
        await self._topology.ensure_dead_letters()
        dead_queue = self._topology.dead_queue
        parcels = [Parcel("", dead_queue, properties, _body(letter)) for letter, properties in letters]
        if await self._publisher.send(parcels):
            self._topology.forget_dead_letters()
            raise BrokerUnavailable(f"RabbitMQ: the queue {dead_queue} of dead letters was deleted; it is made again")

    async def find(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> list[DeadLetter]:
        wanted = None if ids is None else frozenset(ids)
        found: dict[str, DeadLetter] = {}
        async with self._reading() as (_, messages):
            for message in messages:
                letter = self._letter(message)
                if (
                    (wanted is None or letter.id in wanted)
                    and (queue is None or letter.queue == queue)
                    and (task is None or letter.task == task)
                ):
                    found.pop(letter.id, None)  # the newer one stands further back
                    found[letter.id] = letter
        return list(found.values())

    async def remove(self, ids: Sequence[str]) -> int:
        unwanted = frozenset(ids)
        removed: set[str] = set()
        async with self._reading() as (channel, messages):
            for message in messages:
                id = self._letter(message).id
                if id in unwanted:
                    removed.add(id)
                    channel.send(frames.acknowledgement(channel.number, message.number, multiple=False))
        return len(removed)

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[Channel, list[Message]]]:
        """All letters, in this process's hands until the end of the block."""
        async with self._turn:
            await self._topology.ensure_dead_letters()
            connection = await self._link.connection()
            channel = await self._locked()
            try:
                try:
                    messages = await self._all_on(channel)
                except Missing:  # the queue was deleted
                    self._topology.forget_dead_letters()
                    await self._topology.ensure_dead_letters()
                    channel = await self._locked()
                    messages = await self._all_on(channel)
                yield channel, messages
                if messages:  # back in order, before the lock is free
                    channel.send(frames.return_of_all(channel.number))
                await channel.call(spec.Queue.Delete(queue=self._topology.dead_lock))
            finally:
                if connection.lost is None:
                    await channel.close()

    async def _all_on(self, channel: Channel) -> list[Message]:
        messages: list[Message] = []
        get = spec.Basic.Get(queue=self._topology.dead_queue)
        while True:
            answers = await channel.call_all([get] * (_ASKED_AT_ONCE if messages else 1))
            messages += [answer for answer in answers if isinstance(answer, Message)]
            if not isinstance(answers[-1], Message):
                return messages

    async def _locked(self) -> Channel:
        """A channel of the one who may read."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            channel = await (await self._link.connection()).channel()
            try:
                await channel.call(spec.Queue.Declare(queue=self._topology.dead_lock, exclusive=True, auto_delete=True))
            except BrokerUnavailable:
                await channel.close()
                if loop.time() > until:
                    raise
                await asyncio.sleep(0.02 + 0.03 * self._clock.random())
            except BaseException:
                await channel.close()
                raise
            else:
                return channel

    def _letter(self, message: Message) -> DeadLetter:
        """Whatever stands there: it is shown, if only as bytes."""
        headers: dict[str, Any] = {}
        envelope: Envelope | None = None
        errors: tuple[ErrorRecord, ...] = ()
        with contextlib.suppress(NoEnvelope):
            properties = decoded(message.properties)
            headers = properties.headers or {}
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                envelope = _decode_envelope(message.body) if properties.content_type == CONTENT_TYPE else None
        with contextlib.suppress(msgspec.DecodeError, TypeError):
            errors = _decode_errors(headers.get("heeler-errors", b"\x90"))
        id = str(headers.get("heeler-id") or (envelope.id if envelope is not None else ""))
        return DeadLetter(
            id=id or f"stray-{hashlib.blake2b(message.body, digest_size=8).hexdigest()}",
            queue=str(headers.get("heeler-queue") or (envelope.queue if envelope is not None else "")),
            reason=str(headers.get("heeler-reason") or "it reached no queue after its delay"),
            died_at=_number(headers, "heeler-died-at-ms") / 1000,
            task=str(headers.get("heeler-task") or (envelope.task if envelope is not None else "")),
            envelope=envelope,
            raw=message.body if envelope is None else b"",
            errors=errors,
            attempts=_number(headers, "heeler-attempts"),
            crashes=_number(headers, "heeler-crashes"),
        )


def _body(letter: DeadLetter) -> bytes:
    return encode(letter.envelope) if letter.envelope is not None else letter.raw


def _properties(letter: DeadLetter, came_with: bytes = b"") -> bytes:
    """Its content type and headers are those of the message; what is to be known of the letter stands beside them."""
    properties = spec.BasicProperties()
    if letter.envelope is not None:
        properties = spec.BasicProperties(content_type=CONTENT_TYPE, headers=dict(letter.envelope.headers))
    elif came_with:
        with contextlib.suppress(NoEnvelope):
            properties = decoded(came_with)
    properties.expiration = None
    properties.delivery_mode = _PERSISTENT
    properties.headers = {
        **(properties.headers or {}),
        "heeler-id": letter.id or new_id(),
        "heeler-queue": letter.queue,
        "heeler-task": letter.task,
        "heeler-reason": letter.reason,
        "heeler-died-at-ms": round(letter.died_at * 1000),
        "heeler-attempts": letter.attempts,
        "heeler-crashes": letter.crashes,
    }
    if letter.errors:
        properties.headers["heeler-errors"] = encode(letter.errors)
    return encoded(properties)


def _number(headers: dict[str, Any], name: str) -> int:
    """A number among headers that anybody may have written."""
    value = headers.get(name)
    return value if isinstance(value, int) else 0
