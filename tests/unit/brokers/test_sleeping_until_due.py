"""Who waits for a job that is due in no time sleeps once, and does not ask again and again until it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.sqlite import SqliteBroker
from heeler.contracts import Broker
from heeler.io_thread import IoThread
from heeler.testing.conformance.worker import Worker, make_envelope, publish
from heeler.testing.manual_clock import ManualClock


class RecordingClock(ManualClock):
    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await super().sleep(seconds)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_loops_round_short_sleeps_down_so_there_are_none(kind: str, tmp_path: Path) -> None:
    clock = RecordingClock()
    makers: dict[str, Callable[[], Broker]] = {
        "memory": lambda: MemoryBroker(io=IoThread(), clock=clock, namespace="unit"),
        "sqlite": lambda: SqliteBroker(path=tmp_path / "jobs.db", io=IoThread(), clock=clock, namespace="unit"),
    }
    broker = makers[kind]()
    await broker.open()
    try:
        worker = await Worker.of(broker)
        await publish(broker, make_envelope("soon", delay=0.0004))
        assert await worker.fetch() == []
        ready = asyncio.create_task(worker.subscription.ready())
        await asyncio.wait([ready], timeout=0.01)
        waits = [seconds for seconds in clock.sleeps if seconds > 0]
        assert min(waits) >= 0.001
        clock.advance(0.001)
        await asyncio.wait_for(ready, 10)
        assert [delivery.envelope.id for delivery in await worker.fetch()] == ["soon"]
    finally:
        await broker.close()
