"""Which settlements go into which call, and when."""

import asyncio
import logging

import pytest
from broken_broker import BrokenBroker

from heeler.clock import SystemClock
from heeler.contracts import QueueShare
from heeler.model import Envelope, Publication
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.faults import Faults
from heeler.worker.outcome import Returned
from heeler.worker.settler import FULL_BATCH, LARGEST_BATCH, Settler


class Settling:
    """A settler over the memory broker that notes the size of each call."""

    def __init__(self) -> None:
        self.broker = BrokenBroker()
        self.sizes: list[int] = []
        self.calls: list[object] = []
        self.answered: list[object] = []
        self.is_idle = False
        self.all_answered = asyncio.Event()
        self.expected = 0
        settle = self.broker.settle

        async def noting(settlements, call=None):
            self.sizes.append(len(settlements))
            self.calls.append(call)
            await asyncio.sleep(0)  # a call takes at least one turn of the loop
            return await settle(settlements, call)

        self.broker.settle = noting
        clock = SystemClock()
        logger = logging.getLogger("heeler.test")
        self.settler = Settler(
            self.broker,
            clock,
            Faults("w", clock, logger, None),
            logger,
            idle=lambda: self.is_idle,
            on_answered=self.take,
        )

    def take(self, settlements) -> None:
        self.answered += settlements
        if len(self.answered) >= self.expected:
            self.all_answered.set()

    async def settlements(self, count: int, value: bytes = b"v"):
        await self.broker.open()
        envelopes = tuple(Envelope(id=str(n), task="t", queue="q", body=b"", content_type="x") for n in range(count))
        await self.broker.publish(Publication(envelopes=envelopes))
        subscription = await self.broker.subscribe([QueueShare("q")], 30.0)
        self.expected = count
        return [
            decide(Returned(value), Facts(delivery, Policy(), "w", 1.0, 1.0))
            for delivery in await subscription.fetch(count)
        ]


@pytest.fixture
async def settling():
    settling = Settling()
    yield settling
    await settling.settler.close()
    await settling.broker.close()


async def test_if_nothing_else_runs_it_is_sent_at_once(settling: Settling):
    settling.is_idle = True
    settling.settler.add(await settling.settlements(1))
    await asyncio.sleep(0)
    assert settling.sizes == [1]


async def test_while_others_run_it_waits_a_moment_for_company(settling: Settling):
    first, second, third = await settling.settlements(3)
    settling.settler.add([first])
    settling.settler.add([second])
    settling.settler.add([third])
    await asyncio.wait_for(settling.all_answered.wait(), 5)
    assert settling.sizes == [3]


async def test_a_full_batch_does_not_wait(settling: Settling):
    settling.settler.add(await settling.settlements(FULL_BATCH))
    await asyncio.sleep(0)
    assert settling.sizes == [FULL_BATCH]


async def test_one_call_is_in_flight_and_the_next_takes_all_that_came_meanwhile(settling: Settling):
    settlements = await settling.settlements(FULL_BATCH + 20)
    settling.settler.add(settlements[:FULL_BATCH])
    await asyncio.sleep(0)
    for settlement in settlements[FULL_BATCH:]:
        settling.settler.add([settlement])
    await asyncio.wait_for(settling.all_answered.wait(), 5)
    assert settling.sizes == [FULL_BATCH, 20]


async def test_a_call_is_cut_by_count_and_by_bytes(settling: Settling):
    settling.settler.add(await settling.settlements(2 * LARGEST_BATCH + 1))
    await asyncio.wait_for(settling.all_answered.wait(), 5)
    assert settling.sizes == [LARGEST_BATCH, LARGEST_BATCH, 1]


async def test_large_results_go_in_smaller_calls(settling: Settling):
    settling.settler.add(await settling.settlements(10, value=b"x" * (400 << 10)))
    await asyncio.wait_for(settling.all_answered.wait(), 5)
    assert settling.sizes == [2] * 5


async def test_each_call_has_a_number_and_a_repeat_has_the_same(settling: Settling):
    settling.broker.lose_replies = {"settle"}
    settling.is_idle = True
    settling.settler.add(await settling.settlements(2))
    await asyncio.wait_for(settling.all_answered.wait(), 5)
    first, repeat = settling.calls
    assert first == repeat
    assert settling.settler.unsettled == 0


async def test_a_drain_ends_with_everything_answered_or_says_that_it_is_not(settling: Settling):
    settling.settler.add(await settling.settlements(5))
    assert await settling.settler.drain(5)
    settling.broker.down = {"settle"}
    settling.settler.add(settling.answered[:1])
    assert not await settling.settler.drain(0.02)
    assert settling.settler.unsettled == 1
