"""Exchanges, routing keys, queues of others: where a job goes, at once and later, and what is said if nowhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pika import spec
from rabbitmq_site import envelope, opened, remove_all, send, take

from heeler import Heeler, Queue
from heeler.brokers.rabbitmq.binding_keys import lets_through
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
from heeler.brokers.rabbitmq.connection import Channel
from heeler.brokers.rabbitmq.messages import REPLY
from heeler.brokers.rabbitmq.publisher import Parcel
from heeler.clock import new_id
from heeler.contracts import QueueShare
from heeler.errors import ConfigurationError, Unroutable
from rabbitmq_server import rabbitmq_url

pytestmark = pytest.mark.services


@contextlib.asynccontextmanager
async def channel_of(broker: RabbitmqBroker) -> AsyncIterator[Channel]:
    """A channel for what others would declare."""
    channel = await (await broker._link.connection()).channel()
    yield channel
    await channel.close()


KEYS = [
    ("img.*", "img.png", True),
    ("img.*", "img", False),
    ("img.*", "img.", True),
    ("img.*", "img.png.large", False),
    ("img.#", "img", True),
    ("img.#", "img.png.large", True),
    ("img.#", "imgs", False),
    ("#", "", True),
    ("#", "a.b", True),
    ("#.end", "end", True),
    ("#.end", "a.b.end", True),
    ("#.end", "a.bend", False),
    ("*.#.z", "a.z", True),
    ("*.#.z", "z", False),
    ("a.#.b", "a.b", True),
    ("a.#.b", "a.x.y.b", True),
    ("a.b", "a.b", True),
    ("a.b", "a+b", False),
]


@pytest.mark.parametrize(("binding_key", "routing_key", "expected"), KEYS)
def test_a_topic_lets_through(binding_key: str, routing_key: str, expected: bool) -> None:
    assert lets_through("topic", binding_key, routing_key) is expected
    assert lets_through("direct", binding_key, routing_key) is (binding_key == routing_key)


async def test_the_server_decides_the_same() -> None:
    async with opened() as broker, channel_of(broker) as channel:
        exchange, queue = f"{broker.namespace}.x", f"{broker.namespace}.look"
        for binding_key, routing_key, expected in KEYS:
            await channel.call_all(
                [
                    spec.Exchange.Declare(exchange=exchange, type="topic", auto_delete=True),
                    spec.Queue.Declare(queue=queue, exclusive=True),
                    spec.Queue.Bind(queue=queue, exchange=exchange, routing_key=binding_key),
                ]
            )
            parcel = Parcel(exchange, routing_key, REPLY, b"")
            assert (not await broker._publisher.send([parcel])) is expected, (binding_key, routing_key)
            await channel.call(spec.Queue.Delete(queue=queue))


@pytest.mark.parametrize("exchange_type", ["direct", "topic", "fanout"])
@pytest.mark.parametrize("delay", [0.0, 0.1])
async def test_all_jobs_go_by_an_exchange_that_the_url_names(exchange_type: str, delay: float) -> None:
    exchange = f"test-{new_id()}"
    async with opened(f"&queue_type=classic&exchange={exchange}&exchange_type={exchange_type}") as broker:
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        assert await send(broker, envelope(headers={"a": "b"}), delay=delay) == [""]
        [one] = await take(subscription, 1)
        assert one.envelope.headers == {"a": "b"}
        assert await send(broker, envelope(queue="never seen before"), delay=delay) == [""]
        other = await broker.subscribe([QueueShare("never seen before")], 30.0, "w")
        await take(other, 1)
        await remove_all(broker)
        async with channel_of(broker) as channel:
            await channel.call(spec.Exchange.Delete(exchange=exchange))


@pytest.mark.parametrize("delay", [0.0, 0.1])
async def test_a_fanout_reaches_the_queues_of_others_too(delay: float) -> None:
    exchange = f"test-{new_id()}"
    async with opened(f"&queue_type=classic&exchange={exchange}&exchange_type=fanout") as broker:
        mine = await broker.subscribe([QueueShare("q")], 30.0, "w")
        async with channel_of(broker) as channel:
            theirs = f"{exchange}.theirs"
            await channel.call_all(
                [
                    spec.Queue.Declare(queue=theirs, exclusive=True),
                    spec.Queue.Bind(queue=theirs, exchange=exchange, routing_key=""),
                ]
            )
            await send(broker, envelope(), delay=delay)
            await take(mine, 1)
            async with asyncio.timeout(10):
                while isinstance(await channel.call(spec.Basic.Get(queue=theirs)), spec.Basic.GetEmpty):
                    pass
            await channel.call(spec.Exchange.Delete(exchange=exchange))


@pytest.mark.parametrize("delay", [0.0, 0.1])
async def test_headers_are_passed_through_so_that_an_exchange_can_look_at_them(delay: float) -> None:
    exchange = f"test-{new_id()}"
    async with opened(f"&queue_type=classic&exchange={exchange}&exchange_type=headers") as broker:
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        async with channel_of(broker) as channel:
            match: dict[str, Any] = {"x-match": "all", "kind": "image"}
            name = broker._topology.on_server("q")
            await channel.call_all(
                [
                    spec.Exchange.Declare(exchange=exchange, type="headers", durable=True),
                    spec.Queue.Bind(queue=name, exchange=exchange, routing_key="", arguments=match),
                ]
            )
            if not delay:
                [reason] = await send(broker, envelope(headers={"kind": "text"}))
                assert "no queue is bound" in reason
            assert await send(broker, envelope(headers={"kind": "image"}), delay=delay) == [""]
            [one] = await take(subscription, 1)
            assert one.envelope.headers == {"kind": "image"}
            await channel.call(spec.Exchange.Delete(exchange=exchange))


async def test_a_routing_key_for_all_jobs_and_one_for_a_single_job() -> None:
    queues = (Queue("images", binding_keys=("img.#",)), Queue("rest", binding_keys=("other",)))
    async with opened("&queue_type=classic&routing_key=other", queues=queues) as broker:
        subscription = await broker.subscribe([QueueShare("images"), QueueShare("rest")], 30.0, "w")
        await send(broker, envelope())
        await send(broker, envelope(routing_key="img.png"))
        taken = await take(subscription, 2)
        assert {one.envelope.queue for one in taken} == {"rest", "images"}


async def test_a_routing_key_that_nobody_here_knows_cannot_be_delayed() -> None:
    async with opened(queues=(Queue("images", binding_keys=("img.*",)),)) as broker:
        known, unknown = await send(broker, envelope(routing_key="img.png"), envelope(routing_key="no.such"), delay=0.1)
        assert known == ""
        assert "nobody here knows a queue that exchange" in unknown
        assert "'no.such'" in unknown


async def test_in_passive_mode_exchange_and_queues_of_others_are_used_as_they_are() -> None:
    async with opened() as others, channel_of(others) as channel:
        exchange, queue = f"{others.namespace}-shop", f"{others.namespace}-orders"
        await channel.call_all(
            [
                spec.Exchange.Declare(exchange=exchange, type="topic", durable=True),
                spec.Queue.Declare(queue=queue, durable=True, arguments={"x-max-length": 10}),
                spec.Queue.Bind(queue=queue, exchange=exchange, routing_key="order.*"),
            ]
        )
        options = f"&passive=1&exchange={exchange}&exchange_type=topic"
        async with opened(options, queues=(Queue(queue, binding_keys=("order.*",)),)) as broker:
            subscription = await broker.subscribe([QueueShare(queue)], 30.0, "w")
            assert await send(broker, envelope(routing_key="order.new")) == [""]
            assert await send(broker, envelope(routing_key="order.new"), delay=0.1) == [""]
            assert len(await take(subscription, 2)) == 2
            [reason] = await send(broker, envelope(routing_key="invoice"))
            assert "no queue is bound to exchange" in reason
            with pytest.raises(ConfigurationError, match="no queue 'nobody-has-it'"):
                await broker.subscribe([QueueShare("nobody-has-it")], 30.0, "w")
        await channel.call(spec.Exchange.Delete(exchange=exchange))


async def test_an_exchange_that_exists_otherwise_is_an_error_that_names_both() -> None:
    async with opened() as others, channel_of(others) as channel:
        exchange = f"{others.namespace}-shop"
        await channel.call(spec.Exchange.Declare(exchange=exchange, type="direct", durable=True))
        async with opened(f"&queue_type=classic&exchange={exchange}&exchange_type=topic") as broker:
            with pytest.raises(ConfigurationError, match=f"{exchange}.*received 'topic' but current is 'direct'"):
                await send(broker, envelope())
        await channel.call(spec.Exchange.Delete(exchange=exchange))


async def test_a_queue_that_exists_with_other_arguments_is_an_error_that_names_both() -> None:
    said = r"x-max-length.*received none but current is the value '5'"
    queues = (Queue("q", arguments={"x-max-length": 5}),)
    async with opened(queues=queues) as first, opened(namespace=first.namespace) as other:
        with pytest.raises(ConfigurationError, match=said):
            await other.subscribe([QueueShare("q")], 30.0, "w")


@pytest.mark.parametrize("options", ["&exchange=test-{id}&exchange_type=topic", "&routing_key=some.key", ""])
async def test_exchanges_and_queues_that_others_have_deleted_are_made_again(options: str) -> None:
    options = f"&queue_type=classic{options.format(id=new_id())}"
    queues = (Queue("q", binding_keys=("some.*",)),)
    async with opened(options, queues=queues) as broker, channel_of(broker) as channel:
        topology = broker._topology
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        for delay in (0.0, 0.01):
            assert await send(broker, envelope(), delay=delay) == [""]
        assert await broker.dead_letters.find() == []
        await take(subscription, 2)
        await channel.call(spec.Queue.Delete(queue=topology.dead_queue))
        for exchange in (topology.exchange, topology.delays.entry(0.01)):
            await channel.call(spec.Exchange.Delete(exchange=exchange))
            for delay in (0.0, 0.01):
                assert await send(broker, envelope(), delay=delay) == [""]
            await take(subscription, 2)
        assert await broker.dead_letters.find() == []


async def test_an_exchange_of_others_that_is_not_there_is_an_error_that_names_it() -> None:
    async with opened("&passive=1&exchange=nobody-has-it") as broker:
        with pytest.raises(ConfigurationError, match=r"no exchange 'nobody-has-it'.*declare it"):
            await send(broker, envelope(routing_key="a"), envelope())


async def test_foreign_programs_see_the_headers_and_that_the_message_is_persistent() -> None:
    async with opened() as broker, channel_of(broker) as channel:
        await send(broker, envelope(headers={"tenant": "7"}))
        message = await channel.call(spec.Basic.Get(queue=broker._topology.on_server("q")))
        properties = spec.BasicProperties()
        properties.decode(message.properties)
        assert properties.headers == {"tenant": "7"}
        assert properties.delivery_mode == 2


@pytest.fixture
def app() -> Iterator[Heeler]:
    with Heeler(rabbitmq_url(), results="rpc://", namespace=f"test-{new_id()}") as app:
        yield app
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))


def test_workers_declare_their_queues_and_binding_keys(app: Heeler) -> None:
    @app.task(name="shrink")
    def shrink(path: str) -> str:
        return f"small {path}"

    @app.task(name="read")
    def read(path: str) -> str:
        return f"read {path}"

    images = Queue("images", binding_keys=("img.*",), arguments={"x-max-length": 1000})
    texts = Queue("texts", binding_keys=("txt.#",))
    with (
        app.worker(queues=[images], tasks=[shrink], concurrency=1, name="images"),
        app.worker(queues=[texts], tasks=[read], name="texts") as worker,
    ):
        assert worker.wait_ready(20)
        assert app.workers["images"].wait_ready(20)
        assert shrink.using(routing_key="img.png").enqueue("a").get(timeout=10) == "small a"
        assert read.using(routing_key="txt.long.one").enqueue("b").get(timeout=10) == "read b"
        with pytest.raises(Unroutable, match="no queue is bound"):
            read.using(routing_key="mp3").enqueue("c")
        with pytest.raises(ConfigurationError, match="declared twice"):
            app.worker(queues=[Queue("texts", binding_keys=("text",))])
