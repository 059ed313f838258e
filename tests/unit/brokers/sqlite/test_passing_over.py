"""A fetch that passes over some tasks finds what a search from the front would find, without beginning there."""

import random
from pathlib import Path

import pytest
from sqlite_site import envelope, opened, publish, subscribe, success

from heeler.contracts import QueueShare
from heeler.errors import BrokerUnavailable
from heeler.model import Action, Delivery, Settlement

BUSY = frozenset({"busy"})


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.envelope.id for delivery in deliveries]


async def test_jobs_behind_many_that_are_passed_over_come_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, *(envelope(task="busy") for _ in range(300)))
        await publish(broker, *(envelope(id=str(number), task="free") for number in range(5)))
        subscription = await subscribe(broker)
        assert ids(await subscription.fetch(2, skip_tasks=BUSY)) == ["0", "1"]
        assert ids(await subscription.fetch(9, skip_tasks=BUSY)) == ["2", "3", "4"]
        await publish(broker, envelope(id="5", task="free"), envelope(id="first", task="free", priority=9))
        assert ids(await subscription.fetch(9, skip_tasks=BUSY)) == ["first", "5"]
        assert len(await subscription.fetch(999)) == 300


async def test_what_comes_back_to_an_earlier_place_is_found(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="back", task="free"), *(envelope(task="busy") for _ in range(9)))
        subscription = await subscribe(broker)
        (delivery,) = await subscription.fetch(9, skip_tasks=BUSY)
        assert await subscription.fetch(9, skip_tasks=BUSY) == []
        await broker.settle([Settlement(delivery=delivery, action=Action.RELEASE)])
        assert ids(await subscription.fetch(9, skip_tasks=BUSY)) == ["back"]


async def test_who_passes_over_less_finds_more(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="a", task="a"), envelope(id="b", task="b"), envelope(id="c", task="c"))
        subscription = await subscribe(broker)
        assert await subscription.fetch(9, skip_tasks=frozenset({"a", "b", "c"})) == []
        assert ids(await subscription.fetch(9, skip_tasks=frozenset({"a", "c"}))) == ["b"]
        assert ids(await subscription.fetch(9, skip_tasks=frozenset({"a"}))) == ["c"]
        assert ids(await subscription.fetch(9)) == ["a"]


async def test_what_a_share_leaves_is_not_passed_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        for queue in ("a", "b"):
            jobs = [envelope(id=f"{queue}{number}", queue=queue, task="free") for number in range(4)]
            await publish(broker, envelope(queue=queue, task="busy"), *jobs)
        subscription = await broker.subscribe([QueueShare("a", 1), QueueShare("b", 1)], 30.0)
        found: list[str] = []
        while deliveries := await subscription.fetch(2, skip_tasks=BUSY):
            found += ids(deliveries)
        assert found == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]


async def test_what_a_failed_step_saw_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(task="busy"), envelope(id="free", task="free"))
        subscription = await subscribe(broker)

        def fail(*_: object) -> None:
            raise BrokerUnavailable("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr("heeler.brokers.sqlite.fetching.arrive", fail)
            with pytest.raises(BrokerUnavailable):
                await subscription.fetch(9, skip_tasks=BUSY)
        assert ids(await subscription.fetch(9, skip_tasks=BUSY)) == ["free"]


@pytest.mark.parametrize("seed", range(5))
async def test_it_finds_what_a_worker_that_remembers_nothing_finds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    tasks = ["a", "b", "c"]
    async with opened(tmp_path / "jobs.db", synchronous="normal") as broker:
        subscription = await subscribe(broker)
        leased: list[Delivery] = []
        for _ in range(120):
            event = chance.choice(["publish", "fetch", "fetch", "release", "settle"])
            if event == "publish":
                await publish(
                    broker, *(envelope(task=chance.choice(tasks), priority=chance.choice([0, 5])) for _ in range(4))
                )
            elif event == "fetch":
                skip = frozenset(chance.sample(tasks, chance.randint(0, 2)))
                waiting = await broker.admin.list_jobs("waiting", "q", 1000)
                expected = [record.envelope.id for record in waiting if record.envelope.task not in skip]
                found = await subscription.fetch(3, skip_tasks=skip)
                assert ids(found) == expected[:3]
                leased += found
            elif leased:
                delivery = leased.pop(chance.randrange(len(leased)))
                release = Settlement(delivery=delivery, action=Action.RELEASE)
                await broker.settle([release if event == "release" else success(delivery)])
