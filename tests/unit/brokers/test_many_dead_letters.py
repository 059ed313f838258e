"""What is done with many dead letters or jobs at once goes in batches, between which others have their turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import heeler.brokers.memory.admin
import heeler.brokers.sqlite.admin
from heeler.brokers.memory import MemoryBroker
from heeler.brokers.sqlite import SqliteBroker
from heeler.contracts import Broker
from heeler.io_thread import IoThread
from heeler.model import Action, TaskStatus
from heeler.testing.conformance.worker import Worker, make_envelope, publish, success
from heeler.testing.manual_clock import ManualClock


@pytest.fixture(params=["memory", "sqlite"])
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Broker]:
    monkeypatch.setattr(heeler.brokers.memory.admin, "_BATCH", 2)
    monkeypatch.setattr(heeler.brokers.sqlite.admin, "_BATCH", 2)
    io, clock = IoThread(), ManualClock()
    broker: Broker
    if request.param == "memory":
        broker = MemoryBroker(io=io, clock=clock, namespace="unit")
    else:
        broker = SqliteBroker(path=tmp_path / "jobs.db", io=io, clock=clock, namespace="unit")
    await broker.open()
    yield broker
    await broker.close()


@contextlib.asynccontextmanager
async def dying_jobs(worker: Worker) -> AsyncIterator[None]:
    """Let every job that waits die at once, as long as the block lasts."""

    async def go_on() -> None:
        while True:
            await bury_all(worker)
            await asyncio.sleep(0)

    dying = asyncio.create_task(go_on())
    try:
        yield
    finally:
        dying.cancel()


async def bury_all(worker: Worker) -> None:
    for delivery in await worker.fetch():
        record = success(delivery.envelope, status=TaskStatus.FAILED, value=None)
        await worker.end(delivery, Action.DEAD_LETTER, reason="it always dies", record=record)


async def test_what_dies_again_while_all_are_redriven_is_not_redriven_again(broker: Broker) -> None:
    worker = await Worker.of(broker)
    await publish(broker, *(make_envelope(f"job {n}") for n in range(5)))
    await bury_all(worker)
    async with dying_jobs(worker):
        assert await asyncio.wait_for(broker.admin.redrive(), 5) == 5
    await bury_all(worker)
    assert len(await broker.admin.dead_letters()) == 5


async def test_all_of_one_task_are_dropped_and_no_others(broker: Broker) -> None:
    worker = await Worker.of(broker)
    await publish(broker, *(make_envelope(f"job {n}", task=f"task {n % 2}") for n in range(9)))
    await bury_all(worker)
    assert await broker.admin.purge_dead(task="task 0") == 5
    assert {letter.task for letter in await broker.admin.dead_letters()} == {"task 1"}
    assert await broker.admin.purge_dead(["job 1", "job 1", "job 3", "job 5", "job 0"]) == 3
    assert [letter.id for letter in await broker.admin.dead_letters()] == ["job 7"]


async def test_a_job_that_is_taken_while_its_queue_is_purged_is_not_dropped(broker: Broker) -> None:
    await publish(broker, *(make_envelope(f"job {n}", queue="q") for n in range(5)))
    await publish(broker, make_envelope("later", queue="q", delay=60.0))
    worker = await Worker.of(broker, "q")
    purging = asyncio.create_task(broker.admin.purge("q", scheduled=True))
    await asyncio.sleep(0)
    taken = await worker.fetch()
    dropped = await asyncio.wait_for(purging, 5)
    assert 0 < len(taken) < 5
    assert dropped + len(taken) == 6
    assert (await broker.admin.sizes(["q"]))[0].running == len(taken)
