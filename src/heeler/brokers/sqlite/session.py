"""What an open broker has in one process: its connections, its mailbox, and who is to be woken."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

from heeler.brokers.sqlite.connection import Connection, Database
from heeler.brokers.sqlite.mailbox import Mailbox
from heeler.brokers.sqlite.post import Post, address_news, sleeper_address
from heeler.brokers.sqlite.publishing import lone_row, publish
from heeler.brokers.sqlite.sleepers import choose_sleepers, choose_some
from heeler.brokers.sqlite.step import Step
from heeler.errors import BrokerUnavailable
from heeler.model import Publication, PublishAnswer, PublishResult

__all__ = ["CallerSession", "Session"]


def _finish(step: Step) -> None:
    """The end of every step: who is to be woken and told, and what is too much."""
    if step.returned:
        step.run("count_return")
    if step.new_ready or step.new_due:
        choose_sleepers(step)
    if step.events:
        address_news(step)
    if step.buried:
        step.run("prune_dead", (step.now - step.limits.dead_letter_ttl,))
        while step.run("drop_surplus_dead", (step.limits.dead_letter_limit,)).rowcount:
            pass


def _deliver(connection: Connection, post: Post, step: Step) -> None:
    """Send what a committed step has to tell. In the place of sleepers that have died, wake others."""
    while step.woken or step.news:
        dead_sleepers, gone = post.deliver(step)
        if not dead_sleepers and not gone:
            return
        with connection.step() as step:
            for queue, address in dead_sleepers:
                step.run("wake", (address,))
                choose_some(step, queue, 1)
            for address in gone:
                step.run("unwatch_all", (address,))


class Session:
    """Lives from `open` to `close` on the loop where it was opened."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.loop = asyncio.get_running_loop()
        self._closing: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self.durable = database.connect(durable=True)
            self._closing.append(self.durable.close)
            self.durable.migrate()
            self.brisk = database.connect(durable=False)
            self._closing.append(self.brisk.close)
            self.post = Post(self.loop)
            self._closing.append(self.post.close)
            self.mailbox = Mailbox(database.path, self._woken)
            self._closing.append(self.mailbox.close)
        except BaseException:
            self._close()
            raise
        self._sleepers: dict[int, Callable[[], None]] = {}
        self._last_number = 0

    @contextlib.contextmanager
    def step(self, *, durable: bool = False) -> Iterator[Step]:
        """A write transaction, and after it what it has to tell. `durable`: it survives a loss of power."""
        connection = self.durable if durable else self.brisk
        with connection.step() as step:
            yield step
            _finish(step)
        if step.woken or step.news:
            _deliver(connection, self.post, step)

    def on_wake(self, wake: Callable[[], None]) -> tuple[int, str]:
        """Have `wake` called when somebody sends a wake-up to the address in the answer."""
        self._last_number += 1
        self._sleepers[self._last_number] = wake
        return self._last_number, sleeper_address(self.mailbox.address, self._last_number)

    def forget(self, number: int) -> None:
        self._sleepers.pop(number, None)

    def _woken(self, datagram: bytes) -> None:
        try:
            wake = self._sleepers.get(int(datagram))
        except ValueError:
            return  # not from us
        if wake is not None:
            wake()

    def on_close(self, close: Callable[[], None]) -> None:
        """Have something closed with this session, before what it stands on."""
        self._closing.append(close)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Have a background task cancelled with this session, if it still runs."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close()

    def _close(self) -> None:
        while self._closing:
            self._closing.pop()()


class CallerSession:
    """The one connection on which calling threads publish, one at a time; opened at its first use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._post: Post | None = None
        self._closed = False
        self._woke = False  # the last publication found workers asleep

    def publish(self, publication: Publication) -> list[PublishResult]:
        with self._lock:
            connection = self._connection
            if connection is None:
                connection = self._connect()
            # One statement is the quickest. The long way, in place of it or after it, says who has the id, and takes
            # off the list whom it wakes.
            if not self._woke:
                row = lone_row(self._database, publication)
                if row is not None and connection.write("add_lone_job", row):
                    return [PublishResult(PublishAnswer.ACCEPTED, row[0])]
            with connection.step() as step:
                answers = publish(step, publication)
                _finish(step)
            self._woke = bool(step.woken)
            self._deliver(connection, step)
            return answers

    def _deliver(self, connection: Connection, step: Step) -> None:
        if step.woken or step.news:
            if self._post is None:
                self._post = Post(None)
            _deliver(connection, self._post, step)

    def _connect(self) -> Connection:
        if self._closed:
            raise BrokerUnavailable(f"the broker on {self._database.path} is closed; open it again first")
        connection = self._database.connect(durable=True)
        try:
            connection.migrate()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._post is not None:
                self._post.close()
                self._post = None
