import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlite_site import envelope, kill, line, make, opened, publish, start, subscribe

from heeler.brokers.sqlite.statements import migration
from heeler.errors import ConfigurationError
from heeler.model import Guard, Publication, PublishAnswer


async def test_a_file_is_made_and_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="one"))
    async with opened(tmp_path / "jobs.db") as broker:
        (delivery,) = await (await subscribe(broker)).fetch(10)
    assert delivery.envelope.id == "one"


async def test_namespaces_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db", namespace="a") as a, opened(tmp_path / "jobs.db", namespace="b-2") as b:
        await publish(a, envelope(id="of a"))
        assert await (await subscribe(b)).fetch(10) == []
        assert [d.envelope.id for d in await (await subscribe(a)).fetch(10)] == ["of a"]


async def test_tables_of_a_newer_heeler_are_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db"):
        pass
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute("UPDATE heeler_version SET version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match=r"newer Heeler .*version 99.*upgrade Heeler"):
        await make(tmp_path / "jobs.db").open()


async def test_tables_whose_making_was_cut_short_are_made_again(tmp_path: Path) -> None:
    broker = make(tmp_path / "jobs.db")
    connection = broker._database.connect(durable=True)
    with connection.used() as raw:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("CREATE TABLE heeler_version (version INTEGER)")
    connection.close()
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope())


async def test_processes_that_make_one_file_at_once_all_succeed(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        from pathlib import Path
        from sqlite_site import envelope, make, publish
        print("here", flush=True)
        sys.stdin.readline()
        async def main():
            broker = make(Path(sys.argv[1]))
            await broker.open()
            await publish(broker, envelope())
            await broker.close()
        asyncio.run(main())
        print("done", flush=True)
    """
    processes = [start(script, tmp_path / "jobs.db") for _ in range(4)]
    try:
        assert [line(process) for process in processes] == ["here"] * 4
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        assert await asyncio.to_thread(lambda: [line(process) for process in processes]) == ["done"] * 4
    finally:
        for process in processes:
            kill(process)
    async with opened(tmp_path / "jobs.db") as broker:
        assert len(await (await subscribe(broker)).fetch(10)) == 4


async def test_tables_of_an_older_heeler_become_ours_with_what_is_in_them(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.executescript(migration(1, "heeler") + migration(2, "heeler"))
    connection.execute("UPDATE heeler_version SET version = 2")
    connection.execute("INSERT INTO heeler_cells (name, value) VALUES ('cell', x'31')")
    connection.commit()
    connection.close()
    async with opened(tmp_path / "jobs.db") as broker:
        [result] = await broker.publish(Publication(guard=Guard("cell", b"1", b"2", 5.0)))
        assert result.answer is PublishAnswer.ACCEPTED
        assert (await broker.schedules.due(1)).entries == []
