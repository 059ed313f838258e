from pathlib import Path

import pytest
from sqlite_site import envelope, opened, publish

from heeler.brokers.sqlite import SqliteBroker, from_url
from heeler.clock import SystemClock
from heeler.errors import ConfigurationError
from heeler.io_thread import IoThread
from heeler.url import BrokerUrl


def broker_of(text: str) -> SqliteBroker:
    return from_url(BrokerUrl.parse(text), io=IoThread(), clock=SystemClock(), namespace="heeler")


def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert broker_of("sqlite:///jobs.db")._database.path == tmp_path / "jobs.db"
    assert broker_of("sqlite:////data/jobs.db")._database.path == Path("/data/jobs.db")


def test_options_are_taken() -> None:
    broker = broker_of(
        "sqlite:///j.db?synchronous=normal&busy_timeout=500ms&dead_letter_ttl=7d&dead_letter_limit=5&max_payload=100"
    )
    assert broker._database.synchronous == "normal"
    assert broker._database.busy_timeout == 0.5
    assert broker._database.limits.dead_letter_ttl == 7 * 86400
    assert broker._database.limits.dead_letter_limit == 5
    assert broker.max_payload == broker._database.limits.max_payload == 100


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="synchronous"):
        broker_of("sqlite:///jobs.db?sync=full")
    with pytest.raises(ConfigurationError, match="full, normal"):
        broker_of("sqlite:///jobs.db?synchronous=off")


async def test_the_doctor_says_what_durability_costs_and_what_is_amiss(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope())
        found = {topic: (level, text) for level, topic, text in await broker.doctor()}
        assert found["durability"][0] == "ok"
        assert found["journal"][0] == "ok"
        assert "wal" in found["journal"][1]
        assert found["disk"][0] in {"ok", "warning"}
    async with opened(tmp_path / "jobs.db", synchronous="normal") as broker:
        found = {topic: (level, text) for level, topic, text in await broker.doctor()}
        assert found["durability"][0] == "warning"
        assert "loss of power" in found["durability"][1]


@pytest.mark.parametrize(("synchronous", "durable"), [("full", 2), ("normal", 1)])
async def test_only_publish_and_settle_wait_for_the_disk(tmp_path: Path, synchronous: str, durable: int) -> None:
    async with opened(tmp_path / "jobs.db", synchronous=synchronous) as broker:
        assert broker._session.durable.pragma("synchronous") == durable
        assert broker._session.brisk.pragma("synchronous") == 1
