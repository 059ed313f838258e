"""The one connection of a broker: made when it is needed, made again when it is lost, at one of several servers."""

from __future__ import annotations

import itertools
import logging
import ssl
from collections.abc import Callable

from heeler.brokers.rabbitmq.connection import Connection, connect
from heeler.brokers.rabbitmq.options import RabbitmqOptions
from heeler.clock import Clock
from heeler.errors import ConfigurationError, HeelerError
from heeler.reconnecting import Reconnecting

__all__ = ["Link"]


class Link:
    """`on_lost` is called when the connection has gone."""

    def __init__(self, options: RabbitmqOptions, clock: Clock, logger_of: Callable[[], logging.Logger]) -> None:
        self.options = options
        self._logger_of = logger_of
        self.context: ssl.SSLContext | None = options.ssl_context()
        self.on_lost: list[Callable[[HeelerError], None]] = []
        self._heartbeat = options.heartbeat
        self._addresses = itertools.cycle(options.addresses)
        self._connecting: Reconnecting[Connection] = Reconnecting(
            self._connect, options.reconnect, clock, f"RabbitMQ at {options.shown}"
        )
        self._is_closing = False
        self.is_closed = False

    @property
    def logger(self) -> logging.Logger:
        """Where all that concerns this broker is said."""
        return self._logger_of()

    @property
    def current(self) -> Connection | None:
        """The connection, if there is one now."""
        return self._connecting.current

    async def connection(self, until: float | None = None) -> Connection:
        """The connection; made anew where it was lost: once, or until that time of the loop's clock.

        Raises BrokerUnavailable or ConfigurationError.
        """
        return await self._connecting.get(until)

    async def _connect(self) -> Connection:
        """Each server once, without a pause between them."""
        count = len(self.options.addresses)
        for turn in range(1, count + 1):
            address = next(self._addresses)
            try:
                connection = await connect(self.options, address, self.context, self._heartbeat)
            except HeelerError as error:
                if turn == count:
                    raise
                self.logger.debug("%s; the next server is tried", error)
            else:
                if connection.lost is not None:
                    raise connection.lost
                connection.on_lost = self._lose
                return connection
        raise AssertionError("a URL names at least one server")

    def _lose(self, error: HeelerError) -> None:
        if not self._is_closing:
            self.logger.warning("%s; connecting again", error)
        self._connecting.lost()
        for told in tuple(self.on_lost):
            told(error)

    async def keep_alive_for(self, lease: float) -> None:
        """See to it that the server misses a dead process within the lease: heartbeats at most half of it."""
        wanted = max(1, int(lease / 2))
        if self._heartbeat <= wanted:
            return
        if self.options.heartbeat_is_given:
            raise ConfigurationError(
                f"{self.options.shown!r}: heartbeat={self._heartbeat} is more than half of the lease of {lease:g} s, "
                f"so a dead worker's jobs would come back too late; lower it to {wanted}, or raise the lease"
            )
        self._heartbeat = wanted
        current = self._connecting.current
        if current is not None and current.heartbeat > wanted:
            await self._end(current)

    async def close(self) -> None:
        self.is_closed = True
        await self._connecting.close()
        if self._connecting.current is not None:
            await self._end(self._connecting.current)

    async def _end(self, connection: Connection) -> None:
        self._is_closing = True
        try:
            await connection.close()
        finally:
            self._is_closing = False
