"""What a report, or an end without a run, makes of a job's record."""

from __future__ import annotations

import msgspec

from heeler.model.result import ErrorRecord, ResultRecord, RunReport, TaskStatus

__all__ = ["cancelled_record", "with_report"]


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
    error = ErrorRecord("heeler.errors.TaskCancelled", reason, attempt=record.attempts, at=now)
    return msgspec.structs.replace(
        record, status=TaskStatus.CANCELLED, finished_at=now, next_at=None, errors=(*record.errors, error)
    )
