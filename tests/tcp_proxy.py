"""A TCP proxy between Heeler and a server, which does what networks do: slow down, cut, fall silent, lose a reply.

In a test it runs in a thread of its own; `python tests/tcp_proxy.py PORT SECONDS` runs one for a benchmark: it prints
the port that it listens on, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self, TypeVar

__all__ = ["TcpProxy"]

T = TypeVar("T")


class TcpProxy:
    """Listens on `port` of this machine and passes everything on to `target_port`. All methods are for any thread.

    `latency` seconds are added in each direction, so twice that to a round trip.
    """

    def __init__(self, target_port: int, latency: float = 0.0) -> None:
        self.target_port = target_port
        self.latency = latency
        self.port = 0
        self.accepted = 0  # connections so far
        self.frozen = False
        self._marker: bytes | None = None
        self._swallowing = threading.Event()
        self._pairs: set[_Pair] = set()
        # select takes microseconds where epoll rounds up to milliseconds.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        self._do(self._listen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reset(self) -> int:
        """Cut all connections, on both sides, with RST. How many there were."""

        async def cut() -> int:
            pairs = list(self._pairs)
            for pair in pairs:
                pair.cut()
            return len(pairs)

        return self._do(cut)

    def freeze(self) -> None:
        """From now on every packet is dropped; nobody is told. What was open never lives again."""

        async def fall_silent() -> None:
            self.frozen = True
            for pair in self._pairs:
                pair.silent = True

        self._do(fall_silent)

    def thaw(self) -> None:
        """New connections work again; those that were open stay silent, as after a lost NAT entry."""

        async def speak() -> None:
            self.frozen = False

        self._do(speak)

    def swallow_reply_to(self, marker: bytes) -> threading.Event:
        """Pass on the next request with these bytes, and then nothing more that the server says on that connection.

        The event is set when the request has left for the server. The connection lives until `reset`.
        """

        async def prepare() -> None:
            self._marker = marker
            self._swallowing.clear()

        self._do(prepare)
        return self._swallowing

    def close(self) -> None:
        async def end() -> None:
            if self._server is not None:
                self._server.close()
            for pair in list(self._pairs):
                pair.cut()
            await asyncio.sleep(0)  # for connection_lost

        self._do(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: _Side(self, _Pair(self)), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def opened(self, pair: _Pair) -> None:
        self.accepted += 1
        self._pairs.add(pair)

    def closed(self, pair: _Pair) -> None:
        self._pairs.discard(pair)

    def sees_request(self, pair: _Pair, data: bytes) -> None:
        if self._marker is not None and self._marker in data:
            self._marker = None
            pair.deaf = True
            self._swallowing.set()


class _Pair:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.client: asyncio.Transport | None = None
        self.server: asyncio.Transport | None = None
        self.silent = False
        self.deaf = False  # what the server says is swallowed
        self._early = bytearray()  # what the client said before the server was there
        self._connecting: asyncio.Task[None] | None = None

    def begin(self, client: asyncio.Transport) -> None:
        self.client = client
        self.silent = self.proxy.frozen
        self.proxy.opened(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: _Side(self.proxy, self, is_server=True), "127.0.0.1", self.proxy.target_port
            )
        except OSError:
            self.cut()

    def has_server(self, server: asyncio.Transport) -> None:
        self.server = server
        if self._early:
            server.write(bytes(self._early))

    def take(self, data: bytes, from_server: bool) -> None:
        if self.silent or (self.deaf and from_server):
            return
        if not from_server:
            self.proxy.sees_request(self, data)
        if self.proxy.latency:
            asyncio.get_running_loop().call_later(self.proxy.latency, self._pass_on, data, from_server)
        else:
            self._pass_on(data, from_server)

    def _pass_on(self, data: bytes, from_server: bool) -> None:
        to = self.client if from_server else self.server
        if to is not None:
            to.write(data)
        elif not from_server:
            self._early += data

    def ended(self, is_server: bool) -> None:
        """One side has gone: so does the other, unless nothing gets through."""
        if is_server:
            self.server = None
        else:
            self.client = None
        if not self.silent:
            self.cut()
        if self.client is None and self.server is None:
            self.proxy.closed(self)

    def cut(self) -> None:
        for transport in (self.client, self.server):
            if transport is not None:
                sock = transport.get_extra_info("socket")
                with contextlib.suppress(OSError):  # closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
        if self._connecting is not None and self.server is None:
            self._connecting.cancel()


class _Side(asyncio.Protocol):
    def __init__(self, proxy: TcpProxy, pair: _Pair, is_server: bool = False) -> None:
        self._proxy = proxy
        self._pair = pair
        self._is_server = is_server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._is_server:
            self._pair.has_server(transport)
        else:
            self._pair.begin(transport)

    def data_received(self, data: bytes) -> None:
        self._pair.take(data, self._is_server)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.ended(self._is_server)


def main() -> None:
    with TcpProxy(int(sys.argv[1]), latency=float(sys.argv[2]) / 2) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
