"""Reaching a server: TLS, several hosts, vhosts, limits, heartbeats, and what a connection is used for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pika import spec
from rabbitmq_site import envelope, fetch, make, opened, remove_all, send, take

from certificates import make_certificates
from heeler import Heeler, Queue
from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
from heeler.brokers.rabbitmq.connection import Connection
from heeler.brokers.rabbitmq.options import RabbitmqOptions
from heeler.clock import new_id
from heeler.contracts import QueueShare
from heeler.errors import BrokerUnavailable, ConfigurationError
from rabbitmq_server import RabbitmqServer, rabbitmq_server
from services import free_port

pytestmark = pytest.mark.services


@contextlib.asynccontextmanager
async def at(url: str) -> AsyncIterator[RabbitmqBroker]:
    broker = make(namespace=f"test-{new_id()}", url=url)
    await broker.open()
    try:
        yield broker
    finally:
        await remove_all(broker)
        await broker.close()


async def works(url: str) -> None:
    async with at(url) as broker:
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        assert await send(broker, envelope()) == [""]
        [one] = await take(subscription, 1)
        await broker.acknowledge([one.tag])


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Iterator[int]:
    """Of a server that wants a certificate of its clients."""
    port = free_port()
    server = RabbitmqServer(
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {certificates}/ca.pem",
        f"ssl_options.certfile = {certificates}/server.pem",
        f"ssl_options.keyfile = {certificates}/server.key",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    )
    with contextlib.closing(server):
        server.start()
        yield port


async def test_tls_with_an_authority_a_name_and_a_certificate_of_ones_own(tls_port: int, certificates: Path) -> None:
    bare = f"amqps://127.0.0.1:{tls_port}"
    own = f"cert={certificates}/client.pem&key={certificates}/client.key"
    await works(f"{bare}?ca={certificates}/ca.pem&{own}&server_name=jobs.example")
    await works(f"{bare}?verify=false&{own}")
    with pytest.raises(ConfigurationError, match=r"not trusted .*server_name="):
        await works(f"{bare}?ca={certificates}/ca.pem&{own}")
    with pytest.raises(ConfigurationError, match=r"not trusted .*\?ca=file\.pem"):
        await works(f"{bare}?{own}&server_name=jobs.example")
    with pytest.raises(BrokerUnavailable):  # the server wants a certificate
        await works(f"{bare}?ca={certificates}/ca.pem&server_name=jobs.example")


async def test_tls_to_a_port_without_it_says_so() -> None:
    with pytest.raises(BrokerUnavailable, match=r"is .* its amqps port"):
        await works(rabbitmq_server().url.replace("amqp://", "amqps://") + "?verify=false")


async def test_a_port_with_tls_to_who_speaks_none_says_so(tls_port: int) -> None:
    with pytest.raises(BrokerUnavailable):
        await works(f"amqp://127.0.0.1:{tls_port}?connect_timeout=2s")


# Where


async def test_several_servers_are_tried_in_turn() -> None:
    server = rabbitmq_server()
    await works(f"amqp://127.0.0.1:{free_port()},127.0.0.1:{server.port}")
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        await works(f"amqp://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")


async def test_when_a_server_goes_the_next_one_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    server = rabbitmq_server()
    async with at(f"amqp://127.0.0.1:{server.port},localhost:{server.port}") as broker:
        shown = []
        for _ in range(3):
            assert broker._link.current is not None
            shown.append(broker._link.current.shown)
            broker._link.current.abort("cut by the test")
            assert await send(broker, envelope()) == [""]
        assert len(set(shown)) == 2
    assert "password" not in caplog.text


async def test_a_vhost_and_a_user_of_its_own() -> None:
    server = rabbitmq_server()
    server.control(  # one call, because each takes seconds
        "eval",
        'rabbit_vhost:add(<<"jobs">>, <<"test">>), '
        'rabbit_auth_backend_internal:add_user(<<"me">>, <<"p@ss">>, <<"test">>), '
        'rabbit_auth_backend_internal:set_permissions(<<"me">>, <<"jobs">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).',
    )
    bare = server.url.removeprefix("amqp://")
    await works(f"amqp://me:p%40ss@{bare}/jobs")
    with pytest.raises(ConfigurationError, match=r"name the vhost after the host"):
        await works(f"amqp://me:p%40ss@{bare}/other")
    with pytest.raises(ConfigurationError, match="access to vhost '/' refused for user 'me'"):
        await works(f"amqp://me:p%40ss@{bare}")
    with pytest.raises(ConfigurationError, match="refuses this user or password"):
        await works(f"amqp://me:wrong@{bare}/jobs")


# Limits


async def test_bodies_larger_than_a_frame_and_more_than_a_batch() -> None:
    async with opened("&queue_type=classic&frame_max=4096") as broker:
        assert broker._link.current is not None
        assert broker._link.current.frame_max == 4096
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        bodies = [bytes([number % 256]) * (number * 97) for number in range(300)]
        await send(broker, *(envelope(body=body) for body in bodies))
        assert [one.envelope.body for one in await take(subscription, 300)] == bodies


async def test_more_workers_than_channels_are_an_error_that_says_what_to_do() -> None:
    async with opened("&queue_type=classic&channel_max=4") as broker:
        workers = [await broker.subscribe([QueueShare("q")], 30.0, f"w{number}") for number in range(4)]
        for worker in workers[:3]:  # the fourth channel has declared the queue
            assert await fetch(worker) == []
        with pytest.raises(ConfigurationError, match="allows 4 channels on a connection, and all are used; raise"):
            await fetch(workers[3])
        await workers[0].quiet()
        assert await fetch(workers[3]) == []
        await workers[1].quiet()


async def test_a_worker_that_ends_leaves_no_channel_behind() -> None:
    async with opened() as broker:
        assert broker._link.current is not None
        for _ in range(3):
            subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
            await send(broker, envelope())
            [held] = await take(subscription, 1)
            before = len(broker._link.current.channels)
            await subscription.quiet()
            assert len(broker._link.current.channels) == before
            await broker.acknowledge([held.tag])
            await asyncio.gather(*subscription._tasks)
            assert len(broker._link.current.channels) == before - 1
        await send(broker, *(envelope() for _ in range(10)))
        taken = await broker.take("q", 10)
        await broker.acknowledge([one.tag for one in taken])
        await asyncio.gather(*broker._closing)
        assert len(broker._link.current.channels) == before - 1


async def test_the_heartbeat_is_at_most_half_of_the_lease() -> None:
    async with opened() as broker:
        await broker.subscribe([QueueShare("q")], 4.0, "w")
        connection = await broker._link.connection()
        assert connection.heartbeat == 2
    async with opened("&heartbeat=10s") as broker:
        with pytest.raises(
            ConfigurationError, match=r"heartbeat=10 is more than half of the lease of 4 s.*lower it to 2"
        ):
            await broker.subscribe([QueueShare("q")], 4.0, "w")


async def test_a_server_that_gives_no_sign_of_life_is_left() -> None:
    async with opened("&queue_type=classic&heartbeat=1s") as broker:
        connection = broker._link.current
        assert connection is not None
        connection._transport.pause_reading()
        async with asyncio.timeout(10):
            while connection.lost is None:
                await asyncio.wait([asyncio.create_task(connection._gone.wait())], timeout=0.05)
        assert "no sign of life" in str(connection.lost)
        assert await send(broker, envelope()) == [""]


# What a connection is used for


@pytest.fixture
def app() -> Iterator[Heeler]:
    url = f"{rabbitmq_server().url}?connection_name=the%20shop"
    with Heeler(url, results="rpc://", namespace=f"test-{new_id()}") as app:
        yield app
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))


def test_all_workers_share_one_connection_and_have_a_channel_and_a_consumer_tag_of_their_own(app: Heeler) -> None:
    @app.task(name="work")
    def work() -> None: ...

    with app.worker(queues=["a"], name="first"), app.worker(queues=["b"], name="second", concurrency=7):
        assert app.workers["first"].wait_ready(20)
        assert app.workers["second"].wait_ready(20)
        for queue in ("a", "b"):
            work.using(queue_name=queue).enqueue().get(timeout=10)
        server = rabbitmq_server()
        names = server.control("list_connections", "--silent", "client_properties").splitlines()
        assert sum("the shop" in line for line in names) == 1
        consumers = server.control("list_consumers", "--silent", "queue_name", "consumer_tag").splitlines()
        tags = dict(line.split("\t") for line in consumers if app.namespace in line and ".reply." not in line)
        assert tags[f"{app.namespace}.a"].startswith("first@")
        assert tags[f"{app.namespace}.b"].startswith("second@")
    assert app.workers == {}


def test_with_prefetch_limit_no_more_messages_are_here_than_may_run() -> None:
    begun, enough = threading.Semaphore(0), threading.Event()
    url = f"{rabbitmq_server().url}?prefetch=limit&queue_type=classic"
    with Heeler(url, results="rpc://", namespace=f"test-{new_id()}") as app:

        @app.task(name="hold")
        def hold() -> None:
            begun.release()
            assert enough.wait(20)

        with app.worker(concurrency=3):
            results = hold.enqueue_many([()] * 10)
            for _ in range(3):
                assert begun.acquire(timeout=20)
            waiting = rabbitmq_server().control("list_queues", "--silent", "name", "messages_ready").splitlines()
            assert f"{app.namespace}.default\t7" in waiting
            enough.set()
            for result in results:
                result.get(timeout=20)
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))


def test_a_quiet_end_cancels_consumers_then_finishes_acknowledges_and_closes(
    app: Heeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    names = {
        spec.Basic.Cancel.INDEX: "cancel",
        spec.Basic.Ack.INDEX: "acknowledge",
        spec.Connection.Close.INDEX: "close",
    }
    write = Connection.write

    def noted(self: Connection, data: bytes) -> None:
        if len(data) > 11 and data[0] == frames.METHOD:
            (method,) = frames.METHOD_ID.unpack_from(data, 7)
            channel = self.channels.get(int.from_bytes(data[1:3], "big"))
            if method in names and (channel is None or channel.on_cancel.__name__ != "_queue_is_gone"):
                steps.append(names[method])
        write(self, data)

    monkeypatch.setattr(Connection, "write", noted)
    begun = threading.Event()

    @app.task(name="work")
    def work() -> str:
        begun.set()
        while "cancel" not in steps:
            assert not enough.wait(0.005)
        steps.append("finish")
        return "done"

    enough = threading.Event()
    result = work.enqueue()
    worker = app.worker(concurrency=2)
    worker.start()
    assert begun.wait(20)
    worker.stop()
    assert worker.wait(20)
    assert result.get(timeout=10) == "done"
    app.connections.io.run(remove_all(app.connections.broker.plain))
    app.connections.disconnect()
    relevant = [step for number, step in enumerate(steps) if not number or steps[number - 1] != step]
    assert relevant == ["cancel", "finish", "acknowledge", "close"]


def test_all_is_said_to_the_logger_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    own = logging.getLogger("shop.queue")
    with Heeler(rabbitmq_server().url, results="none://", namespace=f"test-{new_id()}", logger=own) as app:
        broker = app.connections.opened_blocking().plain
        app.connections.io.loop.call_soon_threadsafe(broker._link.current.abort, "cut by the test")
        app.queues.sizes(["q"])
        app.connections.io.run(remove_all(broker))
    [record] = [record for record in caplog.records if "cut by the test" in record.message]
    assert record.name == "shop.queue.broker.rabbitmq"


# What goes wrong on the way


async def test_a_full_queue_that_refuses_is_an_error_that_says_so() -> None:
    full = Queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    async with opened(queues=(full,)) as broker:
        await send(broker, envelope())
        with pytest.raises(BrokerUnavailable, match=r"refused 3 of 3 messages.*x-max-length"):
            await send(broker, envelope(), envelope(), envelope())


async def test_what_is_refused_for_a_moment_is_sent_again() -> None:
    full = Queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    async with opened(queues=(full,)) as broker:
        await send(broker, envelope())
        sending = asyncio.create_task(send(broker, envelope(id="second"), envelope(queue="other")))
        async with asyncio.timeout(10):
            while broker._publisher._confirmed < 3:
                await broker.sizes(["q"])
        await broker.acknowledge([one.tag for one in await broker.take("q", 10)])
        assert await sending == ["", ""]
        assert [one.envelope.id for one in await broker.take("q", 10)] == ["second"]
        assert [size.waiting for size in await broker.sizes(["other"])] == [1]


async def test_publishing_goes_on_over_connections_that_are_closed_again_and_again() -> None:
    async with opened("&queue_type=classic") as broker:
        ids = [f"{number:04}" for number in range(400)]

        async def publish() -> None:
            for start in range(0, 400, 10):
                answers = await send(broker, *(envelope(id=id) for id in ids[start : start + 10]))
                assert answers == [""] * 10

        publishing = asyncio.create_task(publish())
        while not publishing.done():
            await asyncio.wait([publishing], timeout=0.02)
            if broker._link.current is not None and not publishing.done():
                broker._link.current.abort("cut by the test")
        publishing.result()
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        arrived: set[str] = set()
        async with asyncio.timeout(30):
            while arrived < set(ids):
                arrived |= {one.envelope.id for one in await take(subscription, 1)}


@pytest.fixture
def alarmed() -> Iterator[Any]:
    """Raises and clears the memory alarm of a server."""
    server = rabbitmq_server()

    def watermark(share: str) -> None:
        server.control("set_vm_memory_high_watermark", share)

    yield watermark
    watermark("0.8")


async def test_a_memory_alarm_makes_publishers_wait_but_not_for_ever_and_loses_nothing(alarmed: Any) -> None:
    async with opened("&queue_type=classic") as broker:
        subscription = await broker.subscribe([QueueShare("q")], 30.0, "w")
        await send(broker, envelope())
        [held] = await take(subscription, 1)
        await asyncio.to_thread(alarmed, "0.0000001")
        broker._link.options = broker.options = _patient(broker, 1.0)
        with contextlib.suppress(BrokerUnavailable):  # the server says that it is low when it gets the first one
            await send(broker, envelope())
        with pytest.raises(BrokerUnavailable, match=r"made publishers wait for more than 1 s.*free memory") as raised:
            await send(broker, envelope())
        assert not raised.value.outcome_unknown  # it never left
        connection = broker._link.current
        await broker.acknowledge([held.tag])
        await asyncio.to_thread(alarmed, "0.8")
        async with asyncio.timeout(30):
            while broker._link.current is not None and broker._link.current.blocked is not None:
                await connection._unblocked.wait()
        broker._link.options = broker.options = _patient(broker, 20.0)
        assert await send(broker, envelope(id="after")) == [""]
        assert broker._link.current is connection
        async with asyncio.timeout(30):
            while "after" not in {one.envelope.id for one in await take(subscription, 1)}:
                pass


def _patient(broker: RabbitmqBroker, seconds: float) -> RabbitmqOptions:
    return msgspec.structs.replace(broker.options, publish_timeout=seconds)
