"""The plain broker on a real server: publishing, taking, giving back, delays, dead letters, and lost connections."""

import asyncio
import time

import pytest
from pika import spec
from rabbitmq_site import envelope, fetch, make, opened, send, take

from heeler.brokers.rabbitmq.publisher import Parcel
from heeler.clock import new_id
from heeler.contracts import Queue, QueueShare
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.model import DeadLetter

pytestmark = pytest.mark.services
WORK = [QueueShare("q")]


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_what_is_published_is_taken_once_in_order(queue_type: str) -> None:
    async with opened(f"&queue_type={queue_type}") as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        sent = [envelope(headers={"n": str(number)}) for number in range(300)]
        assert await send(broker, *sent) == [""] * 300
        taken = await take(subscription, 300)
        assert [one.envelope for one in taken] == sent
        assert not any(one.redelivered for one in taken)
        await broker.acknowledge([one.tag for one in taken])
        assert await fetch(subscription) == []


async def test_a_routing_key_that_leads_nowhere_is_said() -> None:
    async with opened() as broker:
        [there, nowhere] = await send(broker, envelope(), envelope(routing_key="no.such"))
        assert there == ""
        assert "no queue is bound to exchange" in nowhere
        assert "'no.such'" in nowhere


async def test_a_binding_key_brings_a_job_to_its_queue_also_after_a_delay() -> None:
    images = Queue("images", binding_keys=("img.*",))
    async with opened(queues=(images,)) as broker:
        subscription = await broker.subscribe([QueueShare("images")], 30.0, "w")
        await send(broker, envelope(routing_key="img.png"))
        await send(broker, envelope(routing_key="img.jpg"), delay=0.1)
        taken = await take(subscription, 2)
        assert [one.envelope.routing_key for one in taken] == ["img.png", "img.jpg"]
        assert {one.envelope.queue for one in taken} == {"images"}


async def test_delays_are_kept_never_early_and_not_behind_longer_ones() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope(), delay=0.05)  # makes the topology
        await take(subscription, 1)
        delays = {str(delay): delay for delay in (1.3, 0.9, 0.1, 0.55, 0.01)}
        begin = time.monotonic()
        for name, delay in delays.items():
            await send(broker, envelope(headers={"delay": name}), delay=delay)
        for _ in tuple(delays):
            [one] = await take(subscription, 1)
            name = one.envelope.headers["delay"]
            assert time.monotonic() - begin >= delays.pop(name)


async def test_what_is_given_back_untouched_comes_as_new_and_else_as_redelivered() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope())
        [one] = await take(subscription, 1)
        await broker.give_back([one.tag], untouched=True)
        [one] = await take(subscription, 1)
        assert not one.redelivered
        await broker.give_back([one.tag], untouched=False)
        [one] = await take(subscription, 1)
        assert one.redelivered


async def test_what_was_read_ahead_goes_back_when_nobody_asks_for_it() -> None:
    async with opened() as broker:
        busy = await broker.subscribe(WORK, 30.0, "busy")
        assert await fetch(busy, 50) == []
        await send(broker, *(envelope() for _ in range(20)))
        other = await broker.subscribe(WORK, 30.0, "other")
        taken = await take(other, 20)
        assert not any(one.redelivered for one in taken)


async def test_nothing_of_a_paused_queue_is_taken() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe([*WORK, QueueShare("p")], 30.0, "w")
        await send(broker, envelope(queue="p"), envelope())
        paused = frozenset({"p"})
        taken = []
        async with asyncio.timeout(10):
            while not taken:
                taken = await subscription.fetch(10, 1 << 20, frozenset(), paused)
        assert [one.envelope.queue for one in taken] == ["q"]
        assert [one.envelope.queue for one in await take(subscription, 1)] == ["p"]


async def test_bytes_that_are_no_envelope_go_to_the_dead_letters() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        name = broker._topology.on_server("q")
        plain = b"".join(spec.BasicProperties(content_type="text/plain").encode())
        await broker._publisher.send([Parcel("", name, plain, b"hello")])
        await send(broker, envelope())
        assert len(await take(subscription, 1)) == 1  # it has a priority, so it may come first
        assert await fetch(subscription) == []
        [letter] = await broker.dead_letters.find()
        assert (letter.raw, letter.queue, letter.envelope) == (b"hello", "q", None)
        assert "content type is 'text/plain'" in letter.reason


async def test_dead_letters_are_found_and_removed() -> None:
    async with opened("&queue_type=quorum") as broker:
        box = broker.dead_letters
        kept, gone = envelope(), envelope(queue="r", task="u")
        letters = [
            DeadLetter(id=one.id, queue=one.queue, task=one.task, reason="why", died_at=5.0, envelope=one, attempts=2)
            for one in (kept, gone)
        ]
        await box.put(letters)
        assert await box.find() == letters
        assert await box.find(queue="r") == await box.find(task="u") == letters[1:]
        assert await box.remove([gone.id, "unknown"]) == 1
        assert await box.find() == letters[:1]
        assert [size.dead for size in await broker.sizes(["q", "r"])] == [1, 0]


async def test_after_a_lost_connection_all_goes_on_and_old_tags_are_stale() -> None:
    async with opened("&queue_type=quorum") as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await send(broker, envelope())
        [before] = await take(subscription, 1)
        broker._link.current.abort("cut by the test")
        await broker.acknowledge([before.tag])
        await send(broker, envelope())
        after = await take(subscription, 2)
        assert sorted(one.redelivered for one in after) == [False, True]


async def test_a_queue_deleted_under_its_consumer_is_made_again() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        assert await fetch(subscription) == []
        channel = await broker._link.current.channel()
        await channel.call(spec.Queue.Delete(queue=broker._topology.on_server("q")))
        assert await send(broker, envelope()) == [""]
        assert len(await take(subscription, 1)) == 1


async def test_a_queue_that_exists_otherwise_is_a_clear_error() -> None:
    async with opened() as broker:
        await send(broker, envelope())
        async with opened("&queue_type=quorum", namespace=broker.namespace) as other:
            with pytest.raises(ConfigurationError, match=r"differs from what exists: .*inequivalent arg"):
                await send(other, envelope())


async def test_in_passive_mode_nothing_is_declared() -> None:
    async with opened("&passive=1") as broker:
        [reason] = await send(broker, envelope(queue=f"nobody-has-{new_id()}"))
        assert "declare it there" in reason


async def test_a_wrong_password_is_said() -> None:
    broker = make(namespace="test")
    broker.options = type(broker.options)(shown="x", addresses=broker.options.addresses, password="wrong")
    broker._begin()
    with pytest.raises(ConfigurationError, match="refuses this user or password"):
        await broker.open()


async def test_a_server_that_is_away_is_said_and_nothing_hangs(unused_tcp_port: int) -> None:
    broker = make(namespace="test")
    address = type(broker.options.addresses[0])("127.0.0.1", unused_tcp_port)
    broker.options = type(broker.options)(shown="x", addresses=(address,), publish_timeout=0.3)
    broker._begin()
    with pytest.raises(BrokerUnavailable, match="connection refused; start the server"):
        await broker.open()
    with pytest.raises(BrokerUnavailable):
        await send(broker, envelope())
