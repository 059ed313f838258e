"""Listing jobs, the latest publication first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from heeler.brokers.sqlite.records import KnownJob
from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.step import Step
from heeler.contracts import nothing_known_of_page_end
from heeler.model import JobFilter, ResultRecord, TaskStatus, is_past, passes

__all__ = ["list_records"]

_AT_ONCE = 500  # jobs that are looked at while the I/O thread does nothing else
_FEW = 2000  # with no more live jobs than this, only these are looked at where no others are wanted
_LIVE = frozenset({TaskStatus.READY, TaskStatus.RUNNING})

_BEYOND_ALL = (1 << 63) - 1


async def list_records(session: Session, wanted: JobFilter, limit: int, after: str | None) -> list[ResultRecord]:
    """What `ResultStore.list_records` says."""
    with session.brisk.reading() as step:
        before = _BEYOND_ALL if after is None else _seq_of(step, after)
        chosen = _few_live(step, wanted, before)
    found: list[ResultRecord] = []
    while len(found) < limit:
        with session.brisk.reading() as step:
            count = 0
            for job, known_since in _jobs(step, before, chosen):
                count += 1
                before = job.seq
                if is_past(wanted, known_since):
                    return found
                if job.forget_at is not None and job.forget_at <= step.now:
                    continue
                record = job.seen_record(step.now)
                if record is not None and passes(wanted, record):
                    found.append(record)
                    if len(found) == limit:
                        return found
        if count < _AT_ONCE:
            break
        if chosen is not None:
            chosen = chosen[_AT_ONCE:]
        await asyncio.sleep(0)
    return found


def _jobs(step: Step, before: int, chosen: Sequence[int] | None) -> Iterator[tuple[KnownJob, float]]:
    """The next jobs, and a moment before which each was published."""
    if chosen is None:
        rows = step.run("published_last", (before, _AT_ONCE))
    else:
        rows = step.run("published_last_of", (msgspec.json.encode(chosen[:_AT_ONCE]).decode(),))
    for *row, at in rows:
        yield KnownJob._make(row), at


def _seq_of(step: Step, id: str) -> int:
    row = step.row("holder_of_id", (id,))
    if row is None:
        raise nothing_known_of_page_end(id)
    seq: int = row[0]
    return seq


def _few_live(step: Step, wanted: JobFilter, before: int) -> list[int] | None:
    """The seqs of all jobs that can be wanted, the last first, if these have not ended and are few."""
    if not wanted.statuses <= _LIVE:
        return None
    ready = TaskStatus.READY in wanted.statuses
    lines = (not wanted.scheduled, ready, ready and not wanted.scheduled)
    seqs = [seq for (seq,) in step.run("live_seqs", (*lines, _FEW + 1))]
    return None if len(seqs) > _FEW else sorted((seq for seq in set(seqs) if seq < before), reverse=True)
