"""Which jobs somebody wants to see in a list."""

from __future__ import annotations

import msgspec

from heeler.model.result import ResultRecord, TaskStatus

__all__ = ["JobFilter", "is_past", "known_since", "passes"]

_CLOCKS_DIFFER = 60.0  # seconds that the clocks of producers and workers may be apart


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a job must be like to be listed; what is left out lets all through.

    `scheduled`: READY with a due time in the future. `since` is the earliest `enqueued_at`, in epoch seconds.
    """

    statuses: frozenset[TaskStatus] = frozenset(TaskStatus)
    scheduled: bool = False
    queue: str | None = None
    task: str | None = None
    since: float | None = None


def passes(wanted: JobFilter, record: ResultRecord) -> bool:
    """Whether the job is one of those that are wanted."""
    envelope = record.envelope
    return (
        record.status in wanted.statuses
        and (not wanted.scheduled or (record.status is TaskStatus.READY and record.next_at is not None))
        and (wanted.queue is None or envelope.queue == wanted.queue)
        and (wanted.task is None or envelope.task == wanted.task)
        and (wanted.since is None or envelope.enqueued_at >= wanted.since)
    )


def is_past(wanted: JobFilter, moment: float | None) -> bool:
    """Whether nothing that was published before this moment can be wanted: it was enqueued too early."""
    return wanted.since is not None and moment is not None and moment < wanted.since - _CLOCKS_DIFFER


def known_since(record: ResultRecord) -> float | None:
    """A moment before which the job was published, if its record tells of one."""
    return record.started_at if record.started_at is not None else record.finished_at
