"""Brokers that are composed of a message server and a store, as the suites want them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.ordered import OrderedBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.redis.ordered_store import AREA, RedisOrderedStore
from heeler.brokers.sqlite import SqliteBroker
from heeler.brokers.sqlite.ordered_store import SqliteOrderedStore
from heeler.contracts import Broker, OrderedStore
from heeler.testing.conformance import Harness
from heeler.testing.plain_memory import MemoryPlainBroker
from heeler.url import BrokerUrl
from services import forget_namespace


class OrderedHarness(Harness):
    """A plain broker in memory, with the store that the subclass makes."""

    denials = frozenset({"shared", "durable", "one_step_settle", "lists_waiting", "keeps_place_on_release"})

    def make(self) -> Broker:
        plain = MemoryPlainBroker(io=self.io, clock=self.clock, namespace=self.namespace, name="conformance")
        return OrderedBroker(plain, self.make_store())

    def make_store(self) -> OrderedStore:
        raise NotImplementedError


class OrderedMemoryHarness(OrderedHarness):
    def make_store(self) -> OrderedStore:
        return MemoryOrderedStore(clock=self.clock, namespace=self.namespace, name="conformance")


class OrderedSqliteHarness(OrderedHarness):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "results.db"

    def make_store(self) -> OrderedStore:
        return SqliteOrderedStore(
            SqliteBroker(path=str(self.path), io=self.io, clock=self.clock, namespace=self.namespace)
        )


class OrderedRedisHarness(OrderedHarness):
    """Scripts take the manual clock's time in the place of the server's."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def make_store(self) -> OrderedStore:
        return redis_store(self, self.url)

    async def close(self) -> None:
        await super().close()
        forget_namespace(self.url, self.namespace)


def redis_store(harness: Harness, url: str) -> OrderedStore:
    """A store on Redis under the harness's clock."""
    options = options_of(BrokerUrl.parse(url))
    shared: dict[str, Any] = {"io": harness.io, "clock": harness.clock, "namespace": harness.namespace}
    return RedisOrderedStore(RedisBroker(options, area=AREA, time_from=harness.clock, **shared))
