"""The connection on which a process hears: wake-ups, news of results, commands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from heeler.brokers.redis.connection import Connection
from heeler.brokers.redis.faults import Reply, from_reply
from heeler.brokers.redis.link import Link
from heeler.clock import new_id
from heeler.errors import HeelerError

__all__ = ["Listener"]

_PING_EVERY = 4.0  # seconds; with the patience of a connection a half-open one is found within 15
_PATIENCE = 7.0  # a server that is slow by five seconds is not dead

logger = logging.getLogger("heeler.broker.redis")


class Listener:
    """Subscribes addresses, made at the first need; after a loss it connects and subscribes again by itself.

    `on_message` gets what is published to an address, `on_gap` is called when something may have been missed. When
    the server falls silent here, the link for `commands` is dropped as well.
    """

    def __init__(self, link: Link, commands: Link, prefix: str) -> None:
        self._link = link
        self._commands = commands
        self._prefix = f"{prefix}p:"
        self._process = new_id()[-12:]
        self._last_number = 0
        self._handlers: dict[bytes, tuple[Callable[[bytes], None], Callable[[], None]]] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._connection: Connection | None = None

    async def listen(self, on_message: Callable[[bytes], None], on_gap: Callable[[], None] = lambda: None) -> str:
        """An address of its own for the two. Raises BrokerUnavailable or ConfigurationError."""
        self._last_number += 1
        address = f"{self._process}{new_id()[-6:]}.{self._last_number}"
        channel = f"{self._prefix}{address}".encode()
        self._handlers[channel] = (on_message, on_gap)
        try:
            await self.connected()
            await self._subscribe([channel])
        except BaseException:
            del self._handlers[channel]
            raise
        return address

    async def stop(self, address: str) -> None:
        """Hear no more of this address; all that was published to it before has been heard then."""
        channel = f"{self._prefix}{address}".encode()
        if channel in self._handlers and self._is_connected():
            with contextlib.suppress(HeelerError, Reply):  # a lost connection hears nothing either
                await self._connection.send("UNSUBSCRIBE", channel)  # type: ignore[union-attr]
        self._handlers.pop(channel, None)

    async def connected(self) -> None:
        """Return when it hears. Raises BrokerUnavailable or ConfigurationError."""
        if self._is_connected():
            return
        connection = await self._link.connection()
        if connection is self._connection:
            return
        is_back = self._connection is not None
        self._connection = connection
        connection.on_message = self._take
        connection.on_lost = self._lost
        if self._handlers:
            await self._subscribe(list(self._handlers))
            if is_back:
                self._lost()  # from here on nothing is missed any more
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="heeler-redis-listener")

    def _is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_open

    async def _subscribe(self, channels: list[bytes]) -> None:
        assert self._connection is not None
        try:
            # One by one, because each channel of a SUBSCRIBE has a reply of its own.
            await asyncio.gather(*[self._connection.send("SUBSCRIBE", channel) for channel in channels])
        except Reply as error:
            raise from_reply(error, self._link.options.shown) from None

    def _take(self, channel: bytes, message: bytes) -> None:
        handler = self._handlers.get(channel)
        if handler is not None:
            handler[0](message)

    def _lost(self) -> None:
        for _, on_gap in list(self._handlers.values()):
            on_gap()

    async def _keep(self) -> None:
        """Notice a dead peer although nothing is asked of it, and come back after a loss."""
        while True:
            try:
                if self._is_connected():
                    await asyncio.sleep(_PING_EVERY)
                    await self._ping()
                else:
                    await self.connected()
            except HeelerError as error:
                logger.debug("the listening connection: %s", error)  # who needs it says so louder
                await asyncio.sleep(0.2)

    async def _ping(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await connection.send("PING")
        except TimeoutError:
            self._commands.drop()
            connection.close()

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self._handlers.clear()
        await self._link.close()
