"""What Heeler knows of a job, as Django's `TaskResult`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from heeler import TaskStatus
from heeler.integrations.django.standard import Task, TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from heeler.model import ErrorRecord
from heeler.task_result import TaskResult as Job

__all__ = ["as_django_has_it", "error_of", "result_of", "set_fields", "task_named"]

_STATUSES = {
    TaskStatus.READY: TaskResultStatus.READY,
    TaskStatus.RUNNING: TaskResultStatus.RUNNING,
    TaskStatus.FAILED: TaskResultStatus.FAILED,
    TaskStatus.CANCELLED: TaskResultStatus.FAILED,  # Django has no word for it; its error says that it was cancelled
    TaskStatus.SUCCESSFUL: TaskResultStatus.SUCCESSFUL,
}


def set_fields(result: TaskResult, **fields: Any) -> None:
    """Change a result, which is frozen for everybody but backends."""
    for name, value in fields.items():
        object.__setattr__(result, name, value)


def as_django_has_it(moment: datetime | None) -> datetime | None:
    """Naive, in the time zone of the settings, where these say USE_TZ = False."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def task_named(path: str) -> Task:
    """The task at this dotted path. Raises TaskResultDoesNotExist if there is none (any more)."""
    try:
        task = import_string(path)
    except ImportError as error:
        raise TaskResultDoesNotExist(f"the task {path} of this result cannot be imported: {error}") from error
    if not isinstance(task, Task):
        raise TaskResultDoesNotExist(f"{path} is a {type(task).__name__}, not a task")
    return task


def result_of(job: Job[Any], alias: str) -> TaskResult:
    """The job as it is known now. Raises TaskResultDoesNotExist if its task is gone."""
    task = task_named(job.name).using(
        queue_name=job.queue_name, priority=job.priority, run_after=as_django_has_it(job.run_after), backend=alias
    )
    result = TaskResult(
        task=task,
        id=job.id,
        status=_STATUSES[job.status],
        enqueued_at=as_django_has_it(job.enqueued_at),
        started_at=as_django_has_it(job.started_at),
        finished_at=as_django_has_it(job.finished_at),
        last_attempted_at=as_django_has_it(job.last_attempted_at),
        args=list(job.args),
        kwargs=job.kwargs,
        backend=alias,
        errors=[error_of(error) for error in job.errors],
        worker_ids=_one_for_each_attempt(job.worker_ids, job.attempts + (job.status is TaskStatus.RUNNING)),
    )
    if job.status is TaskStatus.SUCCESSFUL:
        set_fields(result, _return_value=job.return_value)
    return result


def _one_for_each_attempt(worker_ids: Sequence[str], attempts: int) -> list[str]:
    """Django counts attempts by worker ids; Heeler names a worker once that has made several in a row."""
    ids = list(worker_ids)
    return ids + ids[-1:] * (attempts - len(ids)) if ids else []


def error_of(error: ErrorRecord) -> TaskError:
    return TaskError(exception_class_path=error.exception_class_path, traceback=error.traceback or error.line)
