"""Each suite of this folder runs over every broker that Heeler ships."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from composed_brokers import OrderedMemoryHarness, OrderedRedisHarness, OrderedSqliteHarness
from rabbitmq_harness import RabbitmqMemoryHarness, RabbitmqRedisHarness, RabbitmqSqliteHarness
from shipped_brokers import MemoryHarness, RedisHarness, SqliteHarness

from heeler.testing.conformance import Harness
from services import redis_cluster_url, redis_url

MAKERS: dict[str, Callable[[Path], Harness]] = {
    "memory": lambda _: MemoryHarness(),
    "ordered-memory": lambda _: OrderedMemoryHarness(),
    "ordered-sqlite": OrderedSqliteHarness,
    "ordered-redis": lambda _: OrderedRedisHarness(redis_url()),
    "ordered-redis-cluster": lambda _: OrderedRedisHarness(redis_cluster_url()),
    "rabbitmq-memory": lambda _: RabbitmqMemoryHarness(),
    "rabbitmq-redis": lambda _: RabbitmqRedisHarness(),
    "rabbitmq-sqlite": RabbitmqSqliteHarness,
    "sqlite": SqliteHarness,
    "redis": lambda _: RedisHarness(redis_url()),
    "valkey-newest": lambda _: RedisHarness(redis_url("newest")),
    "redis-cluster": lambda _: RedisHarness(redis_cluster_url()),
}
if sys.version_info < (3, 12):  # for which there is a package of Redis 6.2
    MAKERS["redis-oldest"] = lambda _: RedisHarness(redis_url("oldest"))
    MAKERS["ordered-redis-oldest"] = lambda _: OrderedRedisHarness(redis_url("oldest"))


@pytest.fixture(params=MAKERS)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = MAKERS[request.param](tmp_path)
    yield harness
    await harness.close()
