"""Random bytes in every key that the broker reads: parked or reported, never a crash that comes again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis_site import Site

from heeler.errors import HeelerError
from heeler.model import (
    Action,
    Arrival,
    ArrivalKind,
    CallId,
    Command,
    JobFilter,
    Latch,
    LatchRule,
    TaskStatus,
    WorkerPresence,
)
from heeler.testing.conformance import make_envelope, publish
from services import RedisServer

SEEDS = range(12)


def _garbage(chance: random.Random) -> bytes:
    return chance.choice([b"", chance.randbytes(3), chance.randbytes(36), chance.randbytes(300), b"\xc1", b"L" * 60])


def _spoil_strings(client: redis.Redis, key: bytes, chance: random.Random) -> None:
    value = client.get(key)
    whole = _garbage(chance)
    partly = bytearray(value or b"x")
    for _ in range(3):
        partly[chance.randrange(len(partly))] = chance.randrange(256)
    client.set(key, chance.choice([whole, bytes(partly)]))


def _spoil_hash(client: redis.Redis, key: bytes, chance: random.Random) -> None:
    for field in client.hkeys(key):
        client.hset(key, field, _garbage(chance))


SPOILERS: dict[bytes, Callable[[Any, bytes, random.Random], None]] = {b"string": _spoil_strings, b"hash": _spoil_hash}


async def _use_everything(site: Site, round_: int) -> None:
    """Each verb once; errors of Heeler's own are answers, anything else is a bug."""
    worker = await site.worker(publish_timeout="200ms")
    broker = worker.broker
    inbox = await broker.store.inbox()
    latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=2, envelope=make_envelope("released"))

    async def end_all() -> None:
        for number, delivery in enumerate(await worker.fetch(20)):
            action = [Action.ACK, Action.RETRY, Action.DEAD_LETTER, Action.RELEASE][number % 4]
            await worker.extend(delivery, started=True)
            arrivals = (Arrival("latch", number, ArrivalKind.OK),)
            await worker.end(delivery, action, reason="bad", arrivals=arrivals if action is Action.ACK else ())

    steps: list[Callable[[], Any]] = [
        lambda: publish(broker, *(make_envelope(f"{n}", fingerprint=b"f") for n in range(8)), call=CallId("s", round_)),
        lambda: publish(broker, make_envelope(f"later {round_}", delay=60.0), latches=[latch]),
        lambda: inbox.watch(["0", "1", "later 0"]),
        end_all,
        end_all,
        lambda: broker.store.get([f"{n}" for n in range(8)]),
        lambda: broker.store.cancel(["1", "later 0"]),
        lambda: broker.store.forget(["0"]),
        lambda: broker.admin.sizes(),
        lambda: broker.admin.list_jobs("waiting"),
        lambda: broker.admin.list_jobs("scheduled"),
        lambda: broker.admin.list_jobs("running"),
        lambda: broker.store.list_records(JobFilter()),
        lambda: broker.store.list_records(JobFilter(queue="default", since=1.0), 5, "1"),
        lambda: broker.store.list_records(JobFilter(statuses=frozenset({TaskStatus.READY}), scheduled=True)),
        lambda: broker.store.list_records(JobFilter(statuses=frozenset({TaskStatus.RUNNING}))),
        lambda: broker.admin.dead_letters(),
        lambda: broker.admin.redrive(),
        lambda: broker.control.announce(
            WorkerPresence(id="w", name="w", host="h", pid=1, queues=(), tasks=(), version="1", started_at=1.0)
        ),
        broker.control.live,
        lambda: broker.control.send(Command(kind="quiet")),
        lambda: broker.admin.purge("default", scheduled=True),
    ]
    for step in steps:
        said = ""
        try:
            await step()
        except HeelerError as error:
            said = str(error)
        assert "Error running script" not in said
        assert "user_script" not in said
    await inbox.close()
    await broker.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_bytes_in_any_key_are_no_crash(seed: int, private_site: Site, server: RedisServer) -> None:
    chance = random.Random(seed)
    await _use_everything(private_site, 0)
    with server.client() as client:
        for round_ in range(1, 4):
            await publish(await private_site.open(), *(make_envelope(f"{round_} {n}") for n in range(4)))
            for key in list(client.scan_iter(count=1000)):
                spoil = SPOILERS.get(client.type(key))
                if spoil is not None and not key.endswith((b"sequence", b"origin")) and chance.random() < 0.6:
                    spoil(client, key, chance)
            await _use_everything(private_site, round_)


async def test_bytes_that_are_no_envelope_are_parked_as_they_are_and_the_rest_is_delivered(
    private_site: Site, server: RedisServer
) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, make_envelope("bad"), make_envelope("good"))
    with server.client() as client:
        client.set(f"{private_site.prefix}j:bad", b"\x00\xff rubbish")
    assert await worker.take_ids(1) == ["good"]
    letter = await worker.broker.admin.dead_letter("bad")
    assert letter is not None
    assert letter.raw == b"\x00\xff rubbish"
    assert letter.envelope is None
    assert "no envelope" in letter.reason
    assert await worker.broker.admin.redrive(["bad"]) == 0
    assert await worker.fetch() == []
