"""The blocking connection of callers without a loop: one socket, used by one thread at a time."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import hiredis

from heeler.brokers.redis.connection import Argument, greetings, new_reader, packed, tune
from heeler.brokers.redis.faults import Refused, Reply, from_reply, from_socket, moved_to, needs_script
from heeler.brokers.redis.link import Target
from heeler.brokers.redis.options import Address
from heeler.brokers.redis.publishing import Publishing, ScriptCall
from heeler.errors import BrokerUnavailable
from heeler.io_thread import IoThread

__all__ = ["CallerLink", "Sent"]

_CHUNK = 65536
_PAUSE = 0.05


class Sent(NamedTuple):
    """A publication that is under way, and how long there is time for it."""

    publishing: Publishing
    then: tuple[Argument, ...]
    until: float
    failure: BrokerUnavailable | None  # it did not get away


class CallerLink:
    """Publishes from the calling thread. What it cannot do within `publish_timeout` is BrokerUnavailable."""

    def __init__(self, target: Target, io: IoThread, now: Callable[[], bytes]) -> None:
        self._target = target
        self._options = target.options
        self._io = io
        self._now = now
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._reader: Any = None

    def run(self, publishing: Publishing, then: tuple[Argument, ...] = ()) -> tuple[Any, Any]:
        """Carry it out, and after it the command `then` where one is given; both replies.

        Raises BrokerUnavailable or ConfigurationError.
        """
        if not self._lock.acquire(timeout=self._options.publish_timeout):
            raise from_socket(TimeoutError(), self._options.shown)
        try:
            return self.finish(self.begin(publishing, then))
        finally:
            self._lock.release()

    def begin(self, publishing: Publishing, then: tuple[Argument, ...] = ()) -> Sent:
        """The first half of `run`, for one thread only: `finish` is to follow before anything else."""
        until = time.monotonic() + self._options.publish_timeout
        return Sent(publishing, then, until, self._try_to_send(publishing.first, until))

    def finish(self, sent: Sent) -> tuple[Any, Any]:
        """The replies; what failed in a way that may pass is tried again meanwhile."""
        until, call, failure = sent.until, sent.publishing.first, sent.failure
        by_text = False
        while True:
            try:
                if failure is not None:
                    raise failure
                reply = self._read(until)
                if reply is not None:
                    return reply, self._ask(sent.then, until) if sent.then else None
                call = sent.publishing.again()
                failure, by_text = self._try_to_send(call, until), False
                continue
            except Reply as error:
                if needs_script(error):
                    by_text = True
                    failure = self._try_to_send(call, until, by_text)
                    continue
                failure = self._refusal(error)
            except BrokerUnavailable as error:
                self._drop()
                self._target.doubt()
                failure = error
            if time.monotonic() + _PAUSE > until:
                raise failure
            time.sleep(_PAUSE)
            if failure.outcome_unknown:
                call, by_text = sent.publishing.again(), False
            failure = self._try_to_send(call, until, by_text)

    def _refusal(self, error: Reply) -> BrokerUnavailable:
        """What the server carried out nothing for, and may do so soon, perhaps elsewhere. Raises what is final."""
        to = moved_to(error)
        if to is not None:
            self._target.moved(to[0] or self._options.addresses[0].host, to[1])
            self._drop()
            return Refused(f"Redis at {self._options.shown}: the slot has moved")
        told = from_reply(error, self._options.shown)
        if not isinstance(told, Refused):
            raise told from None
        if told.elsewhere:
            self._target.doubt()
            self._drop()
        return told

    def _try_to_send(self, call: ScriptCall, until: float, by_text: bool = False) -> BrokerUnavailable | None:
        script, arguments = call
        name = (b"EVAL", script.text) if by_text else (b"EVALSHA", script.sha)
        try:
            self._send(packed((*name, b"1", self._target.prefix, self._now(), *arguments)), until)
        except BrokerUnavailable as error:
            return error
        return None

    def _ask(self, parts: tuple[Argument, ...], until: float) -> Any:
        self._send(packed(parts), until)
        return self._read(until)

    def _send(self, data: bytes, until: float) -> None:
        if self._socket is None:
            self._socket = self._connect(until)
        self._write(self._socket, data, until)

    def _write(self, sock: socket.socket, data: bytes, until: float) -> None:
        try:
            sock.settimeout(max(0.001, until - time.monotonic()))
            sock.sendall(data)
        except OSError as error:
            raise from_socket(error, self._options.shown, sent=True) from None

    def _read(self, until: float) -> Any:
        """One reply. Raises it where it is an error."""
        assert self._socket is not None
        reply = self._receive(self._socket, until)
        if isinstance(reply, Reply):
            raise reply
        return reply

    def _receive(self, sock: socket.socket, until: float) -> Any:
        try:
            reader = self._reader
            while (reply := reader.gets()) is False:
                sock.settimeout(max(0.001, until - time.monotonic()))
                received = sock.recv(_CHUNK)
                if not received:
                    raise ConnectionError("the server closed the connection")
                reader.feed(received)
        except (OSError, hiredis.ProtocolError) as error:
            raise from_socket(error, self._options.shown, sent=True) from None
        return reply

    def _connect(self, until: float) -> socket.socket:
        options = self._options
        patience = min(options.connect_timeout, max(0.001, until - time.monotonic()))
        address = self._address(patience)
        shown = options.shown if options.kind == "server" else f"{address} of {options.shown}"
        self._reader = new_reader()
        sock: socket.socket | None = None
        try:
            if address.path:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(patience)
                sock.connect(address.path)
            else:
                sock = socket.create_connection((address.host, address.port), patience)
                tune(sock)
                if self._target.context is not None:
                    sock = self._target.context.wrap_socket(sock, server_hostname=options.server_name or address.host)
            for said in greetings(options):
                self._write(sock, packed(said), until)
                reply = self._receive(sock, until)
                if isinstance(reply, Reply):
                    raise from_reply(reply, shown)
        except (OSError, ssl.SSLError) as error:
            if sock is not None:
                sock.close()
            raise from_socket(error, shown) from None
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        return sock

    def _address(self, patience: float) -> Address:
        if self._options.kind == "server":
            return self._options.addresses[0]

        async def find() -> Address:
            async with asyncio.timeout(patience):
                return await self._target.address()

        try:
            return self._io.run(find())
        except TimeoutError as error:
            raise from_socket(error, self._options.shown) from None

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        with self._lock:
            self._drop()
