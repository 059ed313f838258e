"""Reports: the steps of a job's life as they are pushed to who follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from heeler.model import Notice, ResultRecord, TaskStatus

__all__ = ["Report", "moment", "report_of_notice", "report_of_record", "steps_between"]


def moment(seconds: float | None) -> datetime | None:
    """Epoch seconds as an aware datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """A step in a job's life.

    `kind` is sent, running, progress, retrying or finished; `at` when; `attempt` the run it speaks of;
    `fraction` and `message` are what the task said last; `next_at` is when a retry is due.
    """

    kind: Literal["sent", "running", "progress", "retrying", "finished"]
    at: datetime
    attempt: int = 0
    fraction: float | None = None
    message: str | None = None
    next_at: datetime | None = None


def report_of_record(record: ResultRecord) -> Report | None:
    """Where the job stands; None if nothing has happened since it was sent."""
    status = record.status
    if status.is_finished:
        return _report("finished", record.finished_at, record.attempts, record.fraction, record.message)
    if status is TaskStatus.RUNNING:
        at = record.last_attempted_at or record.started_at
        return _report(
            _running(record.fraction, record.message), at, record.attempts + 1, record.fraction, record.message
        )
    if record.attempts:
        return _report("retrying", record.last_attempted_at, record.attempts, next_at=record.next_at)
    return None


_ORDER = ("sent", "running", "progress", "retrying", "finished")


def steps_between(last: Report, current: Report, record: ResultRecord) -> Iterator[Report]:
    """The steps after `last` and before `current` that the record still tells of.

    Of the runs it keeps when the first and the latest of them began, and how each ended that was to be retried.
    """
    steps = [_report("retrying", error.at, error.attempt) for error in record.errors if error.attempt < record.attempts]
    latest = record.attempts + (record.status is TaskStatus.RUNNING)
    if latest and record.started_at is not None:
        steps.append(_report("running", record.started_at, 1))
    if latest > 1 and record.last_attempted_at is not None:
        steps.append(_report("running", record.last_attempted_at, latest))
    for step in sorted(steps, key=_place):
        if _place(last) < _place(step) < _place(current):
            yield step


def _place(report: Report) -> tuple[int, int]:
    return report.attempt, _ORDER.index(report.kind)


def report_of_notice(notice: Notice, now: float) -> Report:
    """What a notice of a job that goes on tells."""
    told = notice.report
    at = told.at if told is not None and told.at else now
    attempt = told.attempt if told is not None else 0
    if notice.status is TaskStatus.READY:
        return _report("retrying", at, attempt, next_at=notice.next_at)
    fraction, message = (told.fraction, told.message) if told is not None else (None, None)
    return _report(_running(fraction, message), at, attempt, fraction, message)


def _running(fraction: float | None, message: str | None) -> Literal["running", "progress"]:
    return "running" if fraction is None and message is None else "progress"


def _report(
    kind: Literal["running", "progress", "retrying", "finished"],
    at: float | None,
    attempt: int,
    fraction: float | None = None,
    message: str | None = None,
    next_at: float | None = None,
) -> Report:
    return Report(kind, datetime.fromtimestamp(at or 0.0, UTC), attempt, fraction, message, moment(next_at))
