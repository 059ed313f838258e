"""Jobs that sync callers publish one by one: one statement each, and nothing is different by that."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlite_site import envelope, make, opened, publish, subscribe, success

from heeler.brokers.sqlite import SqliteBroker
from heeler.errors import BrokerUnavailable
from heeler.model import Envelope, Publication, PublishAnswer, PublishResult


async def alone(broker: SqliteBroker, job: Envelope) -> PublishResult:
    (result,) = await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(job,)))
    return result


def statements(broker: SqliteBroker) -> list[str]:
    """What the connection of sync callers runs from now on."""
    seen: list[str] = []
    connection = broker._caller._connection
    assert connection is not None
    with connection.used() as raw:
        raw.set_trace_callback(seen.append)
    return seen


async def test_a_job_of_a_known_task_is_one_statement(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await alone(broker, envelope(id="first"))
        seen = statements(broker)
        answer = await alone(broker, envelope(id="second"))
        assert answer == PublishResult(PublishAnswer.ACCEPTED, "second")
        assert '"heeler_lone_awake"' in seen[0]
        assert not {"BEGIN IMMEDIATE", "COMMIT"} & set(seen)
        assert [d.envelope.id for d in await (await subscribe(broker)).fetch(9)] == ["first", "second"]


async def test_lone_jobs_and_batches_keep_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        for id in "ad":
            await alone(broker, envelope(id=id))
            await publish(broker, envelope(id=id + "1"), envelope(id=id + "2"))
            await alone(broker, envelope(id=id + "3"))
        await alone(broker, envelope(id="urgent", priority=1))
        ids = [d.envelope.id for d in await (await subscribe(broker)).fetch(99)]
        assert ids == ["urgent", "a", "a1", "a2", "a3", "d", "d1", "d2", "d3"]


async def test_a_lone_job_never_takes_the_number_of_a_dropped_one(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        subscription = await subscribe(broker)
        numbers = []
        for _ in range(3):
            await alone(broker, envelope(keeps_result=False))
            (delivery,) = await subscription.fetch(9)
            numbers.append(delivery.receipt.tag)
            await broker.settle([success(delivery)])
        assert numbers == sorted(set(numbers))


async def test_each_lone_job_wakes_a_sleeper(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await alone(broker, envelope(id="known"))
        subscription = await subscribe(broker)
        assert len(await subscription.fetch(9)) == 1
        for number in range(6):
            waiting = asyncio.create_task(subscription.ready())
            await asyncio.sleep(0)
            assert subscription._asleep
            if number == 3:  # the publisher has met nobody asleep meanwhile
                await alone(broker, envelope(queue="other"))
                await alone(broker, envelope(queue="other"))
            await alone(broker, envelope(id=str(number)))
            await asyncio.wait_for(waiting, 0.5)  # the net under lost wake-ups would be later
            assert [d.envelope.id for d in await subscription.fetch(9)] == [str(number)]


@pytest.mark.parametrize(("other", "answer"), [(b"same", PublishAnswer.EXISTS), (b"else", PublishAnswer.CONFLICT)])
async def test_a_taken_id_is_answered_as_in_a_batch(tmp_path: Path, other: bytes, answer: PublishAnswer) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await alone(broker, envelope(id="mine", fingerprint=b"same"))
        assert (await alone(broker, envelope(id="mine", fingerprint=other))).answer is answer
        assert len(await (await subscribe(broker)).fetch(9)) == 1


async def test_a_job_that_expires_or_comes_later_goes_the_long_way(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await alone(broker, envelope())
        await alone(broker, envelope(id="expires", expires_in=60.0))
        await alone(broker, envelope(id="later", delay=60.0))
        _, expiring = await (await subscribe(broker)).fetch(9)
        assert expiring.expires_at is not None
        assert (await broker.admin.sizes(["q"]))[0].scheduled == 1


async def test_a_lone_job_beside_another_writer_says_so(tmp_path: Path) -> None:
    broker = make(tmp_path / "jobs.db", busy_timeout=0.05)
    await broker.open()
    await alone(broker, envelope())
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BrokerUnavailable, match="locked by another program"):
        await alone(broker, envelope(id="refused"))
    other.execute("ROLLBACK")
    other.close()
    assert (await alone(broker, envelope(id="taken"))).answer is PublishAnswer.ACCEPTED
    assert await broker.store.get(["refused"]) == [None]
    await broker.close()
