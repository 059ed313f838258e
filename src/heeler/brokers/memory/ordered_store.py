"""Memory as the store of a broker that has none: the executable specification of an ordered store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

from heeler.brokers.carried.apply import apply, cancel, drop
from heeler.brokers.carried.job import CarriedJob, Errand
from heeler.brokers.carried.reserve import break_latches, reserve, revive
from heeler.brokers.carried.run import begin, renew
from heeler.brokers.carried.tables import CarriedTables
from heeler.brokers.memory.control import MemoryControlChannel
from heeler.brokers.memory.listing import list_records
from heeler.brokers.memory.schedules import MemoryScheduleStore
from heeler.brokers.memory.state import MemoryState, shared_state
from heeler.brokers.memory.store import MemoryInbox
from heeler.clock import Clock
from heeler.contracts import Applied, Begun, Cancelled, Candidate, Inbox, OrderedStore, Reserved, Unsent
from heeler.io_thread import IoThread
from heeler.model import (
    Arrival,
    CallId,
    DeadLetter,
    Envelope,
    JobFilter,
    Latch,
    LatchRecord,
    Notice,
    Publication,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    RunReport,
    Settlement,
    TaskStatus,
)
from heeler.url import BrokerUrl

__all__ = ["MemoryOrderedStore", "store_from_url"]

T = TypeVar("T")


def store_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> MemoryOrderedStore:
    """The store of `memory://`, private to its app, or of `memory://name`, shared in this process by that name."""
    url.finish(())
    return MemoryOrderedStore(clock=clock, namespace=namespace, name=url.name or None)


class MemoryTables(CarriedTables):
    """The tables of a state, within a step under its lock."""

    def __init__(self, state: MemoryState, now: float) -> None:
        self.now = now
        self._state = state
        self._carried = state.carried

    def job(self, id: str) -> CarriedJob | None:
        return self._carried.jobs.get(id)

    def add(self, job: CarriedJob) -> None:
        self._carried.add(job, self._state.next_sequence())

    def save(self, job: CarriedJob) -> None:
        pass  # what is in the table is the job itself

    def is_paused(self, queue: str) -> bool:
        return queue in self._carried.paused

    def errand(self, key: str) -> Errand | None:
        return self._carried.errands.get(key)

    def write_errand(self, errand: Errand) -> None:
        self._carried.write_errand(errand, self.now)

    def cell(self, name: str) -> bytes | None:
        return self._state.cells.get(name)

    def set_cell(self, name: str, value: bytes | None, due_at: float | None) -> None:
        self._state.cells.set(name, value, due_at)

    def publish_latch(self, latch: Latch) -> Sequence[Envelope]:
        return self._state.latches.publish(latch, self.now)

    def arrive(self, arrival: Arrival) -> Sequence[Envelope]:
        return self._state.latches.arrive(arrival, self.now)

    def break_latch(self, id: str, by: str, cancelled: bool) -> Sequence[Envelope] | None:
        return self._state.latches.break_(id, by, cancelled, self.now)

    def recall(self, verb: str, call: CallId | None, kind: type[T]) -> T | None:
        known = self._state.carried_answers[verb].find(call, self.now)
        return None if known is None else cast("T", known[0])

    def remember(self, verb: str, call: CallId | None, answer: object) -> None:
        self._state.carried_answers[verb].keep(call, [answer], self.now)

    def tell(
        self,
        job: CarriedJob,
        status: TaskStatus,
        record: ResultRecord | None = None,
        report: RunReport | None = None,
    ) -> None:
        if self._state.news.heard(job.envelope):
            if record is None:
                record = job.current_record(self.now)
            next_at = record.next_at if record is not None else None
            notice = Notice(id=job.envelope.id, status=status, record=record, report=report, next_at=next_at)
            self._state.news.tell(job.envelope, notice)


class MemoryOrderedStore(OrderedStore):
    """Jobs of another broker in the memory of this process, and gone with it.

    Stores and memory brokers of the same `name` share one state, as long as one of them exists.
    """

    shared = False
    durable = False

    def __init__(self, *, clock: Clock, namespace: str, name: str | None = None) -> None:
        self._state = shared_state(namespace, name, clock, 1 << 20)
        self.control = MemoryControlChannel(self._state)
        self.schedules = MemoryScheduleStore(self._state)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def reserve(self, publication: Publication) -> Reserved:
        with self._step(len(publication.envelopes)) as tables:
            return reserve(tables, publication)

    async def refuse(self, ids: Sequence[str]) -> None:
        with self._step():
            for job_id in ids:
                self._state.carried.drop(job_id)

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        with self._step() as tables:
            return [revive(tables, letter) for letter in letters]

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        with self._step() as tables:
            return [begin(tables, candidate, lease) for candidate in candidates]

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self._step() as tables:
            return renew(tables, renewals, lease)

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        with self._step(len(settlements)) as tables:
            return apply(tables, settlements, call)

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        with self._step() as tables:
            return [drop(tables, envelope, reason) for envelope in envelopes]

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        with self._step() as tables:
            for key in keys:
                self._state.carried.clear(key, acknowledged, tables.now)

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        with self._step() as tables:
            errands = self._state.carried.take_unsent(older_than, limit, tables.now)
            return [tables.left_of(errand) for errand in errands]

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._state.lock:
            return _records(self._state, ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        carried = self._state.carried

        def record_of(id: str, number: int, now: float) -> ResultRecord | None:
            return carried.jobs[id].seen_record(now)

        return await list_records(self._state, carried.register, wanted, limit, after, carried.numbers.get, record_of)

    async def inbox(self) -> Inbox:
        return MemoryInbox(self._state, _records)

    async def forget(self, ids: Sequence[str]) -> int:
        with self._step() as tables:
            jobs = [tables.job(job_id) for job_id in ids]
            return sum(job.forget(tables.now) for job in jobs if job is not None)

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        with self._step() as tables:
            return [cancel(tables, job_id) for job_id in ids]

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        with self._state.lock:
            return self._state.latches.records(ids, with_data, self._state.clock.time())

    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        with self._step() as tables:
            return break_latches(tables, ids, by, cancelled)

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        with self._step() as tables:
            for job_id in jobs:
                self._state.carried.expire(job_id, tables.now + seconds, tables.now)
            for latch_id in latches:
                self._state.latches.expire(latch_id, tables.now + seconds, tables.now)

    async def pause(self, queue: str) -> None:
        with self._step():
            self._state.carried.paused.add(queue)

    async def resume(self, queue: str) -> None:
        with self._step():
            self._state.carried.paused.discard(queue)

    async def paused(self) -> frozenset[str]:
        with self._state.lock:
            return frozenset(self._state.carried.paused)

    @contextlib.contextmanager
    def _step(self, adds: int = 0) -> Iterator[MemoryTables]:
        """One step. It frees a little more than it `adds`."""
        state = self._state
        with state.lock:
            now = state.clock.time()
            if adds:
                state.carried.prune(now, adds + 64)
                state.latches.prune(now, adds + 64)
            yield MemoryTables(state, now)
            state.finish()


def _records(state: MemoryState, ids: Sequence[str]) -> list[ResultRecord | None]:
    now = state.clock.time()
    jobs = [state.carried.jobs.get(job_id) for job_id in ids]
    return [job.seen_record(now) if job is not None else None for job in jobs]
