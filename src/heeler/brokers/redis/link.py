"""A connection that is made when it is needed and made again when it is lost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from heeler.brokers.redis.connection import Argument, Connection, connect, packed
from heeler.brokers.redis.faults import Refused, Reply, from_reply, moved_to, needs_script
from heeler.brokers.redis.masters import find_master
from heeler.brokers.redis.options import Address, RedisOptions
from heeler.brokers.redis.scripts import Script
from heeler.clock import Clock
from heeler.errors import HeelerError
from heeler.reconnecting import Reconnecting

__all__ = ["Link", "Target"]

_MOVES = 5  # how often one command follows its slot to another node
_PAUSE = 0.1  # seconds before a command that was refused for now is tried again


class Target:
    """Where the namespace is, as all connections of a broker know it."""

    def __init__(self, options: RedisOptions, prefix: str) -> None:
        self.options = options
        self.prefix = prefix
        self.context: ssl.SSLContext | None = options.ssl_context()
        self._address: Address | None = None

    async def address(self) -> Address:
        if self._address is None:
            self._address = await find_master(self.options, self.context, self.prefix)
        return self._address

    def moved(self, host: str, port: int) -> None:
        """Another node has the slot."""
        self._address = Address(host, port)

    def doubt(self) -> None:
        """It may not be where it was: ask again."""
        self._address = None


class Link:
    """Runs scripts and commands on one connection. `time` is what scripts take for the time: empty, but for tests."""

    def __init__(self, target: Target, clock: Clock, time: Callable[[], bytes]) -> None:
        self.target = target
        self.options = target.options
        self._time = time
        self._next_call: asyncio.Future[None] | None = None
        self._connecting: Reconnecting[Connection] = Reconnecting(
            self._connect, self.options.reconnect, clock, f"Redis at {self.options.shown}"
        )

    # Being connected

    async def connection(self, until: float | None = None) -> Connection:
        """The connection; made anew where it was lost: once, or until that time of the loop's clock.

        Raises BrokerUnavailable or ConfigurationError.
        """
        current = self._connecting.current
        if current is not None and not current.is_open:
            self._connecting.lost()
        return await self._connecting.get(until)

    async def _connect(self) -> Connection:
        try:
            return await self._greeted()
        except HeelerError:
            self.target.doubt()
            raise

    async def _greeted(self) -> Connection:
        address = await self.target.address()
        connection = await connect(self.options, address, self.target.context)
        if self.options.kind == "sentinel":
            role = await connection.send("ROLE")
            if role[0] != b"master":
                connection.close()
                raise Refused(
                    f"Redis at {connection.shown} is no master (yet): the failover is not done", elsewhere=True
                )
        return connection

    def drop(self) -> None:
        """Lose the connection; the next use makes another."""
        if self._connecting.current is not None:
            self._connecting.current.close()
            self._connecting.lost()

    async def close(self) -> None:
        await self._connecting.close()
        self.drop()

    # Using it

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Run a script. Raises BrokerUnavailable or ConfigurationError."""
        return (await self.run_until(None, (), script, *arguments))[0]

    async def run_until(
        self, until: float | None, then: tuple[Argument, ...], script: Script, *arguments: Argument
    ) -> tuple[Any, Any]:
        """Run a script, and after it a command on the same connection if one is given; both replies.

        Until that time of the loop's clock it is tried again while the server refuses it for now.
        """
        tail = (b"1", self.target.prefix, self._time(), *arguments)
        try:
            return await self._ask(packed((b"EVALSHA", script.sha, *tail)), until, then)
        except Reply as error:
            if not needs_script(error):
                raise from_reply(error, self.options.shown) from None
        try:
            return await self._ask(packed((b"EVAL", script.text, *tail)), until, then)
        except Reply as error:
            raise from_reply(error, self.options.shown) from None

    async def until_next_call(self, seconds: float) -> None:
        """Wait until something is sent, at most so long."""
        self._next_call = self._next_call or asyncio.get_running_loop().create_future()
        await asyncio.wait([self._next_call], timeout=seconds)

    async def command(self, *parts: Argument) -> Any:
        """Any other command. Raises BrokerUnavailable or ConfigurationError."""
        try:
            return (await self._ask(packed(parts), None, ()))[0]
        except Reply as error:
            raise from_reply(error, self.options.shown) from None

    async def _ask(self, data: bytes, until: float | None, then: tuple[Argument, ...]) -> tuple[Any, Any]:
        moves = 0
        while True:
            connection = self._connecting.current
            if connection is None or not connection.is_open:
                connection = await self.connection(until)
            try:
                sent = connection.send_packed(data)
                if self._next_call is not None:
                    self._next_call.set_result(None)
                    self._next_call = None
                reply = await sent
                return reply, await connection.send(*then) if then else None
            except Reply as error:
                if needs_script(error):
                    raise
                to = moved_to(error)
                if to is not None and moves < _MOVES:
                    moves += 1
                    self.target.moved(to[0] or connection.host, to[1])
                    self.drop()
                    continue
                told = from_reply(error, self.options.shown)
                if not isinstance(told, Refused):
                    raise told from None
                if told.elsewhere:
                    self.target.doubt()
                    self.drop()
                if until is None or asyncio.get_running_loop().time() + _PAUSE > until:
                    raise told from None
            await asyncio.sleep(_PAUSE)
