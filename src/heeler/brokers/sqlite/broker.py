"""The SQLite broker: the contract's verbs as thin shells around steps over one file."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heeler.brokers.sqlite.admin import SqliteQueueAdmin
from heeler.brokers.sqlite.connection import Database, Synchronous
from heeler.brokers.sqlite.control import SqliteControlChannel
from heeler.brokers.sqlite.doctor import findings
from heeler.brokers.sqlite.publishing import publish
from heeler.brokers.sqlite.renewing import extend
from heeler.brokers.sqlite.schedules import SqliteScheduleStore
from heeler.brokers.sqlite.session import CallerSession, Session
from heeler.brokers.sqlite.settling import settle
from heeler.brokers.sqlite.shares import Shares
from heeler.brokers.sqlite.step import Limits
from heeler.brokers.sqlite.store import SqliteResultStore
from heeler.brokers.sqlite.subscription import SqliteSubscription
from heeler.clock import Clock
from heeler.contracts import Broker, Features, QueueShare, Subscription
from heeler.errors import BrokerUnavailable
from heeler.io_thread import IoThread
from heeler.model import CallId, Publication, PublishResult, Renewal, RenewalAnswer, Settlement, SettleResult

__all__ = ["SqliteBroker"]


class SqliteBroker(Broker):
    """Jobs and results in one SQLite file, for any number of processes of this machine.

    With `synchronous="full"` what `publish` and `settle` wrote is on the disk when they return; with "normal" the last
    moments before a loss of power may be lost, but nothing if only processes die. `busy_timeout` is how many seconds
    a writer waits for the others at most.
    """

    features = Features()
    store: SqliteResultStore
    admin: SqliteQueueAdmin
    schedules: SqliteScheduleStore
    control: SqliteControlChannel

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        io: IoThread,
        clock: Clock,
        namespace: str,
        synchronous: Synchronous = "full",
        busy_timeout: float = 30.0,
        dead_letter_ttl: float = 30 * 86400.0,
        dead_letter_limit: int = 10_000,
        max_payload: int = 1 << 20,
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        self.max_payload = max_payload
        self._database = Database(
            Path(path).absolute(),
            namespace,
            clock,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            limits=Limits(max_payload, dead_letter_ttl, dead_letter_limit),
        )
        self._session: Session | None = None
        self._caller = CallerSession(self._database)
        self._parked: list[Any] = []
        self.store = SqliteResultStore(self.session)
        self.admin = SqliteQueueAdmin(self.session)
        self.schedules = SqliteScheduleStore(self.session)
        self.control = SqliteControlChannel(self.session)
        _brokers.add(self)

    async def open(self) -> None:
        if self._session is None:
            self._session = Session(self._database)
            self._caller.close()
            self._caller = CallerSession(self._database)

    async def close(self) -> None:
        session, self._session = self._session, None
        self._caller.close()
        if session is not None:
            await session.close()

    async def publish(self, publication: Publication) -> list[PublishResult]:
        with self.session().step(durable=True) as step:
            return publish(step, publication)

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        """`publish` in the calling thread, on a connection of its own."""
        return self._caller.publish(publication)

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        session = self.session()
        with session.step() as step:
            numbers = [step.queue(share.queue) for share in queues]
        return SqliteSubscription(session, Shares(numbers, [share.weight for share in queues]), lease)

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self.session().step() as step:
            return extend(step, renewals, lease)

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        with self.session().step(durable=True) as step:
            return settle(step, settlements, call)

    async def doctor(self) -> list[tuple[str, str, str]]:
        return findings(self.session())

    def session(self) -> Session:
        """What is open in this process. Raises BrokerUnavailable."""
        if self._session is None:
            raise BrokerUnavailable(f"the broker on {self._database.path} is not open in this process")
        return self._session

    def _start_anew(self) -> None:
        """In a forked child: the loop, sockets and locks of the parent are neither used nor closed."""
        self._parked += [self._session, self._caller]
        self._session = None
        self._caller = CallerSession(self._database)


_brokers: weakref.WeakSet[SqliteBroker] = weakref.WeakSet()
_parked_brokers: list[SqliteBroker] = []


def _after_fork() -> None:
    for broker in _brokers:
        _parked_brokers.append(broker)  # with what it parks
        broker._start_anew()


os.register_at_fork(after_in_child=_after_fork)
