"""What a user meets when the file, its folder or its disk is not as it should be."""

import sqlite3
from pathlib import Path

import pytest
from sqlite_site import envelope, make, opened, publish, subscribe, success

from heeler.brokers.sqlite.faults import translated
from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError, PayloadTooLarge


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"This is a letter, and not a database. " * 100)
    with pytest.raises(ConfigurationError, match=r"jobs\.db is not a SQLite database; name another file"):
        await make(tmp_path / "jobs.db").open()


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match=r"folder .*nowhere does not exist; make it first"):
        await make(tmp_path / "nowhere" / "jobs.db").open()


async def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(HeelerError, match="it is a folder; name a file in it"):
        await make(tmp_path / "jobs.db").open()


async def test_a_file_that_another_program_has_locked(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db", busy_timeout=0.05) as broker:
        subscription = await subscribe(broker)
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable, match="locked by another program; close what writes to it"):
            await publish(broker, envelope())
        with pytest.raises(BrokerUnavailable, match="locked by another program"):
            await subscription.fetch(1)
        other.execute("COMMIT")
        other.close()
        await publish(broker, envelope(id="later"))
        assert [d.envelope.id for d in await subscription.fetch(9)] == ["later"]


async def test_a_full_disk_refuses_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, envelope(id="before"))
        pages = broker._session.durable.pragma("page_count")
        broker._session.durable.pragma(f"max_page_count = {pages + 2}")
        with pytest.raises(BrokerUnavailable, match=r"no space left .*free some") as caught:
            await publish(broker, *(envelope(body=bytes(4000)) for _ in range(50)))
        assert not caught.value.outcome_unknown
        broker._session.durable.pragma("max_page_count = 1000000")
        await publish(broker, envelope(id="after"))
        subscription = await subscribe(broker)
        deliveries = await subscription.fetch(99)
        assert [d.envelope.id for d in deliveries] == ["before", "after"]
        await broker.settle([success(delivery) for delivery in deliveries])


async def test_a_damaged_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as broker:
        await publish(broker, *(envelope() for _ in range(200)))
    data = bytearray((tmp_path / "jobs.db").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "jobs.db").write_bytes(data)
    with pytest.raises(BrokerUnavailable, match=r"is damaged.*restore a backup"):
        await make(tmp_path / "jobs.db").open()


def sqlite_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (sqlite_error(sqlite3.SQLITE_READONLY), ConfigurationError, "right to write the file and its folder"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), ConfigurationError, "right to write"),
        (sqlite_error(sqlite3.SQLITE_BUSY_RECOVERY), BrokerUnavailable, "locked by another program"),
        (sqlite_error(sqlite3.SQLITE_TOOBIG, sqlite3.DataError), PayloadTooLarge, "no value of this size"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), BrokerUnavailable, "heeler doctor"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError), BrokerUnavailable, "is damaged"),
    ],
)
def test_every_error_of_sqlite_says_what_to_do(error: sqlite3.Error, kind: type[HeelerError], advice: str) -> None:
    found = translated(error, Path("/data/jobs.db"))
    assert type(found) is kind
    assert advice in str(found)
    assert "/data/jobs.db" in str(found)


def test_only_a_commit_that_broke_off_leaves_the_outcome_unknown() -> None:
    for code, committing, unknown in (
        (sqlite3.SQLITE_IOERR_FSYNC, True, True),
        (sqlite3.SQLITE_IOERR_FSYNC, False, False),
        (sqlite3.SQLITE_FULL, True, False),
    ):
        found = translated(sqlite_error(code), Path("jobs.db"), committing=committing)
        assert isinstance(found, BrokerUnavailable)
        assert found.outcome_unknown is unknown


async def test_a_verb_before_open_or_after_close_says_so(tmp_path: Path) -> None:
    broker = make(tmp_path / "jobs.db")
    with pytest.raises(BrokerUnavailable, match="not open"):
        await publish(broker, envelope())
    await broker.open()
    await broker.close()
    await broker.close()
    with pytest.raises(BrokerUnavailable, match="not open"):
        await broker.store.get(["one"])
