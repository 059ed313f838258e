"""What a report, or an end without a run, makes of a job's record."""

from __future__ import annotations

import msgspec

from heeler.model.envelope import Envelope
from heeler.model.result import ErrorRecord, ResultRecord, RunReport, TaskStatus

__all__ = ["cancelled_record", "ended_by_expiry", "expired_record", "expiry_error", "own_error", "with_report"]

_encode = msgspec.msgpack.Encoder().encode


def with_report(record: ResultRecord, report: RunReport) -> ResultRecord:
    """The record after a run has reported: what the report leaves out stays as it was."""
    workers = record.worker_ids
    if report.worker_id and (not workers or workers[-1] != report.worker_id):
        workers = (*workers, report.worker_id)
    return msgspec.structs.replace(
        record,
        started_at=record.started_at if record.started_at is not None else report.started_at,
        last_attempted_at=report.started_at if report.started_at is not None else record.last_attempted_at,
        worker_ids=workers,
        fraction=report.fraction if report.fraction is not None else record.fraction,
        message=report.message if report.message is not None else record.message,
        saved=report.saved if report.saved is not None else record.saved,
    )


def cancelled_record(record: ResultRecord, reason: str, now: float) -> ResultRecord:
    """The record of a job that ends without a run."""
    error = own_error("TaskCancelled", reason, attempt=record.attempts, at=now)
    return msgspec.structs.replace(
        record, status=TaskStatus.CANCELLED, finished_at=now, next_at=None, errors=(*record.errors, error)
    )


def expired_record(record: ResultRecord, expires_at: float) -> ResultRecord:
    """What readers see of a job that nobody may start any more, before a worker has met and ended it."""
    at = ended_by_expiry(record.envelope, expires_at)
    error = expiry_error(record.attempts, at)
    return msgspec.structs.replace(
        record, status=TaskStatus.FAILED, finished_at=at, next_at=None, errors=(*record.errors, error)
    )


def ended_by_expiry(envelope: Envelope, expires_at: float) -> float:
    """When an expired job ended, whoever notices it and however late."""
    return max(expires_at, envelope.enqueued_at)


def expiry_error(attempts: int, at: float) -> ErrorRecord:
    return own_error(
        "Expired", "the job was not started before its `expires`, so it was not run", attempt=attempts, at=at
    )


def own_error(name: str, text: str, *, attempt: int, at: float) -> ErrorRecord:
    """An error of Heeler's that no code raised: there is no traceback behind it."""
    return ErrorRecord(
        f"heeler.errors.{name}",
        text,
        attempt=attempt,
        at=at,
        arguments=_encode((text,)),
        bases=("heeler.errors.HeelerError", "builtins.Exception", "builtins.BaseException"),
    )
