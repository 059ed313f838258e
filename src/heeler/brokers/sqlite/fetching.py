"""The step that leases jobs out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from heeler.brokers.sqlite.endings import end_unrun
from heeler.brokers.sqlite.passing_over import PassingOver
from heeler.brokers.sqlite.publishing import arrive
from heeler.brokers.sqlite.shares import Shares
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope
from heeler.model import Arrival

__all__ = ["Waiting", "fetch"]


class Waiting(NamedTuple):
    """A row of `next_jobs`. From `epoch` on the columns are None for a job without a history."""

    queue: int
    rank: int
    place: int
    seq: int
    expires_at: float | None
    envelope: bytes
    epoch: int | None
    attempts: int | None
    crashes: int | None
    suspect: int | None
    note: bytes | None
    held: int | None
    started: int | None
    cancelled: int | None


_rows = Waiting._make


def fetch(
    step: Step, shares: Shares, passing_over: PassingOver, lease: float, limit: int, max_bytes: int
) -> list[Waiting]:
    """Lease jobs until `lease` seconds from now; the rows as they were before that.

    What has come back by time is in the queues already, and `passing_over` has begun.
    """
    paused = {number for (number,) in step.run("paused_queues")}
    queues = [queue for queue in shares.queues if queue not in paused]
    front = _Front(step, max_bytes, passing_over)
    taken: list[Waiting] = []
    until = step.now + lease
    if limit <= 0:
        return taken
    if shares.is_strict:
        for queue in queues:
            rows = front.rows(queue, limit - len(taken))
            if rows:
                front.lease(queue, rows, until)
                taken += rows
                if len(taken) >= limit or front.left < 0:
                    break
                front.max_bytes = front.left
    else:
        waiting = {queue: rows for queue in queues if (rows := front.rows(queue, limit))}
        left = max_bytes
        for row in shares.pick(waiting):
            taken.append(row)
            left -= _body_size(row)
            if len(taken) >= limit or left < 0:
                break
        front.lease_each(taken, until)
        leased = {row.seq for row in taken}
        front.leave(row for rows in waiting.values() for row in rows if row.seq not in leased)
    lapsed = [(row.seq,) for row in taken if row.held]
    if lapsed:
        step.run_many("charge_lapse", lapsed)
    arrive(step, front.arrivals)
    return taken


class _Front:
    """The first waiting jobs of queues, as far as they may be taken.

    Jobs that were cancelled while a lost worker had them end on the way; `arrivals` is what to tell their latches.
    """

    __slots__ = ("_passing_over", "_step", "arrivals", "left", "max_bytes")

    def __init__(self, step: Step, max_bytes: int, passing_over: PassingOver) -> None:
        self._step = step
        self._passing_over = passing_over
        self.max_bytes = self.left = max_bytes
        self.arrivals: list[Arrival] = []

    def rows(self, queue: int, limit: int) -> list[Waiting]:
        while True:
            rows = self._read(queue, limit)
            doomed = [row for row in rows if row.cancelled]
            if not doomed:
                return rows
            self.leave(rows)
            for row in doomed:
                self._step.run("leave_ready", (queue, row.rank, row.place))
                envelope = decode_envelope(row.envelope)
                reason = "cancelled while it ran on a worker that was lost"
                self.arrivals += end_unrun(self._step, row.seq, envelope, reason)

    def leave(self, rows: Iterable[Waiting]) -> None:
        """These are not taken after all."""
        for row in rows:
            self._passing_over.left(row.queue, row.rank, row.place)

    def _read(self, queue: int, limit: int) -> list[Waiting]:
        rows: list[Waiting] = []
        self.left = self.max_bytes
        skips = self._passing_over.skips
        if skips is None:
            self._take(self._step.run("next_jobs", (queue, limit)), rows)
            return rows
        for rank, place in self._passing_over.levels(self._step, queue):
            wanted = limit - len(rows)
            self._take(self._step.run("next_jobs_but", (queue, rank, place, skips, wanted)), rows)
            if self.left < 0 or len(rows) == limit:
                if rows[-1].rank == rank:
                    self._passing_over.looked_until(queue, rank, rows[-1].place)
                break
            self._passing_over.looked(self._step, queue, rank)
        return rows

    def _take(self, cursor: sqlite3.Cursor, rows: list[Waiting]) -> None:
        """Add what the cursor gives to the rows, as far as `max_bytes` reaches."""
        for row in map(_rows, cursor):
            rows.append(row)
            # An envelope is larger than its body: as long as whole envelopes fit nobody need look into them.
            self.left -= len(row.envelope)
            if self.left < 0:
                self.left = self.max_bytes - sum(map(_body_size, rows))
                if self.left < 0:
                    break
        cursor.close()

    def lease(self, queue: int, rows: Sequence[Waiting], until: float) -> None:
        """Lease the first jobs of a queue: two statements for any number of them."""
        if self._passing_over.skips is not None:
            self.lease_each(rows, until)
            return
        last = rows[-1]
        self._step.run("lease_front", (until, queue, last.rank, last.place))
        self._step.run("leave_front", (queue, last.rank, last.place))

    def lease_each(self, rows: Sequence[Waiting], until: float) -> None:
        """Lease jobs that need not be the first of one queue."""
        self._step.run_many("lease", [(row.seq, 1 + (row.epoch or 0), until) for row in rows])
        self._step.run_many("leave_ready", [(row.queue, row.rank, row.place) for row in rows])


def _body_size(row: Waiting) -> int:
    try:
        return len(decode_envelope(row.envelope).body)
    except msgspec.DecodeError:
        return len(row.envelope)
