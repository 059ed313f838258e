"""What other programs may put into the queues is parked with its bytes and headers, and the worker goes on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from pika import spec
from rabbitmq_site import envelope, fetch, opened, send, take

from heeler.brokers.rabbitmq.connection import Message
from heeler.brokers.rabbitmq.messages import CONTENT_TYPE, encode
from heeler.brokers.rabbitmq.publisher import Parcel
from heeler.contracts import QueueShare
from heeler.model import DeadLetter

pytestmark = pytest.mark.services
WORK = [QueueShare("q")]


def properties(**fields: Any) -> bytes:
    return b"".join(spec.BasicProperties(**fields).encode())


def table(entry: bytes) -> bytes:
    """Properties with nothing but headers, one of them written by hand: its type, then its value."""
    return struct.pack(">HI", 0x2000, 2 + len(entry)) + b"\x01h" + entry


GARBAGE: dict[str, tuple[bytes, bytes, str]] = {
    "another content type": (properties(content_type="text/plain"), b"hello", "content type is 'text/plain'"),
    "no content type": (properties(), b"hello", "content type is None"),
    "bytes that are none of ours": (properties(content_type=CONTENT_TYPE), b"\xff\x00", "no envelope"),
    "an empty body": (properties(content_type=CONTENT_TYPE), b"", "no envelope"),
    "a float, which pika reads but cannot write": (table(b"d" + struct.pack(">d", 1.5)), b"x", "content type is None"),
    "a header of a type that pika does not know": (table(b"f" + struct.pack(">f", 1.5)), b"x", ""),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_is_parked_with_its_bytes_and_the_worker_goes_on(what: str) -> None:
    given, body, reason = GARBAGE[what]
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        await broker._publisher.send([Parcel("", broker._topology.on_server("q"), given, body)])
        await send(broker, envelope(id="good"))
        assert [one.envelope.id for one in await take(subscription, 1)] == ["good"]
        assert await fetch(subscription) == []
        [letter] = await broker.dead_letters.find()
        assert (letter.raw, letter.queue, letter.envelope) == (body, "q", None)
        assert reason in letter.reason
        assert [found.id for found in await broker.dead_letters.find([letter.id])] == [letter.id]


async def test_headers_and_content_type_of_garbage_are_kept_on_the_server() -> None:
    async with opened() as broker:
        subscription = await broker.subscribe(WORK, 30.0, "w")
        given = properties(content_type="text/csv", headers={"from": "elsewhere", "n": 7}, expiration="60000")
        await broker._publisher.send([Parcel("", broker._topology.on_server("q"), given, b"a;b")])
        assert await fetch(subscription) == []
        assert broker._link.current is not None
        channel = await broker._link.current.channel()
        message = await channel.call(spec.Basic.Get(queue=broker._topology.dead_queue))
        assert isinstance(message, Message)
        kept = spec.BasicProperties()
        kept.decode(message.properties)
        assert (kept.content_type, kept.headers["from"], kept.headers["n"]) == ("text/csv", "elsewhere", 7)
        assert "content type" in kept.headers["heeler-reason"]
        assert kept.expiration is None


async def test_headers_of_a_job_are_those_of_its_dead_letter() -> None:
    async with opened() as broker:
        one = envelope(headers={"tenant": "7"})
        await broker.dead_letters.put([DeadLetter(id=one.id, queue="q", reason="why", died_at=1.0, envelope=one)])
        assert broker._link.current is not None
        channel = await broker._link.current.channel()
        message = await channel.call(spec.Basic.Get(queue=broker._topology.dead_queue))
        kept = spec.BasicProperties()
        kept.decode(message.properties)
        assert kept.headers["tenant"] == "7"


WRECK: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "headers of other types": lambda: (
        properties(
            content_type=CONTENT_TYPE,
            headers={"heeler-died-at-ms": "x", "heeler-errors": 5, "heeler-attempts": "many", "heeler-id": 9},
        ),
        encode(envelope()),
    ),
    "errors that are none": lambda: (properties(headers={"heeler-errors": b"\xc1"}), b"raw"),
    "nothing that is known": lambda: (properties(), b"raw"),
}


@pytest.mark.parametrize("what", WRECK)
async def test_whatever_stands_among_the_dead_letters_is_listed_and_can_be_removed(what: str) -> None:
    given, body = WRECK[what]()
    async with opened() as broker:
        await broker._topology.ensure_dead_letters()
        await broker._publisher.send([Parcel("", broker._topology.dead_queue, given, body)])
        [letter] = await broker.dead_letters.find()
        assert letter.id
        assert letter.envelope is not None or letter.raw == body
        assert await broker.dead_letters.remove([letter.id]) == 1
        assert await broker.dead_letters.find() == []
