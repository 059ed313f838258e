"""What the brokers that Heeler ships may deny: a new denial has to be written here, and argued for."""

import pytest
from composed_brokers import OrderedHarness
from rabbitmq_harness import RabbitmqMemoryHarness, RabbitmqRedisHarness, RabbitmqSqliteHarness
from shipped_brokers import MemoryHarness, RedisHarness, SqliteHarness

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
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


def test_rabbitmq_denies_no_promise_beyond_those_of_a_composition() -> None:
    approximated = {
        "exact_priorities",  # eleven levels in classic queues, two in quorum queues
        "exact_weights",  # of what has been read ahead
        "keeps_place_on_release",  # what is given back, and what comes due, goes to the tail
        "skips_tasks",  # a message server does not look into messages
    }
    fields = [field for field in Features.__struct_fields__ if field != "binding_keys"]
    own = {field for field in fields if not getattr(RabbitmqBroker.features, field)}
    assert own == {"lists_waiting", *approximated}
    assert RabbitmqRedisHarness.denials == RabbitmqSqliteHarness.denials == {"one_step_settle", *own}
    assert RabbitmqMemoryHarness.denials == {"one_step_settle", "shared", "durable", *own}
