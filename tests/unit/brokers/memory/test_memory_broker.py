import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from heeler.brokers.memory import MemoryBroker
from heeler.io_thread import IoThread
from heeler.model import Command, Publication
from heeler.testing.conformance.worker import Worker, make_envelope, publish
from heeler.testing.manual_clock import ManualClock


@pytest.fixture
def io() -> Iterator[IoThread]:
    io = IoThread()
    yield io
    io.close()


@pytest.fixture
async def broker(io: IoThread) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(io=io, clock=ManualClock(), namespace="unit")
    await broker.open()
    yield broker
    await broker.close()


async def test_brokers_of_one_name_and_namespace_share_their_jobs_and_no_others(io: IoThread) -> None:
    clock = ManualClock()
    one, same, elsewhere, private, alone = (
        MemoryBroker(io=io, clock=clock, namespace=namespace, name=name)
        for namespace, name in (("a", "n"), ("a", "n"), ("b", "n"), ("a", None), ("a", None))
    )
    await publish(one, make_envelope())
    assert len(await (await Worker.of(same)).fetch()) == 1
    await publish(one, make_envelope())
    await publish(alone, make_envelope())
    for other in (elsewhere, private):
        assert await (await Worker.of(other)).fetch() == []


async def test_threads_that_publish_at_once_lose_nothing(broker: MemoryBroker) -> None:
    worker = await Worker.of(broker)

    def publish_many(thread: int) -> None:
        for number in range(500):
            broker.publish_blocking(Publication(envelopes=(make_envelope(f"{thread}/{number}"),)))

    threads = [threading.Thread(target=publish_many, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    taken = await worker.take_ids(2000)
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 2000
    assert [id for id in taken if id.startswith("0/")] == [f"0/{number}" for number in range(500)]


async def test_brokers_of_one_name_on_different_loops_wake_each_other(io: IoThread) -> None:
    here = MemoryBroker(io=io, clock=ManualClock(), namespace="unit", name="loops")
    there = MemoryBroker(io=io, clock=ManualClock(), namespace="unit", name="loops")

    async def take_there() -> str:
        await there.open()
        try:
            return (await (await Worker.of(there)).take_one()).envelope.id
        finally:
            await there.close()

    taking = asyncio.wrap_future(io.submit(take_there()))
    await publish(here, make_envelope("a"))
    assert await taking == "a"


def test_who_waits_on_a_loop_that_is_gone_hinders_nobody(io: IoThread) -> None:
    broker = MemoryBroker(io=io, clock=ManualClock(), namespace="unit")

    async def wait_in_vain() -> None:
        await broker.control.commands("w")
        inbox = await broker.store.inbox()
        await inbox.watch(["a"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for((await Worker.of(broker)).subscription.ready(), 0.01)

    async def work() -> None:
        worker = await Worker.of(broker)
        await publish(broker, make_envelope("a"))
        await worker.succeed(await worker.take_one())
        await broker.control.send(Command(kind="quiet"))

    asyncio.run(wait_in_vain())
    asyncio.run(work())


async def test_a_job_that_has_ended_and_asks_for_nothing_leaves_nothing_behind(broker: MemoryBroker) -> None:
    worker = await Worker.of(broker)
    for _ in range(20):
        await publish(broker, *(make_envelope(keep=0.0) for _ in range(100)))
        await worker.succeed(*await worker.fetch())
    state = broker._state
    assert not state.jobs
    assert not state.leased
    assert len(state.ended) == 0
    assert state.queues["default"].waiting() == 0


async def test_a_million_jobs_due_at_once_do_not_stop_the_broker_for_long(broker: MemoryBroker) -> None:
    worker = await Worker.of(broker)
    await publish(broker, *(make_envelope(delay=5.0) for _ in range(25_000)))
    assert isinstance(broker.clock, ManualClock)
    broker.clock.advance(6)
    assert len(await worker.take(25_000)) == 25_000
