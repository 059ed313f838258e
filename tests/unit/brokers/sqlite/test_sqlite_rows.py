"""What stands in the tables: nothing that is not needed, and nothing that a reader chokes on."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlite_site import envelope, opened, publish, subscribe, success

from heeler.brokers.sqlite import SqliteBroker
from heeler.model import Action, Settlement
from heeler.testing.manual_clock import ManualClock


def query(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def counts(path: Path) -> dict[str, int]:
    tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'heeler_%'")
    left_out = {"heeler_version", "heeler_counter", "heeler_queues", "heeler_tasks", "heeler_sleepers"}
    found = {table: query(path, f"SELECT count(*) FROM {table}")[0][0] for (table,) in tables if table not in left_out}
    return {table.removeprefix("heeler_"): count for table, count in found.items() if count}


async def run(broker: SqliteBroker, count: int, **fields: Any) -> None:
    await publish(broker, *(envelope(**fields) for _ in range(count)))
    subscription = await subscribe(broker)
    while deliveries := await subscription.fetch(100):
        await broker.settle([success(delivery) for delivery in deliveries])


async def test_a_finished_job_leaves_its_row_and_its_record(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await run(broker, 250)
        assert counts(tmp_path / "jobs.db") == {"jobs": 250, "records": 250}


async def test_a_finished_job_without_a_result_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await run(broker, 250, keeps_result=False)
        assert counts(tmp_path / "jobs.db") == {}


async def test_a_retried_job_leaves_no_history(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope())
        subscription = await subscribe(broker)
        (delivery,) = await subscription.fetch(9)
        await broker.settle([Settlement(delivery=delivery, action=Action.RETRY, attempts=1, note=b"n")])
        assert counts(tmp_path / "jobs.db") == {"jobs": 1, "ready": 1, "history": 1}
        (delivery,) = await subscription.fetch(9)
        await broker.settle([success(delivery)])
        assert counts(tmp_path / "jobs.db") == {"jobs": 1, "records": 1}


async def test_old_records_are_dropped_a_few_at_a_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path / "jobs.db", clock=clock) as broker:
        await run(broker, 1000, keep=10.0)
        clock.advance(11.0)
        await run(broker, 1, keep=10.0)
        left = counts(tmp_path / "jobs.db")["records"]
        assert 500 < left < 1000
        for _ in range(20):
            await run(broker, 1, keep=10.0)
        assert counts(tmp_path / "jobs.db") == {"jobs": 21, "records": 21}


async def test_seqs_are_never_given_out_twice(tmp_path: Path) -> None:
    """A zombie's receipt must not fit another job."""
    async with opened(tmp_path / "jobs.db") as broker:
        subscription = await subscribe(broker)
        tags = []
        for _ in range(3):
            await publish(broker, envelope(keeps_result=False))
            (delivery,) = await subscription.fetch(9)
            await broker.settle([success(delivery)])
            tags.append(delivery.receipt.tag)
        assert len(set(tags)) == 3


async def test_bytes_that_are_no_envelope_are_parked_raw(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="bad"), envelope(id="good"))
        query(tmp_path / "jobs.db", "UPDATE heeler_jobs SET envelope = x'c1ff00' WHERE id = 'bad'")
        subscription = await subscribe(broker)
        assert [d.envelope.id for d in await subscription.fetch(9)] == ["good"]
        assert await subscription.fetch(9) == []
        (letter,) = await broker.admin.dead_letters()
        assert (letter.id, letter.queue, letter.raw, letter.envelope) == ("bad", "q", b"\xc1\xff\x00", None)
        assert "no envelope" in letter.reason
        assert await broker.admin.redrive() == 0
        assert await broker.store.get(["bad"]) == [None]


async def test_the_oldest_dead_letters_go_first(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path / "jobs.db", clock=clock, dead_letter_limit=3, dead_letter_ttl=100.0) as broker:
        subscription = await subscribe(broker)

        async def die(id: str) -> None:
            await publish(broker, envelope(id=id))
            (delivery,) = await subscription.fetch(9)
            await broker.settle([Settlement(delivery=delivery, action=Action.DEAD_LETTER, reason="r")])

        for number in range(5):
            await die(str(number))
        assert [letter.id for letter in await broker.admin.dead_letters()] == ["4", "3", "2"]
        clock.advance(99.0)
        await die("new")
        clock.advance(2.0)
        assert [letter.id for letter in await broker.admin.dead_letters()] == ["new"]
        await die("newer")
        assert counts(tmp_path / "jobs.db") == {"dead": 2}


async def test_answers_are_forgotten_after_two_minutes(tmp_path: Path) -> None:
    from heeler.model import CallId, Publication

    clock = ManualClock()
    async with opened(tmp_path / "jobs.db", clock=clock) as broker:
        for number in range(20):
            await broker.publish(Publication(envelopes=(envelope(),), call=CallId("s", number)))
        clock.advance(121.0)
        for number in range(20, 23):
            await broker.publish(Publication(envelopes=(envelope(),), call=CallId("s", number)))
        assert counts(tmp_path / "jobs.db")["answers"] == 3
