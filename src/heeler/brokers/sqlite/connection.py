"""A connection to the database file, and the one place that begins, commits and rolls back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from heeler.brokers.sqlite.faults import translated
from heeler.brokers.sqlite.forking import Gated
from heeler.brokers.sqlite.statements import LATEST_VERSION, Statements, migration, statements_of
from heeler.brokers.sqlite.step import Limits, Numbers, Step
from heeler.brokers.sqlite.writer_lock import WriterLock, writer_lock
from heeler.clock import Clock
from heeler.errors import BrokerUnavailable, ConfigurationError

__all__ = ["Connection", "Database", "Synchronous"]

Synchronous = Literal["full", "normal"]

_OLDEST_SQLITE = (3, 35, 0)  # RETURNING
_CACHE_KIB = 2000  # of each connection: an idle worker stays small
_PAGES_TO_CHECKPOINT = 1000
_WAL_KEPT = 64 << 20  # bytes that the write-ahead log keeps of what it once grew to


class Database:
    """What all connections to one file share: where it is, how it is used, and who may write."""

    def __init__(
        self, path: Path, namespace: str, clock: Clock, *, synchronous: Synchronous, busy_timeout: float, limits: Limits
    ) -> None:
        self.path = path
        self.namespace = namespace
        self.clock = clock
        self.synchronous = synchronous
        self.busy_timeout = busy_timeout
        self.limits = limits
        self.sql: Statements = statements_of(namespace)
        self.numbers = Numbers()

    def writer_lock(self) -> WriterLock:
        real = self.path.resolve()
        return writer_lock(real.with_name(real.name + "-lock"))

    def connect(self, *, durable: bool) -> Connection:
        """A new connection; `durable`: its commits are on the disk when they return."""
        return Connection(self, durable=durable and self.synchronous == "full")


class Connection(Gated):
    """A connection of our own making: write-ahead log, explicit transactions, errors of Heeler's.

    A fork closes it, and the next use opens it again.
    """

    def __init__(self, database: Database, *, durable: bool) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"Python was built with SQLite {sqlite3.sqlite_version}; sqlite:// needs "
                f"{'.'.join(map(str, _OLDEST_SQLITE[:2]))} or newer"
            )
        super().__init__()
        self.database = database
        self._durable = durable
        self._lock = database.writer_lock()
        self._transaction = Transaction(self)
        self._raw: sqlite3.Connection | None = None
        self._is_closed = False
        try:
            with self.used():
                pass
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def used(self) -> Iterator[sqlite3.Connection]:
        """The open connection itself, for anything but writing. What sqlite3 raises is translated."""
        self.enter()
        try:
            yield self._raw or self._open()
        except sqlite3.Error as error:
            raise translated(error, self.database.path) from error
        finally:
            self.leave()

    def _open(self) -> sqlite3.Connection:
        database = self.database
        if self._is_closed:
            raise BrokerUnavailable(f"the connection to SQLite database {database.path} is closed; open it again first")
        raw = sqlite3.connect(
            database.path,
            timeout=database.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._prepare(raw)
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        return raw

    def _prepare(self, raw: sqlite3.Connection) -> None:
        run = raw.execute
        database = self.database
        mode = run("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":  # the switch does not wait for others, so it takes the writers' turn
            self._lock.acquire(database.busy_timeout)
            try:
                mode = run("PRAGMA journal_mode = WAL").fetchone()[0]
            finally:
                self._lock.release()
        if mode != "wal":
            raise ConfigurationError(
                f"SQLite database {self.database.path} cannot use a write-ahead log (it stays in mode {mode!r}); put "
                f"it on a local disk"
            )
        run(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        run(f"PRAGMA wal_autocheckpoint = {_PAGES_TO_CHECKPOINT}")
        run(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        run("PRAGMA temp_store = MEMORY")

    def step(self) -> Transaction:
        """A write transaction: committed at the end of the `with` block, rolled back if it raises."""
        return self._transaction

    def write(self, name: str, parameters: Sequence[Any]) -> bool:
        """One statement that is a transaction by itself, committed when this returns; whether it has changed anything.

        It has not where a row stands in the way that the tables allow only once.
        """
        raw = self.begin_writing()
        try:
            before = raw.total_changes
            raw.execute(self.database.sql[name], parameters)
            return raw.total_changes != before
        except sqlite3.IntegrityError:
            return False
        except sqlite3.Error as error:
            raise translated(error, self.database.path, committing=True) from error
        finally:
            self.end_writing()

    def begin_writing(self) -> sqlite3.Connection:
        """The open connection, when it is this one's turn to write; to be followed by `end_writing`."""
        while True:
            if self._raw is None:
                with self.used():  # before the turn, which opening may need for itself
                    pass
            self._lock.acquire(self.database.busy_timeout)
            self.enter()
            if self._raw is not None:
                return self._raw
            self.end_writing()  # a fork has come between

    def end_writing(self) -> None:
        self.leave()
        self._lock.release()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Step]:
        """For functions over a step that only read; each statement sees what is committed by then."""
        database = self.database
        with self.used() as raw:
            yield Step(raw, database.sql, database.numbers, database.limits, database.clock.time())

    def read(self, name: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that only reads."""
        with self.used() as raw:
            return raw.execute(self.database.sql[name], parameters).fetchall()

    def pragma(self, name: str) -> Any:
        with self.used() as raw:
            return raw.execute(f"PRAGMA {name}").fetchone()[0]

    def migrate(self) -> None:
        """Make the namespace's tables, or bring them to our version. Raises ConfigurationError for newer ones."""
        if self._version() == LATEST_VERSION:
            return
        namespace = self.database.namespace
        with self.step() as step:
            version = self._version()
            if version > LATEST_VERSION:
                raise ConfigurationError(
                    f"SQLite database {self.database.path} was written by a newer Heeler (tables of {namespace!r} have "
                    f"version {version}, this Heeler knows up to {LATEST_VERSION}); upgrade Heeler here, or use "
                    f"another file or namespace"
                )
            for following in range(version + 1, LATEST_VERSION + 1):
                for statement in _split(migration(following, namespace)):
                    with self.used() as raw:
                        raw.execute(statement)
            step.run("set_version", (LATEST_VERSION,))

    def _version(self) -> int:
        with self.used() as raw:
            there = raw.execute(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (f"{self.database.namespace}_version",)
            ).fetchone()
        return 0 if there is None else int(self.read("version")[0][0])

    def shut(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    def close(self) -> None:
        self.enter()
        try:
            was_closed, self._is_closed = self._is_closed, True
            self.shut()
        finally:
            self.leave()
        if not was_closed:
            self._lock.let_go()


class Transaction:
    """From BEGIN to COMMIT, with the writers' lock; one object for all transactions of a connection, one at a time.

    A class, because a generator would cost as much as a statement.
    """

    __slots__ = ("_connection", "_raw", "_step")

    _raw: sqlite3.Connection

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Step:
        connection = self._connection
        database = connection.database
        self._raw = raw = connection.begin_writing()
        try:
            raw.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            connection.end_writing()
            if isinstance(error, sqlite3.Error):
                raise translated(error, database.path) from error
            raise
        self._step = Step(raw, database.sql, database.numbers, database.limits, database.clock.time())
        return self._step

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                try:
                    self._raw.execute("COMMIT")
                except sqlite3.Error as failed:
                    self._roll_back()
                    raise translated(failed, self._connection.database.path, committing=True) from failed
                self._step.committed()
            else:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise translated(error, self._connection.database.path) from error
        finally:
            self._connection.end_writing()

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # the error that led here says more
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")


def _split(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
