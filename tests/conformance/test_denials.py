"""What the brokers that Heeler ships may deny: a new denial has to be written here, and argued for."""

import pytest
from shipped_brokers import MemoryHarness, RedisHarness, SqliteHarness

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.sqlite import SqliteBroker
from heeler.contracts import Broker, Features

DENIALS: dict[type[Broker], set[str]] = {
    MemoryBroker: {"shared", "durable"},  # it is this process's memory
    RedisBroker: set(),
    SqliteBroker: set(),
}


@pytest.mark.parametrize("broker", DENIALS)
def test_the_denials_of_each_broker_are_known(broker: type[Broker]) -> None:
    promises = [promise for promise in Features.__struct_fields__ if promise != "binding_keys"]
    assert {promise for promise in promises if not getattr(broker.features, promise)} == DENIALS[broker]


def test_the_suites_are_told_the_same_denials() -> None:
    assert MemoryHarness.denials == DENIALS[MemoryBroker]
    assert RedisHarness.denials == DENIALS[RedisBroker]
    assert SqliteHarness.denials == DENIALS[SqliteBroker]
