import re
import sqlite3
from importlib.resources import files

import pytest

from heeler.brokers.sqlite.statements import LATEST_VERSION, migration, statements_of
from heeler.errors import ConfigurationError

PACKAGE = files("heeler.brokers.sqlite")
BLOCKS = [
    (file.name, block)
    for file in (PACKAGE / "statements").iterdir()
    for block in file.read_text("utf-8").split("-- name: ")[1:]
]


@pytest.mark.parametrize(("file", "block"), BLOCKS, ids=[block.split("\n")[0] for _, block in BLOCKS])
def test_the_head_of_a_statement_names_what_it_takes_and_returns(file: str, block: str) -> None:
    head = " ".join(line for line in block.splitlines() if line.startswith("--"))
    sql = "\n".join(line for line in block.splitlines()[1:] if not line.startswith("--"))
    takes = re.search(r"takes: ([^;]+?)(?:; returns|--|$)", head)
    assert ("?" in sql) == (takes is not None)
    assert (("SELECT" in sql.split()[0:1]) or "RETURNING" in sql or sql.startswith("WITH")) == ("returns: " in head)


def test_no_statement_has_a_name_twice() -> None:
    names = [block.split("\n")[0] for _, block in BLOCKS]
    assert len(names) == len(set(names)) == len(statements_of("n"))


def test_every_statement_can_be_prepared_on_the_newest_tables() -> None:
    connection = sqlite3.connect(":memory:")
    for version in range(1, LATEST_VERSION + 1):
        connection.executescript(migration(version, "a-b.c:1"))
    for sql in statements_of("a-b.c:1").values():
        numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
        connection.execute(f"EXPLAIN {sql}", [None] * (max(numbered) if numbered else sql.count("?")))
    connection.close()


def test_no_statement_on_a_jobs_way_reads_more_than_it_must() -> None:
    connection = sqlite3.connect(":memory:")
    for version in range(1, LATEST_VERSION + 1):
        connection.executescript(migration(version, "n"))
    limited = {"published_last", "live_seqs"}  # they read the first so many of whatever is there
    for name, sql in statements_of("n").items():
        if name in limited:
            continue
        numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
        parameters = [None] * (max(numbered) if numbered else sql.count("?"))
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters):
            assert not re.match(
                r"SCAN (j|r|s|h|n_jobs|n_ready|n_scheduled|n_records|n_history|n_carried|n_unsent)\b", step
            ), name
    connection.close()


@pytest.mark.parametrize("namespace", ["", "sqlite_x", "SQLite", 'a"b', "a b", "-a", "a" * 81, "ä"])
def test_a_namespace_that_cannot_begin_a_tables_name_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="begins the names of tables"):
        statements_of(namespace)
