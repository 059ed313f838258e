"""The tables of jobs whose messages travel elsewhere, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec

from heeler.brokers.carried.job import ENDS_KEPT, CarriedJob, Note, Timed
from heeler.brokers.carried.tables import CarriedTables
from heeler.brokers.sqlite import latches
from heeler.brokers.sqlite.publishing import find_answers, keep_answers
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope, decode_record, encode, encode_record
from heeler.model import (
    Arrival,
    CallId,
    DeadLetter,
    Envelope,
    Latch,
    ResultRecord,
    RunReport,
    TaskStatus,
)

__all__ = ["SqliteTables"]

T = TypeVar("T")


class _Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is left to send of a note."""

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

    def job(self, id: str) -> CarriedJob | None:
        if id not in self._jobs:
            row = self._step.row("carried_job", (id,))
            self._jobs[id] = None if row is None else _job_of(row)
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

    def note(self, key: str) -> Note | None:
        row = self._step.row("unsent", (key,))
        return None if row is None else _note_of(row)

    def write_note(self, note: Note) -> None:
        left = note.messages or note.letter
        content = encode(_Content(note.messages, note.letter)) if left else None
        self._step.run("write_unsent", (note.key, note.id, self.now, note.forget_at, content))

    def take_unsent(self, older_than: float, limit: int) -> list[Note]:
        """What nobody has sent for so long; the moment it was last taken counts."""
        notes = [_note_of(row) for row in self._step.run("unsent_before", (self.now - older_than, limit)).fetchall()]
        self._step.run_many("took_unsent", [(self.now, note.key) for note in notes])
        return notes

    def clear(self, key: str, acknowledged: bool) -> None:
        if not acknowledged:
            row = self._step.row("sent_only", (key,))
            if row is None or row[0] is not None:
                return
        row = self._step.row("drop_unsent", (key,))
        if row is None or row[0] is None:
            return
        (job,) = row
        if self._step.row("is_anything_unacknowledged", (job,)) is None:
            self._step.run("forget_carried_later", (self.now + ENDS_KEPT, job))

    def prune(self, most: int) -> None:
        """Drop a few jobs whose time is over, and notes that nobody will ever clear."""
        self._step.run("prune_carried", (self.now, most))
        for (key,) in self._step.run("stale_unsent", (self.now,)).fetchall():
            self.clear(key, acknowledged=True)
        latches.forget_old(self._step)

    def cell(self, name: str) -> bytes | None:
        row = self._step.row("cell", (name,))
        return None if row is None else cast("bytes", row[0])

    def set_cell(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._step.run("clear_cell", (name,))
        else:
            self._step.run("set_cell", (name, value))

    def publish_latch(self, latch: Latch) -> Sequence[Envelope]:
        return latches.publish(self._step, latch)

    def arrive(self, arrival: Arrival) -> Sequence[Envelope]:
        return latches.arrive(self._step, arrival)

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
        None if job.record is None else encode_record(job.record),
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
    envelope = decode_envelope(row[0])
    return CarriedJob(
        envelope=envelope,
        record=None if row[1] is None else decode_record(row[1], envelope),
        sent=row[2],
        epoch=row[3],
        expires_at=row[4],
        due_at=row[5],
        attempts=row[6],
        crashes=row[7],
        begun=bool(row[8]),
        lease_until=row[9],
        started=bool(row[10]),
        reported=bool(row[11]),
        cancelled=bool(row[12]),
        over=bool(row[13]),
        keep_until=row[14],
    )


def _note_of(row: tuple[Any, ...]) -> Note:
    key, job, forget_at, content = row
    left = _Content([], None) if content is None else _decode_content(content)
    return Note(key, job, left.messages, left.letter, forget_at)
