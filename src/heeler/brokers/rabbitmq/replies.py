"""Replies to one process: a queue that only it consumes, which outlives a connection, but its owner not for long."""

from __future__ import annotations

import asyncio

from pika import spec

from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.connection import Channel, Message
from heeler.brokers.rabbitmq.link import Link
from heeler.contracts import ReplyBox
from heeler.errors import BrokerUnavailable, HeelerError

__all__ = ["RabbitmqReplyBox"]

_GONE_AFTER = 300_000  # ms without a consumer after which the server deletes the queue
_PREFETCH = 1000
_PAUSE = 0.2  # seconds; attempts to connect have pauses of their own


class RabbitmqReplyBox(ReplyBox):
    """No exclusive queue in AMQP's sense, because that would be deleted with each connection, and what is in it.

    It is a classic queue, as nobody but its owner misses it, and survives a restart of the server.
    """

    def __init__(self, link: Link, address: str) -> None:
        self.address = address
        self._link = link
        self._channel: Channel | None = None
        self._arrived: list[Message] = []
        self._bell = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> RabbitmqReplyBox:
        """Raises BrokerUnavailable or ConfigurationError."""
        await self._consume()
        self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="heeler-rabbitmq-replies")
        return self

    async def receive(self) -> list[bytes]:
        while not self._arrived:
            self._bell.clear()
            await self._bell.wait()
        arrived, self._arrived = self._arrived, []
        last = arrived[-1]
        last.channel.send(frames.acknowledgement(last.channel.number, last.number, multiple=True))
        return [message.body for message in arrived]

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        channel, self._channel = self._channel, None
        if channel is not None and channel.closed is None:
            try:
                await channel.call(spec.Queue.Delete(queue=self.address))
            except HeelerError as error:
                self._link.logger.debug("%s; the queue %s is left to expire", error, self.address)
            await channel.close()

    async def _consume(self) -> None:
        channel = await (await self._link.connection()).channel()
        channel.on_message = self._take
        channel.on_cancel = self._queue_is_gone
        channel.on_closed = lambda _: self._lost.set()
        self._lost.clear()
        try:
            await channel.call_all(
                [
                    spec.Queue.Declare(
                        queue=self.address,
                        durable=True,
                        arguments={"x-queue-type": "classic", "x-expires": _GONE_AFTER},
                    ),
                    spec.Basic.Qos(0, _PREFETCH, False),
                    spec.Basic.Consume(queue=self.address, exclusive=True),
                ]
            )
        except BaseException:
            await channel.close()
            raise
        self._channel = channel

    def _take(self, message: Message) -> None:
        self._arrived.append(message)
        self._bell.set()

    def _queue_is_gone(self, _: str) -> None:
        self._link.logger.warning("the queue %s for replies was deleted; it is made again", self.address)
        self._lost.set()

    async def _keep(self) -> None:
        """Consume again after each loss. The old consumer may be there still, until the server misses it."""
        while True:
            await self._lost.wait()
            try:
                if self._channel is not None:
                    await self._channel.close()
                await self._consume()
            except BrokerUnavailable as error:
                self._link.logger.debug("replies have to wait: %s", error)
                await asyncio.sleep(_PAUSE)
            except HeelerError as error:
                self._link.logger.warning("replies have to wait: %s", error)
                await asyncio.sleep(_PAUSE)
