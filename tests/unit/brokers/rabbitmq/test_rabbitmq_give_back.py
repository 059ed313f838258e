"""Who had a message before, and who pays for it: give-backs, lost connections, limits of deliveries, adoption."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from pika import spec
from rabbitmq_site import envelope, fetch, opened, remove_all, send, take

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.ordered import OrderedBroker
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
from heeler.clock import new_id
from heeler.contracts import Queue, QueueShare
from heeler.model import Action, Publication, SettleAnswer
from heeler.testing.conformance.worker import Worker, settlement, success

pytestmark = pytest.mark.services
WORK = [QueueShare("q")]
TYPES = pytest.mark.parametrize("queue_type", ["classic", "quorum"])


@TYPES
async def test_what_is_given_back_again_and_again_never_reaches_a_limit_of_deliveries(queue_type: str) -> None:
    limited = Queue("q", arguments={"x-delivery-limit": 2} if queue_type == "quorum" else {})
    async with opened(f"&queue_type={queue_type}", queues=(limited,)) as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope())
        for turn in range(8):
            [one] = await take(subscription, 1)
            assert one.redelivered is (turn > 0)
            await broker.give_back([one.tag], untouched=False)


async def test_connections_lost_again_and_again_never_reach_a_limit_of_deliveries() -> None:
    async with opened("&queue_type=quorum", queues=(Queue("q", arguments={"x-delivery-limit": 2}),)) as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope())
        for turn in range(6):
            [one] = await take(subscription, 1)
            assert one.redelivered is (turn > 0)
            broker._link.current.abort("cut by the test")


async def test_a_mark_outlives_an_untouched_give_back() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope(headers={"mine": "1"}))
        for untouched in (False, True, True):
            [one] = await take(subscription, 1)
            await broker.give_back([one.tag], untouched=untouched)
        [one] = await take(subscription, 1)
        assert one.redelivered
        assert one.envelope.headers == {"mine": "1"}


async def test_what_lay_here_unopened_when_the_connection_was_lost_is_no_suspect_here() -> None:
    async with opened("&queue_type=quorum") as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await fetch(subscription, 50)
        await send(broker, *(envelope() for _ in range(20)))
        [begun] = await take(subscription, 1)
        channel = await broker._link.current.channel()
        async with asyncio.timeout(10):
            while subscription.waiting("q") < 19:
                await channel.call(spec.Basic.Qos(0, 1, False))  # any question: what was sent before has come then
        broker._link.current.abort("cut by the test")
        again = {one.envelope.id: one.redelivered for one in await take(subscription, 20)}
        assert [id for id, redelivered in again.items() if redelivered] == [begun.envelope.id]


async def test_who_is_never_without_messages_and_goes_on_to_fetch_them_gives_none_back() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await fetch(subscription, 5)
        sent = [envelope() for _ in range(150)]
        await send(broker, *sent)
        came = []
        while len(came) < len(sent):  # each message waits for some milliseconds, all together for a second
            [one] = await take(subscription, 1)
            came.append(one.envelope.id)
            await broker.acknowledge([one.tag])
            await asyncio.sleep(0.004)
        assert came == [one.id for one in sent], "what goes back comes again behind the others"


@contextlib.asynccontextmanager
async def composed(namespace: str, store: MemoryOrderedStore | None = None) -> AsyncIterator[OrderedBroker]:
    """Brokers of one namespace share the store, as processes would."""
    async with opened("&queue_type=quorum", namespace=namespace) as plain:
        store = MemoryOrderedStore(clock=plain.clock, namespace=namespace, name="shared")
        broker = OrderedBroker(plain, store)
        await broker.open()
        try:
            yield broker
        finally:
            await broker.close()


@pytest.fixture
async def namespace() -> AsyncIterator[str]:
    namespace = f"test-{new_id()}"
    yield namespace
    async with opened("&queue_type=quorum", namespace=namespace) as broker:
        broker._topology._used.add("q")
        await remove_all(broker)


def cut(broker: OrderedBroker) -> None:
    assert isinstance(broker.plain, RabbitmqBroker)
    assert broker.plain._link.current is not None
    broker.plain._link.current.abort("cut by the test")


async def test_a_run_that_goes_on_here_while_the_connection_was_lost_is_adopted(namespace: str) -> None:
    async with composed(namespace) as broker:
        worker = await Worker.of(broker, "q")
        await broker.publish(Publication(envelopes=(envelope(id="job"),)))
        run = await worker.take_one()
        cut(broker)
        async with asyncio.timeout(10):
            while len(broker._hand.of_job("job").tags) < 2:  # its message came again
                assert await worker.fetch() == []
        assert await worker.end(run, record=success(run.envelope)) is SettleAnswer.ACCEPTED
        assert await worker.fetch() == []
        assert [size.waiting for size in await broker.admin.sizes(["q"])] == [0]
    async with composed(namespace) as broker:
        assert await (await Worker.of(broker, "q")).fetch() == []


async def test_a_run_that_is_renewed_is_left_to_its_worker_by_whoever_gets_its_message(namespace: str) -> None:
    async with composed(namespace) as first, composed(namespace) as second:
        worker = await Worker.of(first, "q")
        await first.publish(Publication(envelopes=(envelope(id="job"),)))
        run = await worker.take_one()
        assert not (await worker.extend(run)).lost
        other = await Worker.of(second, "q")
        await worker.subscription._messages.quiet()
        cut(first)
        async with asyncio.timeout(10):
            while not other.subscription._parked:
                assert await other.fetch() == []
        assert await worker.end(run, record=success(run.envelope)) is SettleAnswer.ACCEPTED
        other.subscription._parked = [type(one)(one.message, 0.0, True) for one in other.subscription._parked]
        other.subscription.look_again()
        assert await other.fetch() == []
        assert other.subscription._parked == []
        assert [size.waiting for size in await second.admin.sizes(["q"])] == [0]


async def test_a_run_that_another_worker_has_taken_over_ends_lost_and_its_message_is_not_touched(
    namespace: str,
) -> None:
    async with composed(namespace) as first, composed(namespace) as second:
        worker = await Worker.of(first, "q")
        await first.publish(Publication(envelopes=(envelope(id="job"),)))
        run = await worker.take_one()
        other = await Worker.of(second, "q")
        await worker.subscription._messages.quiet()
        cut(first)
        again = await other.take_one()
        assert again.suspect
        assert again.crashes == 0  # nothing says that it was started
        [answer] = await worker.settle(settlement(run, Action.ACK, record=success(run.envelope)))
        assert answer.answer is SettleAnswer.LOST
        assert await other.end(again, record=success(again.envelope)) is SettleAnswer.ACCEPTED
