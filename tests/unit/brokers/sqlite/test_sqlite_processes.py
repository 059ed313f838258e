"""Several processes on one file: forks, kills, and what is left of them."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlite_site import envelope, kill, line, make, opened, publish, start, subscribe, success

from heeler.brokers.sqlite import SqliteBroker
from heeler.model import Publication


def in_child(work: Callable[[], int]) -> int:
    """Run the function in a forked child; its exit code, 99 if it raised."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def publish_one(broker: SqliteBroker, id: str) -> int:
    broker.publish_blocking(Publication(envelopes=(envelope(id=id),)))
    return 0


async def test_a_forked_child_publishes_on_a_connection_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        publish_one(broker, "parent")
        mine = broker._caller._connection
        assert in_child(lambda: publish_one(broker, "child") or int(broker._caller._connection is mine)) == 0
        publish_one(broker, "parent again")
        ids = [d.envelope.id for d in await (await subscribe(broker)).fetch(9)]
        assert ids == ["parent", "child", "parent again"]


async def test_a_forked_child_can_open_again(tmp_path: Path) -> None:
    async def fetch_one(broker: SqliteBroker) -> int:
        await broker.open()
        (delivery,) = await (await subscribe(broker)).fetch(1)
        await broker.settle([success(delivery)])
        await broker.close()
        return 0

    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="one"), envelope(id="two"))
        code = await asyncio.to_thread(in_child, lambda: asyncio.new_event_loop().run_until_complete(fetch_one(broker)))
        assert code == 0
        assert [d.envelope.id for d in await (await subscribe(broker)).fetch(9)] == ["two"]
        assert (await broker.store.get(["one"]))[0].value == b"value"


async def test_what_a_killed_publisher_was_told_is_there(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        from pathlib import Path
        from sqlite_site import envelope, make
        from heeler.model import Publication
        broker = make(Path(sys.argv[1]))
        number = 0
        while True:
            broker.publish_blocking(Publication(envelopes=(envelope(id=str(number)),)))
            print(number, flush=True)
            number += 1
    """
    for _ in range(3):
        process = start(script, tmp_path / "jobs.db")
        told = [line(process) for _ in range(50)]
        process.kill()
        told += [text.strip() for text in process.stdout.readlines() if text.endswith("\n")]
        kill(process)
        async with opened(tmp_path / "jobs.db") as broker:
            there = [record is not None for record in await broker.store.get(told)]
            assert all(there)
            assert len(told) >= 50
            await broker.admin.purge("q")
            await broker.store.forget(told)
    connection = sqlite3.connect(tmp_path / "jobs.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_worker_killed_in_the_middle_of_its_writing_hinders_nobody(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from sqlite_site import envelope, make
        from heeler.brokers.sqlite.publishing import publish
        from heeler.model import Publication
        broker = make(Path(sys.argv[1]))
        with broker._database.connect(durable=True).step() as step:
            publish(step, Publication(envelopes=(envelope(id="half"),)))
            print("writing", flush=True)
            sys.stdin.readline()
    """
    async with opened(tmp_path / "jobs.db") as broker:
        process = start(script, tmp_path / "jobs.db")
        assert line(process) == "writing"
        waiting = asyncio.create_task(asyncio.to_thread(publish_one, broker, "whole"))
        kill(process)
        await waiting
        assert [d.envelope.id for d in await (await subscribe(broker)).fetch(9)] == ["whole"]


WORKER = """
    import asyncio, sys
    from pathlib import Path
    from sqlite_site import make, subscribe, success
    async def main():
        broker = make(Path(sys.argv[1]))
        await broker.open()
        subscription = await subscribe(broker)
        assert await subscription.fetch(9) == []
        print("asleep", flush=True)
        while True:
            await subscription.ready()
            for delivery in await subscription.fetch(9):
                await broker.settle([success(delivery)])
                print(delivery.envelope.id, flush=True)
    asyncio.run(main())
"""


async def test_an_idle_worker_of_another_process_is_woken_and_tells_the_inbox(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        process = start(WORKER, tmp_path / "jobs.db")
        try:
            assert line(process) == "asleep"
            inbox = await broker.store.inbox()
            publish_one(broker, "not mine")
            await publish(broker, envelope(id="mine", reply_to=inbox.address))
            async with asyncio.timeout(20):
                notices = await inbox.receive()
            assert [notice.id for notice in notices] == ["mine"]
            await inbox.close()
        finally:
            kill(process)


async def test_in_the_place_of_a_sleeper_that_died_another_is_woken(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        dead = start(WORKER, tmp_path / "jobs.db")
        assert line(dead) == "asleep"
        kill(dead)
        living = start(WORKER, tmp_path / "jobs.db")
        try:
            assert line(living) == "asleep"
            await publish(broker, envelope(id="job"))
            assert await asyncio.to_thread(line, living) == "job"
        finally:
            kill(living)
        with broker._session.brisk.used() as raw:
            assert raw.execute("SELECT count(*) FROM heeler_sleepers").fetchone()[0] <= 1


async def test_a_wake_up_that_was_lost_with_its_publisher_is_made_up_for(tmp_path: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from sqlite_site import envelope, make
        from heeler.brokers.sqlite import session
        from heeler.model import Publication
        session._deliver = lambda *_: os._exit(0)
        make(Path(sys.argv[1])).publish_blocking(Publication(envelopes=(envelope(id="job"),)))
    """
    async with opened(tmp_path / "jobs.db") as broker:
        subscription = await subscribe(broker)
        assert await subscription.fetch(9) == []
        waiting = asyncio.create_task(subscription.ready())
        process = start(script, tmp_path / "jobs.db")
        async with asyncio.timeout(20):
            await waiting
        assert [d.envelope.id for d in await subscription.fetch(9)] == ["job"]
        await subscription.quiet()
        kill(process)


async def test_the_job_of_a_killed_worker_wakes_one_who_was_idle_all_the_time(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        from pathlib import Path
        from sqlite_site import make, subscribe
        async def main():
            broker = make(Path(sys.argv[1]))
            await broker.open()
            (delivery,) = await (await subscribe(broker, lease=0.5)).fetch(9)
            print(delivery.receipt.epoch, flush=True)
            sys.stdin.readline()
        asyncio.run(main())
    """
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="job"))
        process = start(script, tmp_path / "jobs.db")
        assert line(process) == "1"
        subscription = await subscribe(broker)
        waiting = asyncio.create_task(subscription.ready())
        kill(process)
        async with asyncio.timeout(20):
            await waiting
        (delivery,) = await subscription.fetch(9)
        assert (delivery.receipt.epoch, delivery.suspect) == (2, True)


async def test_brokers_of_one_process_share_the_file_as_processes_do(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as one, opened(tmp_path / "jobs.db") as other:
        subscription = await subscribe(other)
        assert await subscription.fetch(9) == []
        await asyncio.to_thread(publish_one, one, "job")
        async with asyncio.timeout(20):
            await subscription.ready()
        assert [d.envelope.id for d in await subscription.fetch(9)] == ["job"]


def test_a_broker_of_a_url_is_closed_without_having_been_opened(tmp_path: Path) -> None:
    asyncio.run(make(tmp_path / "jobs.db").close())
    assert not (tmp_path / "jobs.db").exists()
