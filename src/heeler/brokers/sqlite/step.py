"""One write transaction on its way: its time, its statements, and what is to be told when it is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from heeler.brokers.sqlite.statements import Statements
from heeler.model import Envelope, RunReport, TaskStatus

__all__ = ["Event", "Limits", "Numbers", "Step"]


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What happened to a job, as it is sent to those who wait."""

    id: str
    status: TaskStatus
    report: RunReport | None = None
    next_at: float | None = None


class Limits:
    """What the broker was configured to take and keep."""

    __slots__ = ("dead_letter_limit", "dead_letter_ttl", "max_payload")

    def __init__(self, max_payload: int, dead_letter_ttl: float, dead_letter_limit: int) -> None:
        self.max_payload = max_payload
        self.dead_letter_ttl = dead_letter_ttl
        self.dead_letter_limit = dead_letter_limit


class Numbers:
    """The numbers of queues and tasks that this process has met. Rows of them are never deleted."""

    __slots__ = ("queues", "tasks")

    def __init__(self) -> None:
        self.queues: dict[str, int] = {}
        self.tasks: dict[str, int] = {}


class Step:
    """What functions of this broker work on between BEGIN and COMMIT.

    `new_ready` counts jobs that came to wait, by queue and task; `new_due` is the earliest time of newly scheduled
    ones by queue; `events` is what happened to jobs that somebody may wait for. From these follow, at the end of the
    step, `woken` (sleepers taken off the list, with a queue each) and `news` (what to tell whom), sent once it is
    committed.
    """

    __slots__ = (
        "_new_queues",
        "_new_tasks",
        "_numbers",
        "_raw",
        "buried",
        "events",
        "limits",
        "new_due",
        "new_ready",
        "news",
        "now",
        "returned",
        "sql",
        "woken",
    )

    def __init__(self, raw: sqlite3.Connection, sql: Statements, numbers: Numbers, limits: Limits, now: float) -> None:
        self._raw = raw
        self._numbers = numbers
        self._new_queues: dict[str, int] | None = None
        self._new_tasks: dict[str, int] | None = None
        self.sql = sql
        self.limits = limits
        self.now = now
        self.buried = False  # a dead letter was added
        self.returned = False  # a job came back to an earlier place
        self.new_ready: dict[tuple[int, int], int] = {}
        self.new_due: dict[int, float] = {}
        self.events: list[tuple[Event, str | None]] = []
        self.woken: list[tuple[int, str]] = []
        self.news: dict[str, list[Event]] = {}

    def run(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._raw.execute(self.sql[name], parameters)

    def run_many(self, name: str, rows: Iterable[Sequence[Any]]) -> int:
        """How many rows were changed."""
        return self._raw.executemany(self.sql[name], rows).rowcount

    def row(self, name: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        return self._raw.execute(self.sql[name], parameters).fetchone()

    def next_seq(self) -> int:
        """The number from which on jobs are added; adding them gives it out."""
        seq: int = self.row("next_seq")[0]
        return seq

    def draw_place(self) -> int:
        """A place behind all others."""
        place: int = self.row("draw_place")[0]
        return place

    def drop_jobs(self, seqs: Sequence[tuple[int]]) -> None:
        self.run_many("drop_job", seqs)
        self.run("never_again", max(seqs))

    def queue(self, name: str) -> int:
        number = self._numbers.queues.get(name)
        if number is None:
            if self._new_queues is None:
                self._new_queues = {}
            number = self._new_queues.get(name)
            if number is None:
                number = self._new_queues[name] = self.row("queue_number", (name,))[0]
        return number

    def task(self, name: str) -> int:
        number = self._numbers.tasks.get(name)
        if number is None:
            if self._new_tasks is None:
                self._new_tasks = {}
            number = self._new_tasks.get(name)
            if number is None:
                number = self._new_tasks[name] = self.row("task_number", (name,))[0]
        return number

    def committed(self) -> None:
        """What was new in this step is known for good."""
        if self._new_queues is not None:
            self._numbers.queues.update(self._new_queues)
        if self._new_tasks is not None:
            self._numbers.tasks.update(self._new_tasks)

    def work_for(self, queue: int, task: int) -> None:
        key = (queue, task)
        self.new_ready[key] = self.new_ready.get(key, 0) + 1

    def put_back(self, jobs: Sequence[tuple[int, int, int, int, int]]) -> None:
        """Jobs (queue, rank, place, seq, task) wait again, perhaps at places that they had before."""
        self.run_many("make_ready", jobs)
        for queue, _, _, _, task in jobs:
            self.work_for(queue, task)
        self.returned = True

    def due_for(self, queue: int, at: float) -> None:
        self.new_due[queue] = min(at, self.new_due.get(queue, at))

    def event(
        self, envelope: Envelope, status: TaskStatus, report: RunReport | None = None, next_at: float | None = None
    ) -> None:
        """Something happened to a job that its `reply_to`, or somebody who watches it, wants to know."""
        self.events.append((Event(envelope.id, status, report, next_at), envelope.reply_to))

    def latch_event(self, id: str, status: TaskStatus, reply_to: str | None) -> None:
        """The state of a latch has changed."""
        self.events.append((Event(id, status), reply_to))
