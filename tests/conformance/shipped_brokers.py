"""The brokers that Heeler ships, as the suites want them."""

from __future__ import annotations

from pathlib import Path

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.sqlite import SqliteBroker
from heeler.contracts import Broker
from heeler.testing.conformance import Harness
from heeler.url import BrokerUrl
from services import forget_namespace


class MemoryHarness(Harness):
    denials = frozenset({"shared", "durable"})

    def make(self) -> Broker:
        return MemoryBroker(io=self.io, clock=self.clock, namespace=self.namespace, name="conformance")


class SqliteHarness(Harness):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "jobs.db"

    def make(self) -> Broker:
        return SqliteBroker(path=str(self.path), io=self.io, clock=self.clock, namespace=self.namespace)


class RedisHarness(Harness):
    """Scripts take the manual clock's time in the place of the server's, so that leases and delays need no waiting."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def make(self) -> Broker:
        options = options_of(BrokerUrl.parse(self.url))
        return RedisBroker(options, io=self.io, clock=self.clock, namespace=self.namespace, time_from=self.clock)

    async def close(self) -> None:
        await super().close()
        forget_namespace(self.url, self.namespace)
