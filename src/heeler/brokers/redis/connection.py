"""One socket to a Redis server: commands go out as they come, replies come back in that order.

hiredis reads and writes the protocol; see decision 0010 for why no whole client stands between.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from heeler.brokers.redis.faults import Reply, from_reply, from_socket
from heeler.brokers.redis.options import Address, RedisOptions
from heeler.errors import BrokerUnavailable

__all__ = ["Argument", "Connection", "connect", "greetings", "new_reader", "packed", "tune"]

Argument = str | bytes | int | float

_LOOK_EVERY = 1.0  # seconds between looks at how long the oldest command has waited
SILENCE = 10.0  # seconds without a reply after which a connection is taken for dead


def packed(parts: tuple[Argument, ...]) -> bytes:
    data: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]  # its stub knows commands of one part
    return data


def new_reader() -> Any:
    return hiredis.Reader(replyError=Reply)


def greetings(options: RedisOptions, *, of_sentinel: bool = False) -> list[tuple[Argument, ...]]:
    """What is said first on every connection."""
    username = options.sentinel_username if of_sentinel else options.username
    password = options.sentinel_password if of_sentinel else options.password
    said: list[tuple[Argument, ...]] = []
    if password is not None:
        said.append(("AUTH", username, password) if username is not None else ("AUTH", password))
    if not of_sentinel:
        said.append(("CLIENT", "SETNAME", options.client_name.replace(" ", "-")))
        if options.db:
            said.append(("SELECT", options.db))
    return said


def tune(sock: socket.socket) -> None:
    """Small packets at once, and the system finds a peer that has gone."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Connection(asyncio.Protocol):
    """Made by `connect`. `on_lost` is called once; `on_message` gets what comes on subscribed channels."""

    def __init__(self, shown: str, host: str) -> None:
        self.shown = shown
        self.host = host
        self.on_lost: Callable[[], None] = lambda: None
        self.on_message: Callable[[bytes, bytes], None] | None = None
        self.is_open = False
        self._loop = asyncio.get_running_loop()
        self._reader = new_reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True
        sock = transport.get_extra_info("socket")
        if sock is not None:
            tune(sock)

    def send(self, *parts: Argument) -> asyncio.Future[Any]:
        """Send a command; the future gets its reply, Reply, or BrokerUnavailable if the connection is lost."""
        return self.send_packed(packed(parts))

    def send_packed(self, data: bytes) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.is_open:
            future.set_exception(from_socket(ConnectionError("the connection is closed"), self.shown))
            return future
        self._waiting.append((future, self._loop.time()))
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_EVERY, self._look_at_oldest)
        self._transport.write(data)
        return future

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self._lose(error)

    def _take(self, reply: Any) -> None:
        if self.on_message is not None and isinstance(reply, list) and reply and reply[0] == b"message":
            self.on_message(reply[1], reply[2])
            return
        if not self._waiting:
            return  # unasked for: a server that says goodbye
        future, _ = self._waiting.popleft()
        if future.done():
            return  # whoever waited has been cancelled
        if isinstance(reply, Reply):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _look_at_oldest(self) -> None:
        self._look = None
        if not self._waiting:
            return
        if self._loop.time() - self._waiting[0][1] > SILENCE:
            self._lose(TimeoutError())
        else:
            self._look = self._loop.call_later(_LOOK_EVERY, self._look_at_oldest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """Give the socket back; who still waits is told."""
        self._lose(ConnectionError("the connection was closed"))

    def _lose(self, error: BaseException) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(from_socket(error, self.shown, sent=True))
                future.exception()  # whoever waited may be gone
        self.on_lost()


async def connect(
    options: RedisOptions, address: Address, context: ssl.SSLContext | None, *, of_sentinel: bool = False
) -> Connection:
    """A connection that has been greeted. Raises BrokerUnavailable or ConfigurationError."""
    loop = asyncio.get_running_loop()
    shown = options.shown if options.kind == "server" else f"{address} of {options.shown}"

    def make() -> Connection:
        return Connection(shown, address.host)

    connection: Connection | None = None
    try:
        async with asyncio.timeout(options.connect_timeout):
            if address.path:
                _, connection = await loop.create_unix_connection(make, address.path)
            else:
                _, connection = await loop.create_connection(
                    make,
                    address.host,
                    address.port,
                    ssl=context,
                    server_hostname=(options.server_name or address.host) if context is not None else None,
                )
            for said in greetings(options, of_sentinel=of_sentinel):
                await connection.send(*said)
    except Reply as error:
        if connection is not None:
            connection.close()
        raise from_reply(error, shown) from None
    except (OSError, EOFError) as error:
        if connection is not None:
            connection.close()
        raise from_socket(error, shown) from None
    except BrokerUnavailable as error:  # lost while greeting: nothing of ours was carried out
        raise BrokerUnavailable(str(error).partition(" (the request")[0]) from None
    except asyncio.CancelledError:
        if connection is not None:
            connection.close()
        raise
    assert connection is not None
    return connection
