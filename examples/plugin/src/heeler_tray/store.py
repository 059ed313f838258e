"""A result store: `results="tray://name"` remembers, inside this process, jobs whose messages a plain broker carries.

What has to be remembered, and when, is decided by the steps of `heeler.brokers.carried`. A store gives them its tables
(`TrayTables`: in a database each method would be a statement), and lets each step happen as a whole (`_step`: there
it would be a transaction).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from heeler.brokers.carried.apply import apply, cancel, drop
from heeler.brokers.carried.job import ENDS_KEPT, CarriedJob, Errand
from heeler.brokers.carried.reserve import break_latches, reserve, revive
from heeler.brokers.carried.run import begin, renew
from heeler.brokers.carried.tables import CarriedTables
from heeler.brokers.memory.latches import LatchTable
from heeler.clock import Clock, new_id
from heeler.contracts import (
    Applied,
    Begun,
    Cancelled,
    Candidate,
    Inbox,
    OrderedStore,
    Reserved,
    Unsent,
    nothing_known_of_page_end,
)
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
    is_past,
    known_since,
    passes,
)
from heeler.url import BrokerUrl

__all__ = ["TrayStore", "store_from_url"]

T = TypeVar("T")

TIDY_EVERY = 500  # steps
ANSWERS_KEPT = 120.0  # seconds


def store_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> TrayStore:
    """What the entry point names."""
    url.finish(())
    return TrayStore(url.name or "default", clock=clock, namespace=namespace)


class Book:
    """All that is remembered under one name, and who wants to hear of what."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jobs: dict[str, CarriedJob] = {}  # in the order in which they were taken down
        self.errands: dict[str, Errand] = {}  # what has to be sent
        self.unsent_since: dict[str, float] = {}
        self.remembered_until: dict[str, float] = {}  # by job: a message that has ended may come once more
        self.cells: dict[str, bytes] = {}
        self.answers: dict[tuple[str, CallId], tuple[float, object]] = {}
        self.paused: set[str] = set()
        self.inboxes: dict[str, TrayInbox] = {}
        self.latches = LatchTable(self.tell)
        self.steps = 0

    def record(self, id: str, now: float) -> ResultRecord | None:
        job = self.jobs.get(id)
        return job.seen_record(now) if job is not None else None

    def tell(self, notice: Notice, reply_to: str | None) -> None:
        for inbox in list(self.inboxes.values()):
            if inbox.address == reply_to or notice.id in inbox.watched:
                inbox.put(notice)

    def tidy(self, now: float) -> None:
        """Forget what nobody needs any more. A database would have an index for these questions."""
        for errand in list(self.errands.values()):
            if errand.forget_at <= now:
                self.drop_errand(errand, now)
        busy = {errand.id for errand in self.errands.values()}
        for id, job in list(self.jobs.items()):
            if job.over and id not in busy and max(job.keep_until, self.remembered_until.get(id, 0.0)) <= now:
                del self.jobs[id]
                self.remembered_until.pop(id, None)
        self.answers = {key: one for key, one in self.answers.items() if one[0] + ANSWERS_KEPT > now}
        self.latches.prune(now, len(self.jobs) + TIDY_EVERY)

    def drop_errand(self, errand: Errand, now: float) -> None:
        del self.errands[errand.key], self.unsent_since[errand.key]
        if errand.id is not None:
            self.remembered_until[errand.id] = now + ENDS_KEPT


_books: dict[tuple[str, str], Book] = {}
os.register_at_fork(after_in_child=_books.clear)  # a forked child begins with nothing


@dataclass
class TrayTables(CarriedTables):
    """The tables within one step. `told` is for the inboxes, when the step is over."""

    book: Book
    now: float
    told: list[tuple[Notice, str | None]] = field(default_factory=list)

    def job(self, id: str) -> CarriedJob | None:
        return self.book.jobs.get(id)

    def add(self, job: CarriedJob) -> None:
        self.book.jobs.pop(job.envelope.id, None)
        self.book.jobs[job.envelope.id] = job

    def save(self, job: CarriedJob) -> None:
        pass  # what stands in the book is the job itself

    def is_paused(self, queue: str) -> bool:
        return queue in self.book.paused

    def errand(self, key: str) -> Errand | None:
        return self.book.errands.get(key)

    def write_errand(self, errand: Errand) -> None:
        self.book.errands[errand.key] = errand
        self.book.unsent_since[errand.key] = self.now

    def cell(self, name: str) -> bytes | None:
        return self.book.cells.get(name)

    def set_cell(self, name: str, value: bytes | None, due_at: float | None) -> None:
        if value is None:
            self.book.cells.pop(name, None)
        else:
            self.book.cells[name] = value

    def publish_latch(self, latch: Latch) -> Sequence[Envelope]:
        return self.book.latches.publish(latch, self.now)

    def arrive(self, arrival: Arrival) -> Sequence[Envelope]:
        return self.book.latches.arrive(arrival, self.now)

    def break_latch(self, id: str, by: str, cancelled: bool) -> Sequence[Envelope] | None:
        return self.book.latches.break_(id, by, cancelled, self.now)

    def recall(self, verb: str, call: CallId | None, kind: type[T]) -> T | None:
        known = self.book.answers.get((verb, call)) if call is not None else None
        return cast("T", known[1]) if known is not None else None

    def remember(self, verb: str, call: CallId | None, answer: object) -> None:
        if call is not None:
            self.book.answers[verb, call] = (self.now, answer)

    def tell(
        self,
        job: CarriedJob,
        status: TaskStatus,
        record: ResultRecord | None = None,
        report: RunReport | None = None,
    ) -> None:
        record = record or job.current_record(self.now)
        next_at = record.next_at if record is not None else None
        notice = Notice(id=job.envelope.id, status=status, record=record, report=report, next_at=next_at)
        self.told.append((notice, job.envelope.reply_to))


class TrayInbox(Inbox):
    """News for one process, on the loop of whoever opened it; told from any thread."""

    def __init__(self, book: Book, clock: Clock) -> None:
        self.address = f"tray:{new_id()}"
        self.watched: set[str] = set()
        self._book = book
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._notices: asyncio.Queue[Notice] = asyncio.Queue()
        with book.lock:
            book.inboxes[self.address] = self

    def put(self, notice: Notice) -> None:
        try:
            self._loop.call_soon_threadsafe(self._notices.put_nowait, notice)
        except RuntimeError:  # its loop is closed: nobody will ever read it
            self._book.inboxes.pop(self.address, None)

    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._book.lock:
            self.watched.update(ids)
            return [self._book.record(id, self._clock.time()) for id in ids]

    async def unwatch(self, ids: Sequence[str]) -> None:
        with self._book.lock:
            self.watched.difference_update(ids)

    async def receive(self) -> list[Notice]:
        return [await self._notices.get()]

    async def close(self) -> None:
        with self._book.lock:
            self._book.inboxes.pop(self.address, None)


class TrayStore(OrderedStore):
    """All stores of one namespace and name share one book."""

    shared = False  # with other processes
    durable = False

    def __init__(self, name: str, *, clock: Clock, namespace: str) -> None:
        self._clock = clock
        self._book = _books.setdefault((namespace, name), Book())

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    # Publishing

    async def reserve(self, publication: Publication) -> Reserved:
        with self._step() as tables:
            return reserve(tables, publication)

    async def refuse(self, ids: Sequence[str]) -> None:
        with self._step() as tables:
            for id in ids:
                tables.book.jobs.pop(id, None)

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        with self._step() as tables:
            return [revive(tables, letter) for letter in letters]

    # Running

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        with self._step() as tables:
            return [begin(tables, candidate, lease) for candidate in candidates]

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self._step() as tables:
            return renew(tables, renewals, lease)

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        with self._step() as tables:
            return apply(tables, settlements, call)

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        with self._step() as tables:
            return [drop(tables, envelope, reason) for envelope in envelopes]

    # Sending

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        with self._step() as tables:
            for errand in [tables.book.errands[key] for key in keys if key in tables.book.errands]:
                if acknowledged or errand.id is None:
                    tables.book.drop_errand(errand, tables.now)
                else:
                    errand.messages, errand.letter = [], None

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        with self._step() as tables:
            old = [
                errand
                for key, errand in tables.book.errands.items()
                if (errand.messages or errand.letter) and tables.book.unsent_since[key] + older_than <= tables.now
            ][:limit]
            tables.book.unsent_since.update((errand.key, tables.now) for errand in old)
            return [tables.left_of(errand) for errand in old]

    # Looking and cancelling

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._step() as tables:
            return [tables.book.record(id, tables.now) for id in ids]

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        with self._step() as tables:
            ids = list(reversed(tables.book.jobs))
            if after is not None:
                if after not in tables.book.jobs:
                    raise nothing_known_of_page_end(after)
                ids = ids[ids.index(after) + 1 :]
            found: list[ResultRecord] = []
            for id in ids:
                record = tables.book.record(id, tables.now)
                if record is None:
                    continue
                if len(found) == limit or is_past(wanted, known_since(record)):
                    break
                if passes(wanted, record):
                    found.append(record)
            return found

    async def inbox(self) -> Inbox:
        return TrayInbox(self._book, self._clock)

    async def forget(self, ids: Sequence[str]) -> int:
        with self._step() as tables:
            return sum(job.forget(tables.now) for id in ids if (job := tables.job(id)) is not None)

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        with self._step() as tables:
            return [cancel(tables, id) for id in ids]

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        with self._step() as tables:
            return tables.book.latches.records(ids, with_data, tables.now)

    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        with self._step() as tables:
            return break_latches(tables, ids, by, cancelled)

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        with self._step() as tables:
            for id in jobs:
                job = tables.job(id)
                if job is not None:
                    job.expire(tables.now + seconds, tables.now)
            for id in latches:
                tables.book.latches.expire(id, tables.now + seconds, tables.now)

    # Queues

    async def pause(self, queue: str) -> None:
        with self._step() as tables:
            tables.book.paused.add(queue)

    async def resume(self, queue: str) -> None:
        with self._step() as tables:
            tables.book.paused.discard(queue)

    async def paused(self) -> frozenset[str]:
        with self._step() as tables:
            return frozenset(tables.book.paused)

    @contextlib.contextmanager
    def _step(self) -> Iterator[TrayTables]:
        """All or nothing, at one moment of the store's clock. Memory has nothing to undo; a database would."""
        book = self._book
        with book.lock:
            tables = TrayTables(book, self._clock.time())
            book.steps += 1
            if book.steps % TIDY_EVERY == 0:
                book.tidy(tables.now)
            yield tables
            for notice, reply_to in tables.told:
                book.tell(notice, reply_to)
