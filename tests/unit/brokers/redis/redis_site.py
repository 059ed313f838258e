"""A place for the tests of the Redis broker: brokers on one namespace of a server, closed at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.clock import SystemClock, new_id
from heeler.io_thread import IoThread
from heeler.testing.conformance import Worker
from heeler.url import BrokerUrl

__all__ = ["Site"]


class Site:
    """Brokers are opened on the test's loop, which plays the part of the I/O thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.io = IoThread("heeler-redis-tests")
        self.clock = SystemClock()
        self.namespace = f"test-{new_id()}"
        self.prefix = f"{{{self.namespace}}}:"
        self._opened: list[RedisBroker] = []

    def make(self, url: str | None = None, *, area: str = "", **replaced: Any) -> RedisBroker:
        """A broker, not opened; options are added to the URL."""
        url = url or self.url
        if replaced:
            url += ("&" if "?" in url else "?") + "&".join(f"{name}={value}" for name, value in replaced.items())
        broker = RedisBroker(
            options_of(BrokerUrl.parse(url)), io=self.io, clock=self.clock, namespace=self.namespace, area=area
        )
        self._opened.append(broker)
        return broker

    async def open(self, url: str | None = None, **replaced: Any) -> RedisBroker:
        broker = self.make(url, **replaced)
        await broker.open()
        return broker

    async def worker(self, *queues: str, lease: float = 30.0, **replaced: Any) -> Worker:
        return await Worker.of(await self.open(**replaced), *queues, lease=lease)

    async def close(self) -> None:
        for broker in self._opened:
            await broker.close()
        self.io.close()


SiteMaker = Callable[[str], Site]
