"""Every error that Heeler raises, in one tree, so that one `except HeelerError` catches them all.

A message names what was wrong, where, and what to do about it. `RetryLater` and `Reject` are signals that a
task raises to say how its run shall end; they derive from `Exception` directly, so a task that catches
`HeelerError` does not swallow them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "EnqueueManyError",
    "Expired",
    "HeelerError",
    "IdConflict",
    "InvalidArguments",
    "InvalidOption",
    "InvalidWorkflow",
    "PayloadTooLarge",
    "Reject",
    "Rejected",
    "ResultExpired",
    "ResultLost",
    "ResultNotFound",
    "ResultTimeout",
    "RetryLater",
    "ScheduleNotFound",
    "Skipped",
    "SoftTimeout",
    "TaskCancelled",
    "TaskFailed",
    "TaskTimedOut",
    "UnknownTask",
    "Unroutable",
    "WorkerCrashed",
    "WorkflowUnfinished",
]


class HeelerError(Exception):
    """The root of all errors of Heeler."""


class ConfigurationError(HeelerError):
    """A setting, URL, option or task definition is wrong; the message lists what would be right."""


class InvalidOption(ConfigurationError, ValueError, TypeError):
    """A value given to `using(…)` cannot be right; the message says which, and what would be."""


class InvalidArguments(HeelerError):
    """The arguments of an enqueue do not fit the task's signature or annotations.

    `task`, `parameter`, `expected` and `given` say where and why; `parameter` is None when no single one is to
    blame (too many positional arguments).
    """

    def __init__(
        self,
        message: str,
        *,
        task: str = "",
        parameter: str | None = None,
        expected: str = "",
        given: str = "",
    ) -> None:
        super().__init__(message)
        self.task = task
        self.parameter = parameter
        self.expected = expected
        self.given = given


class IdConflict(HeelerError):
    """The id is already taken by a job of another task or with other arguments."""


class EnqueueManyError(HeelerError):
    """Some items of an `enqueue_many` could not be sent; all others were.

    `results` has one entry for each item, in order: a `TaskResult`, or None where the item failed; it is empty
    for `enqueue_iter`, which has handed the results out. `errors` maps the item's index to its error.
    """

    def __init__(self, results: Sequence[Any], errors: dict[int, Exception]) -> None:
        first = min(errors)
        super().__init__(
            f"{len(errors)} of {len(results) or 'the'} items were not enqueued; "
            f"item {first}: {type(errors[first]).__name__}: {errors[first]}"
        )
        self.results = list(results)
        self.errors = errors


class PayloadTooLarge(HeelerError):
    """The encoded message or result is larger than the broker or store takes."""


class BrokerUnavailable(HeelerError):
    """The broker or the store could not be reached, or did not answer in time.

    `outcome_unknown` is True when the request had left this process, so that it may have been carried out;
    `given_up` when as many attempts to connect have failed in a row as the URL allows (`reconnect_attempts`).
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False, given_up: bool = False) -> None:
        if outcome_unknown:
            message += " (the request was sent: whether it was carried out is unknown)"
        super().__init__(message)
        self.outcome_unknown = outcome_unknown
        self.given_up = given_up


class Unroutable(HeelerError):
    """The broker has no queue for the message: its routing key leads nowhere."""


class InvalidWorkflow(HeelerError):
    """A workflow cannot be as it was put together; the message says which part, and what would be right."""


class TaskFailed(HeelerError):
    """The job ended FAILED. The rebuilt exception, where its class can be imported, is `__cause__`.

    `exception_class_path` is the dotted path of the exception's class, `message` its text, `traceback` the
    formatted traceback, `attempts` the number of runs that were counted.
    """

    def __init__(
        self,
        exception_class_path: str = "",
        message: str = "",
        traceback: str = "",
        attempts: int = 0,
        *,
        task: str = "",
        id: str = "",
    ) -> None:
        super().__init__(exception_class_path, message, traceback, attempts)  # so that it survives pickling
        self.exception_class_path = exception_class_path
        self.message = message
        self.traceback = traceback
        self.attempts = attempts
        self.task = task
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        where = f"{self.task} ({self.id}) " if self.task else ""
        runs = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{where}failed after {runs}: {self.exception_class_path.removeprefix('builtins.')}: {self.message}"


class TaskTimedOut(HeelerError):
    """The run took longer than the task's `timeout`; it counts as a failed attempt."""


class SoftTimeout(HeelerError):
    """Raised inside a run when its `soft_timeout` is over, so that it can clean up before `timeout` ends it."""


class Expired(HeelerError):
    """The job was not started before its `expires`, so it was not run."""


class TaskCancelled(HeelerError):
    """The job was cancelled before it ended."""


class Skipped(TaskCancelled):
    """The job was not run because something it depends on did not succeed."""


class WorkerCrashed(HeelerError):
    """The job's process died while it ran, more often than `max_crashes` allows."""


class UnknownTask(HeelerError):
    """No task of that name is registered here; the message names what is."""


class Rejected(HeelerError):
    """The run asked to be rejected: `raise Reject(reason)` sent the job to the dead letters."""


class WorkflowUnfinished(HeelerError):
    """The process that sent a workflow in parts died before it had sent all of it, so the workflow was broken."""


class ResultTimeout(HeelerError, TimeoutError):
    """The result was not there within the timeout; the job goes on."""


class ResultNotFound(HeelerError):
    """No job or result of that id is known to the result store."""


class ResultExpired(ResultNotFound):
    """The result was kept for its `result_ttl` and is gone now."""


class ScheduleNotFound(HeelerError):
    """There is no schedule of that name."""


class ResultLost(HeelerError):
    """The job ended, but its result is not readable (the store lost it or it cannot be decoded)."""


class RetryLater(Exception):
    """Raised by a task to be run again after `after` seconds (or a timedelta).

    With `count=False` the run is not an attempt: it uses up nothing of `max_attempts`.
    """

    def __init__(self, after: float | timedelta = 0.0, count: bool = True) -> None:
        seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
        if seconds < 0:
            raise ValueError(f"RetryLater: after must not be negative, got {seconds}")
        super().__init__(f"run again after {seconds:g} s")
        self.after = seconds
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.after, self.count))


class Reject(Exception):
    """Raised by a task to end as FAILED at once and go to the dead letters, whatever retries are left."""

    def __init__(self, reason: str = "rejected by the task") -> None:
        super().__init__(reason)
        self.reason = reason
