"""What middleware is told after the fact: that jobs were sent, and that runs have ended for good."""

from __future__ import annotations

import enum

import msgspec

from heeler.model.result import ErrorRecord

__all__ = ["EndedRun", "RunEnd", "Sending", "SentJob", "StartedRun"]


class SentJob(msgspec.Struct, frozen=True, gc=False):
    """A job that was to be sent. `accepted`: the broker holds it now; False where it had it before, or refused it."""

    id: str
    task: str
    queue: str
    headers: dict[str, str] = {}
    accepted: bool = True


class Sending(msgspec.Struct, frozen=True):
    """One publication, from `began` to `ended` (epoch seconds). `error` is what kept it from being answered."""

    jobs: tuple[SentJob, ...]
    began: float
    ended: float
    error: BaseException | None = None


class StartedRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run that starts. `waited` is None for all runs of a job but its first; see `EndedRun`."""

    id: str
    task: str
    queue: str
    attempt: int
    worker_id: str
    started_at: float
    waited: float | None = None


class RunEnd(enum.StrEnum):
    """What became of a job with a run of it."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"  # the attempt failed, and there will be another one
    FAILED = "failed"  # for good: it is a dead letter
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    CRASHED = "crashed"  # its process died; it will be run again
    RELEASED = "released"  # given back at a shutdown
    LOST = "lost"  # the lease was lost, so the run does not count


class EndedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is over and, unless it is LOST, settled. Moments are epoch seconds of this machine.

    `started_at`, `waited` and `ran` are None for what was never started; `waited` also for all runs of a job but its
    first. `settling_at` is when the broker was told, `settled_at` when it had answered.
    """

    id: str
    task: str
    queue: str
    attempt: int  # the number of this run; the first is 1
    end: RunEnd
    worker_id: str
    enqueued_at: float
    headers: dict[str, str] = {}
    started_at: float | None = None
    waited: float | None = None  # seconds from when it might have started until it did
    ran: float | None = None  # seconds
    settling_at: float = 0.0
    settled_at: float = 0.0
    error: ErrorRecord | None = None
    follow_ups: tuple[SentJob, ...] = ()  # that became real with its end
