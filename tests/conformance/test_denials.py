"""What the brokers that Heeler ships may deny: a new denial has to be written here, and argued for."""

import pytest
from composed_brokers import OrderedHarness
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


def test_a_composition_denies_one_step_and_looking_at_what_waits_and_what_its_halves_deny() -> None:
    assert OrderedHarness.denials == {
        *("one_step_settle", "lists_waiting"),  # kept in order instead; a message server shows nothing
        "keeps_place_on_release",  # a copy goes to the end
        *("shared", "durable"),  # the plain broker of these tests is in memory
    }
