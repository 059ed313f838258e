"""Results as replies, through a real server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pika import spec
from rabbitmq_site import opened, remove_all

from heeler import Heeler
from heeler.clock import new_id
from rabbitmq_server import rabbitmq_url

sys.path.insert(0, str(Path(__file__).parents[1] / "ordered"))
from rpc_checks import RpcChecks

pytestmark = pytest.mark.services


@pytest.fixture
def app() -> Iterator[Heeler]:
    namespace = f"test-{new_id()}"
    with Heeler(rabbitmq_url(), results="rpc://", namespace=namespace) as app:
        yield app
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))


class TestRepliesThroughRabbitmq(RpcChecks): ...


async def test_replies_wait_while_the_connection_is_away() -> None:
    async with opened() as producer, opened(namespace=producer.namespace) as worker:
        box = await producer.reply_box()
        await worker.reply([(box.address, b"one")])
        assert await box.receive() == [b"one"]
        producer._link.current.abort("cut by the test")
        await worker.reply([(box.address, b"two")])
        await worker.reply([(box.address, b"three")])
        received: list[bytes] = []
        async with asyncio.timeout(20):
            while len(received) < 2:  # the first may come again: its acknowledgement was under way
                received += [body for body in await box.receive() if body != b"one"]
        assert received == [b"two", b"three"]
        await box.close()


async def test_a_reply_to_nobody_is_dropped() -> None:
    async with opened() as broker:
        await broker.reply([(broker._topology.reply_queue("gone"), b"")])


async def test_the_queue_ends_with_its_owner() -> None:
    async with opened() as broker:
        box = await broker.reply_box()
        await box.close()
        assert await broker._publisher.send([]) == {}
        channel = await broker._link.current.channel()
        with pytest.raises(Exception, match="no queue"):
            await channel.call(spec.Queue.Declare(queue=box.address, passive=True))


async def test_a_queue_for_replies_that_was_deleted_is_made_again() -> None:
    async with opened() as broker:
        box = await broker.reply_box()
        channel = await broker._link.current.channel()
        await channel.call(spec.Queue.Delete(queue=box.address))
        receiving = asyncio.create_task(box.receive())
        async with asyncio.timeout(20):
            while not receiving.done():
                await broker.reply([(box.address, b"again")])
                await asyncio.wait([receiving], timeout=0.05)
        assert set(receiving.result()) == {b"again"}
        await box.close()
