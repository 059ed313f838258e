"""A SQLite file as the store of a broker that has none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from heeler.brokers.carried.apply import apply, cancel, drop
from heeler.brokers.carried.job import ENDS_KEPT
from heeler.brokers.carried.reserve import break_latches, reserve, revive
from heeler.brokers.carried.run import begin, begin_unwritten, renew
from heeler.brokers.sqlite import from_url
from heeler.brokers.sqlite.broker import SqliteBroker
from heeler.brokers.sqlite.carried_listing import list_carried
from heeler.brokers.sqlite.carried_tables import SqliteTables
from heeler.brokers.sqlite.inbox import SqliteInbox
from heeler.brokers.sqlite.latches import records as latch_records
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import json_of
from heeler.clock import Clock
from heeler.contracts import Applied, Begun, Cancelled, Candidate, Inbox, OrderedStore, Reserved, Unsent
from heeler.io_thread import IoThread
from heeler.model import (
    CallId,
    DeadLetter,
    Envelope,
    JobFilter,
    LatchRecord,
    Publication,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    Settlement,
)
from heeler.url import BrokerUrl

__all__ = ["SqliteOrderedStore", "store_from_url"]

_PRUNE_MORE = 16  # jobs that a step drops beyond as many as it adds


def store_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> SqliteOrderedStore:
    """The store that a URL like `sqlite:///results.db` describes; the options are those of the broker."""
    return SqliteOrderedStore(from_url(url, io=io, clock=clock, namespace=namespace))


class SqliteOrderedStore(OrderedStore):
    """Jobs of another broker in tables of their own, on the connections of a SQLite broker that runs none itself.

    What must survive a loss of power is written as that broker writes publications and ends, the rest as it writes
    leases.
    """

    def __init__(self, broker: SqliteBroker) -> None:
        self._broker = broker
        self.control = broker.control
        self.schedules = broker.schedules
        self.max_result = 16 * broker.max_payload

    async def open(self) -> None:
        await self._broker.open()

    async def close(self) -> None:
        await self._broker.close()

    async def reserve(self, publication: Publication) -> Reserved:
        with self._step(durable=True) as tables:
            tables.prune(len(publication.envelopes) + _PRUNE_MORE)
            tables.load([envelope.id for envelope in publication.envelopes])
            return reserve(tables, publication)

    async def refuse(self, ids: Sequence[str]) -> None:
        with self._step() as tables:
            for job_id in ids:
                tables.drop(job_id)

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        with self._step(durable=True) as tables:
            return [revive(tables, letter) for letter in letters]

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        if not any(candidate.redelivered for candidate in candidates):
            with self._broker.session().brisk.reading() as reader:
                there = SqliteTables(reader)
                there.load([candidate.envelope.id for candidate in candidates])
                answers = [begin_unwritten(there, candidate) for candidate in candidates]
            known = [answer for answer in answers if answer is not None]
            if len(known) == len(candidates):
                return known
        with self._step() as tables:
            tables.load([candidate.envelope.id for candidate in candidates])
            return [begin(tables, candidate, lease) for candidate in candidates]

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self._step() as tables:
            tables.load([renewal.delivery.receipt.id for renewal in renewals])
            return renew(tables, renewals, lease)

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        with self._step(durable=True) as tables:
            tables.prune(len(settlements) + _PRUNE_MORE)
            tables.load([settlement.delivery.receipt.id for settlement in settlements])
            return apply(tables, settlements, call)

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        with self._step(durable=True) as tables:
            tables.load([envelope.id for envelope in envelopes])
            return [drop(tables, envelope, reason) for envelope in envelopes]

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        with self._step() as tables:
            tables.clear(keys, acknowledged=acknowledged)

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        with self._step() as tables:
            errands = tables.take_unsent(older_than, limit)
            tables.load([envelope.id for errand in errands for envelope, _ in errand.messages])
            return [tables.left_of(errand) for errand in errands]

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._broker.session().brisk.reading() as reader:
            return _records(reader, ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        return await list_carried(self._broker.session(), wanted, limit, after)

    async def inbox(self) -> Inbox:
        return SqliteInbox(self._broker.session(), _records)

    async def forget(self, ids: Sequence[str]) -> int:
        count = 0
        with self._step() as tables:
            for job_id in ids:
                job = tables.job(job_id)
                if job is not None and job.forget(tables.now):
                    tables.save(job)
                    count += 1
        return count

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        with self._step(durable=True) as tables:
            return [cancel(tables, job_id) for job_id in ids]

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        with self._broker.session().brisk.reading() as reader:
            return latch_records(reader, ids, with_data)

    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        with self._step(durable=True) as tables:
            return break_latches(tables, ids, by, cancelled)

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        with self._broker.session().step() as step:
            until = step.now + seconds
            step.run("expire_carried", (until, json_of(jobs), step.now, max(until, step.now + ENDS_KEPT)))
            step.run("expire_latches", (until, json_of(latches), step.now))

    async def pause(self, queue: str) -> None:
        with self._broker.session().step(durable=True) as step:
            step.run("pause_carried", (queue,))

    async def resume(self, queue: str) -> None:
        with self._broker.session().step(durable=True) as step:
            step.run("resume_carried", (queue,))

    async def paused(self) -> frozenset[str]:
        with self._broker.session().brisk.reading() as reader:
            return SqliteTables(reader).paused()

    @contextlib.contextmanager
    def _step(self, *, durable: bool = False) -> Iterator[SqliteTables]:
        with self._broker.session().step(durable=durable) as step:
            yield SqliteTables(step)


def _records(step: Step, ids: Sequence[str]) -> list[ResultRecord | None]:
    tables = SqliteTables(step)
    tables.load(ids)
    jobs = [tables.job(job_id) for job_id in ids]
    return [job.seen_record(step.now) if job is not None else None for job in jobs]
