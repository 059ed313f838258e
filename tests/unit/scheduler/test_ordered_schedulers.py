"""Where messages and schedules share no transaction: each time starts one job, whatever step a scheduler dies at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from scheduler_site import Doomed, Process, Site

from heeler import group
from heeler.clock import new_id
from heeler.contracts import QueueShare
from heeler.io_thread import IoThread
from heeler.testing.conformance.worker import settlement, success
from heeler.testing.plain_memory import MemoryPlainBroker

LEASE = 30.0


class OrderedSite(Site):
    """A message server in memory, and a store in memory for schedules and results."""

    sleepers = 3  # two of them in the upkeep

    def __init__(self) -> None:
        self.messages = new_id()
        super().__init__()

    def process(self, offset: float = 0.0, **options: Any) -> Process:
        plain = MemoryPlainBroker(io=IoThread(), clock=self.clock, namespace=self.namespace, name=self.messages)
        return super().process(offset, broker=plain, results=self.url, **options)


@pytest.fixture
async def site() -> AsyncIterator[OrderedSite]:
    site = OrderedSite()
    yield site
    await site.close()


async def _work_off(site: OrderedSite) -> list[str]:
    """What a worker gets to run within three leases."""
    process = site.process()
    process.is_of_this_loop = True
    broker = await process.app.connections.opened()
    subscription = await broker.subscribe([QueueShare("default")], LEASE, "worker")
    ran: list[str] = []
    for _ in range(30):
        for delivery in await subscription.fetch(100):
            ran.append(delivery.envelope.id)
            await broker.settle([settlement(delivery, record=success(delivery.envelope))])
        await site.advance(LEASE / 10)
    return ran


def _doom(process: Process, doomed: Doomed) -> None:
    broker: Any = process.app.connections.broker
    process.wrap(broker.schedules, "due", doomed.step)
    process.wrap(broker.results, "reserve", doomed.step)
    process.wrap(broker.plain, "publish", doomed.step)
    process.wrap(broker.results, "clear", doomed.step)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", range(1, 14))
async def test_one_dies_between_moving_the_schedule_and_sending_its_job(
    site: OrderedSite, steps: int, after: bool
) -> None:
    await site.schedules.aadd("tick", site.work.s(), every=10, catch_up="all", end=None)
    process = site.process()
    doomed = Doomed(steps, after)
    _doom(process, doomed)
    process.start()
    await site.settled()
    for _ in range(3):
        await site.advance(10)
        if doomed.is_dead:
            await process.kill()
    await process.kill()
    [other] = await site.started()
    await site.advance(0)
    await other.kill()
    ran = await _work_off(site)
    assert sorted(ran) == [f"tick@2026-01-01T00:00:{second}Z" for second in (10, 20, 30)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", range(1, 14, 2))
async def test_one_dies_between_moving_the_schedule_and_sending_its_workflow(
    site: OrderedSite, steps: int, after: bool
) -> None:
    members = group([site.work.s(number) for number in range(3)])
    await site.schedules.aadd("trio", members, every=10, catch_up="all")
    process = site.process()
    doomed = Doomed(steps, after)
    _doom(process, doomed)
    process.start()
    await site.settled()
    for _ in range(2):
        await site.advance(10)
        if doomed.is_dead:
            await process.kill()
    await process.kill()
    [other] = await site.started()
    await site.advance(0)
    await other.kill()
    ran = await _work_off(site)
    assert sorted(ran) == [f"trio@2026-01-01T00:00:{second}Z/{number}" for second in (10, 20) for number in range(3)]


async def test_what_a_dead_scheduler_had_taken_down_is_sent_by_another_one_where_there_is_no_worker(
    site: OrderedSite,
) -> None:
    await site.schedules.aadd("daily", site.work.s(), every=86_400)
    process = site.process()
    process.start()
    await site.settled()
    plain: Any = process.app.connections.broker.plain  # type: ignore[attr-defined]
    process.wrap(plain, "publish", Doomed(1, after=False).step)
    await site.advance(86_400)
    await process.kill()
    await site.started()
    broker = await site.first.app.connections.opened()
    waiting = [(await broker.admin.sizes(["default"]))[0].waiting]  # type: ignore[union-attr]
    for _ in range(2):
        await site.advance(LEASE + 1)
        waiting.append((await broker.admin.sizes(["default"]))[0].waiting)  # type: ignore[union-attr]
    assert waiting == [0, 1, 1]
    known = await site.schedules.aget("daily")
    assert known is not None
    assert known.runs == 1


async def test_a_job_that_waits_for_the_one_before_is_sent_when_that_has_ended(site: OrderedSite) -> None:
    await site.schedules.aadd("tick", site.work.s(), every=10, overlap="queue_one")
    [scheduler] = await site.started()
    await site.advance(10)
    await site.advance(10)
    await scheduler.kill()
    broker = await site.first.app.connections.opened()
    [size] = await broker.admin.sizes(["default"])  # type: ignore[union-attr]
    assert size.waiting == 1
    known = await site.schedules.aget("tick")
    assert known is not None
    assert known.last_outcome == "queued"
