"""What is stored about a job and its runs, and what is pushed to those who wait."""

from __future__ import annotations

import enum

import msgspec

from heeler.model.envelope import Envelope

__all__ = ["ErrorRecord", "Notice", "ResultRecord", "RunInfo", "RunNote", "RunReport", "TaskStatus"]


class TaskStatus(enum.StrEnum):
    """Where a job is in its life. Waiting for a delay, a retry or a predecessor is READY."""

    READY = "READY"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"
    CANCELLED = "CANCELLED"

    @property
    def is_finished(self) -> bool:
        return self in _FINISHED


_FINISHED = frozenset({TaskStatus.FAILED, TaskStatus.SUCCESSFUL, TaskStatus.CANCELLED})


class ErrorRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One error of a run: class path, text, formatted traceback, the attempt it ended, when (epoch seconds).

    `arguments` is the MessagePack of the exception's own arguments where they can be written that way, so that it
    can be rebuilt; `bases` are the dotted paths of the class's bases.
    """

    exception_class_path: str
    message: str
    traceback: str = ""
    attempt: int = 0
    at: float = 0.0
    arguments: bytes = b""
    bases: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Class and text as Python ends a traceback with them: `ValueError: no such picture`."""
        return f"{self.exception_class_path.removeprefix('builtins.')}: {self.message}"


class RunNote(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The small state that one run leaves for the next run of the same job."""

    errors: tuple[ErrorRecord, ...] = ()
    started_at: float | None = None
    worker_ids: tuple[str, ...] = ()
    saved: bytes | None = None
    unknown: int = 0  # how often it met a worker that does not know its task


class RunInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run may know of itself: the facts behind a `TaskContext`. Crosses to pool children as it is."""

    id: str
    task: str
    queue_name: str
    attempt: int  # the number of this run; the first is 1
    max_attempts: int | None = 1
    crashes: int = 0
    deadline: float | None = None  # epoch seconds at which `timeout` ends the run
    enqueued_at: float = 0.0
    headers: dict[str, str] = {}
    previous_error: ErrorRecord | None = None
    worker_id: str = ""
    saved: bytes | None = None  # what an earlier run of this job saved, encoded like a return value


class RunReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a running job says of itself in between: carried by a lease renewal, coalesced."""

    started_at: float | None = None
    at: float = 0.0
    attempt: int = 0
    worker_id: str = ""
    fraction: float | None = None
    message: str | None = None
    saved: bytes | None = None  # encoded like a return value


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that is known of a job. `value` and `saved` are encoded by the codec of `content_type`."""

    envelope: Envelope
    status: TaskStatus = TaskStatus.READY
    attempts: int = 0
    crashes: int = 0
    max_attempts: int | None = 1
    started_at: float | None = None  # of the first run
    last_attempted_at: float | None = None
    finished_at: float | None = None
    next_at: float | None = None  # READY with a due time
    worker_ids: tuple[str, ...] = ()
    errors: tuple[ErrorRecord, ...] = ()
    content_type: str = ""
    value: bytes | None = None
    saved: bytes | None = None
    fraction: float | None = None
    message: str | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something happened to a job that somebody waits for. `record` may be absent: then it is to be read."""

    id: str
    status: TaskStatus
    record: ResultRecord | None = None
    report: RunReport | None = None
    next_at: float | None = None
