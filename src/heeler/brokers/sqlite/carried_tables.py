"""The tables of jobs whose messages travel elsewhere, within one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec

from heeler.brokers.carried.job import ENDS_KEPT, CarriedJob, Errand, Timed
from heeler.brokers.carried.tables import CarriedTables
from heeler.brokers.sqlite import latches
from heeler.brokers.sqlite.publishing import find_answers, keep_answers
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope, encode
from heeler.model import (
    Arrival,
    CallId,
    DeadLetter,
    Envelope,
    Latch,
    ResultRecord,
    RunReport,
    TaskStatus,
    decode_bare_record,
    encode_bare_record,
)

__all__ = ["SqliteTables"]

T = TypeVar("T")


_AT_ONCE = 500  # keys in one statement


class _Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is left to send of an errand."""

    messages: list[Timed]
    letter: DeadLetter | None


_decode_content = msgspec.msgpack.Decoder(_Content).decode


class SqliteTables(CarriedTables):
    """Reads each job once in a step: a step's later reads must see what it has changed."""

    def __init__(self, step: Step) -> None:
        self.now = step.now
        self._step = step
        self._jobs: dict[str, CarriedJob | None] = {}
        self._paused: frozenset[str] | None = None

    def load(self, ids: Sequence[str]) -> None:
        """Read these jobs at once: they will be asked for."""
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            self._jobs.update(dict.fromkeys(some))
            for row in self._step.run("carried_jobs", (_json(some),)):
                self._jobs[row[0]] = _job_of(row)

    def taken_down_last(self, before: int, limit: int) -> Iterator[tuple[int, CarriedJob]]:
        """Jobs by the number of their row, those below `before`, the largest first."""
        for rowid, *row in self._step.run("carried_last", (before, limit)):
            yield rowid, _job_of(tuple(row))

    def job(self, id: str) -> CarriedJob | None:
        if id not in self._jobs:
            self.load((id,))
        return self._jobs[id]

    def add(self, job: CarriedJob) -> None:
        self._jobs[job.envelope.id] = job
        self._step.run("add_carried", (job.envelope.id, encode(job.envelope), *_columns(job)))

    def save(self, job: CarriedJob) -> None:
        self._step.run("save_carried", (*_columns(job), job.envelope.id))

    def drop(self, id: str) -> None:
        self._jobs[id] = None
        self._step.run("drop_carried", (id,))

    def paused(self) -> frozenset[str]:
        if self._paused is None:
            self._paused = frozenset(queue for (queue,) in self._step.run("carried_paused"))
        return self._paused

    def is_paused(self, queue: str) -> bool:
        return queue in self.paused()

    def errand(self, key: str) -> Errand | None:
        row = self._step.row("unsent", (key,))
        return None if row is None else _errand_of(row)

    def write_errand(self, errand: Errand) -> None:
        left = errand.messages or errand.letter
        content = encode(_Content(errand.messages, errand.letter)) if left else None
        self._step.run("write_unsent", (errand.key, errand.id, self.now, errand.forget_at, content))

    def take_unsent(self, older_than: float, limit: int) -> list[Errand]:
        """What nobody has sent for so long; the moment it was last taken counts."""
        errands = [
            _errand_of(row) for row in self._step.run("unsent_before", (self.now - older_than, limit)).fetchall()
        ]
        self._step.run_many("took_unsent", [(self.now, errand.key) for errand in errands])
        return errands

    def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            some = _json(keys[start : start + _AT_ONCE])
            if not acknowledged:
                self._step.run("sent_only", (some,))
            dropped = self._step.run("drop_unsent", (some, acknowledged)).fetchall()
            jobs = [job for (job,) in dropped if job is not None]
            if jobs:
                self._step.run("forget_carried_later", (self.now + ENDS_KEPT, _json(jobs)))

    def prune(self, most: int) -> None:
        """Drop a few jobs whose time is over, and errands that nobody will ever clear."""
        self._step.run("prune_carried", (self.now, most))
        stale = [key for (key,) in self._step.run("stale_unsent", (self.now,)).fetchall()]
        self.clear(stale, acknowledged=True)
        latches.forget_old(self._step)

    def cell(self, name: str) -> bytes | None:
        row = self._step.row("cell", (name,))
        return None if row is None else cast("bytes", row[0])

    def set_cell(self, name: str, value: bytes | None, due_at: float | None) -> None:
        if value is None:
            self._step.run("clear_cell", (name,))
        else:
            self._step.run("set_cell", (name, value, due_at))

    def publish_latch(self, latch: Latch) -> Sequence[Envelope]:
        return latches.publish(self._step, latch)

    def arrive(self, arrival: Arrival) -> Sequence[Envelope]:
        return latches.arrive(self._step, arrival)

    def break_latch(self, id: str, by: str, cancelled: bool) -> Sequence[Envelope] | None:
        return latches.break_(self._step, id, by, cancelled)

    def recall(self, verb: str, call: CallId | None, kind: type[T]) -> T | None:
        known = None if call is None else find_answers(self._step, verb, call)
        return None if known is None else msgspec.msgpack.decode(known, type=kind)

    def remember(self, verb: str, call: CallId | None, answer: object) -> None:
        if call is not None:
            keep_answers(self._step, verb, call, encode(answer))

    def tell(
        self,
        job: CarriedJob,
        status: TaskStatus,
        record: ResultRecord | None = None,
        report: RunReport | None = None,
    ) -> None:
        next_at = (
            job.due_at if status is TaskStatus.READY and job.due_at is not None and job.due_at > self.now else None
        )
        self._step.event(job.envelope, status, report, next_at)


def _columns(job: CarriedJob) -> tuple[Any, ...]:
    return (
        None if job.record is None else encode_bare_record(job.record),
        job.sent,
        job.epoch,
        job.expires_at,
        job.due_at,
        job.attempts,
        job.crashes,
        job.begun,
        job.lease_until,
        job.started,
        job.reported,
        job.cancelled,
        job.over,
        job.keep_until,
    )


def _job_of(row: tuple[Any, ...]) -> CarriedJob:
    envelope = decode_envelope(row[1])
    return CarriedJob(
        envelope=envelope,
        record=None if row[2] is None else decode_bare_record(row[2], envelope),
        sent=row[3],
        epoch=row[4],
        expires_at=row[5],
        due_at=row[6],
        attempts=row[7],
        crashes=row[8],
        begun=bool(row[9]),
        lease_until=row[10],
        started=bool(row[11]),
        reported=bool(row[12]),
        cancelled=bool(row[13]),
        over=bool(row[14]),
        keep_until=row[15],
    )


def _errand_of(row: tuple[Any, ...]) -> Errand:
    key, job, forget_at, content = row
    left = _Content([], None) if content is None else _decode_content(content)
    return Errand(key, job, left.messages, left.letter, forget_at)


def _json(keys: Sequence[str]) -> str:
    return msgspec.json.encode(keys).decode()
