"""What the memory broker knows of one job that has not ended, and how that reads as a record."""

from __future__ import annotations

import enum
from typing import TypeGuard

import msgspec

from heeler.model import Envelope, Receipt, ResultRecord, TaskStatus, expired_record

__all__ = ["Job", "Phase", "current_record", "has_expired", "holds", "seen_record"]


class Phase(enum.Enum):
    """Where a job is; exactly one table of the broker finds it there."""

    WAITING = "WAITING"  # in a line of its queue
    SCHEDULED = "SCHEDULED"  # in its queue's timetable
    LEASED = "LEASED"
    OVER = "OVER"  # ended: a line or timetable may still hold a stale entry of it


class Job(msgspec.Struct, gc=False, eq=False, kw_only=True):
    """One job. `epoch` is that of its last lease.

    `held`: the holder of that lease has not ended it. A lease that ran out stays held until the next one begins,
    so its holder may still settle or renew; only then is it lost. `started`, `reported` and `lease_until` belong
    to that lease.
    """

    envelope: Envelope
    number: int  # tells jobs apart that had the same id one after the other: the tag of its receipts
    sequence: int  # its place in the order
    epoch: int
    since: float  # when it could start first, or again after a retry
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    note: bytes = b""
    due_at: float | None = None
    expires_at: float | None = None
    phase: Phase = Phase.WAITING
    held: bool = False
    started: bool = False
    reported: bool = False
    cancelled: bool = False
    lease_until: float = 0.0
    ticket: int = 0  # which of its entries in a line's heap is the valid one
    record: ResultRecord | None = None  # what runs left behind; None while nothing is known beyond the envelope


def current_record(job: Job, now: float) -> ResultRecord:
    """The record of a job that has not ended, as a reader sees it now, wherever the tables still have it."""
    running = job.reported and job.phase is Phase.LEASED and job.lease_until > now
    scheduled = job.phase is Phase.SCHEDULED and job.due_at is not None and job.due_at > now
    return msgspec.structs.replace(
        job.record if job.record is not None else ResultRecord(envelope=job.envelope),
        status=TaskStatus.RUNNING if running else TaskStatus.READY,
        attempts=job.attempts,
        crashes=job.crashes,
        next_at=job.due_at if scheduled else None,
    )


def has_expired(job: Job, now: float) -> bool:
    """Whether the job waits and nobody may start it any more: the next fetch gives it to a worker that ends it."""
    return (
        job.expires_at is not None
        and job.expires_at <= now
        and not job.held
        and (job.phase is Phase.WAITING or job.phase is Phase.SCHEDULED)
    )


def seen_record(job: Job, now: float) -> ResultRecord:
    """`current_record` for users: one that has expired is over for them."""
    record = current_record(job, now)
    if not has_expired(job, now):
        return record
    assert job.expires_at is not None
    return expired_record(record, job.expires_at)


def holds(job: Job | None, receipt: Receipt) -> TypeGuard[Job]:
    """Whether the receipt is that of the job's current lease, which its holder has not ended."""
    return job is not None and job.epoch == receipt.epoch and job.held and job.number == receipt.tag
