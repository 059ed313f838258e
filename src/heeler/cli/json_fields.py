"""What `--json` prints of each value: the names of the Python attributes, times as ISO texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from heeler.contracts import Executor, QueueSize
from heeler.model import DeadLetter, ErrorRecord, Event, Retry, TaskStatus, WorkerPresence
from heeler.schedules import Schedule
from heeler.task import Task
from heeler.task_result import TaskResult
from heeler.workflow_outline import Outline
from heeler.workflow_result import WorkflowResult

__all__ = [
    "dead_letter_fields",
    "error_fields",
    "event_fields",
    "outline_fields",
    "queue_fields",
    "result_fields",
    "schedule_fields",
    "task_fields",
    "worker_fields",
    "workflow_fields",
]


def result_fields(result: TaskResult[Any]) -> dict[str, Any]:
    return {
        "id": result.id,
        "name": result.name,
        "status": result.status,
        "queue_name": result.queue_name,
        "priority": result.priority,
        "args": result.args,
        "kwargs": result.kwargs,
        "headers": result.headers,
        "enqueued_at": result.enqueued_at,
        "run_after": result.run_after,
        "next_at": result.next_at,
        "started_at": result.started_at,
        "last_attempted_at": result.last_attempted_at,
        "finished_at": result.finished_at,
        "attempts": result.attempts,
        "max_attempts": result.max_attempts,
        "worker_ids": result.worker_ids,
        "errors": [error_fields(error) for error in result.errors],
        "last_error": None if result.last_error is None else error_fields(result.last_error),
        "fraction": result.fraction,
        "message": result.message,
        "saved": result.saved,
        "return_value": result.return_value if result.status is TaskStatus.SUCCESSFUL else None,
    }


def error_fields(error: ErrorRecord) -> dict[str, Any]:
    return {
        "exception_class_path": error.exception_class_path,
        "message": error.message,
        "traceback": error.traceback,
        "attempt": error.attempt,
        "at": _moment(error.at),
    }


def workflow_fields(run: WorkflowResult[Any]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "done": run.progress.done,
        "total": run.progress.total,
        "enqueued_at": run.enqueued_at,
    }


def outline_fields(one: Outline) -> dict[str, Any]:
    """A workflow or a part of one, with its parts in it; what there is nothing to say of is left out."""
    fields: dict[str, Any] = {"id": one.id, "name": one.name, "kind": one.kind, "state": one.state}
    if one.kind == "job":
        fields |= {"task": one.task} if one.task else {}
        fields["attempts"] = one.attempts
    fields |= {"done": one.done, "total": one.total}
    for name in ("started_at", "finished_at", "next_at"):
        moment = getattr(one, name)
        fields[name] = None if moment is None else _moment(moment)
    for name in ("role", "fraction", "message", "error", "after", "counts", "left_out"):
        if value := getattr(one, name):
            fields[name] = value
    if one.after:
        fields["when"] = one.when
    if one.failure != "fail_fast":
        fields["failure"] = one.failure
    for name in ("parts", "callbacks"):
        if inner := getattr(one, name):
            fields[name] = [outline_fields(part) for part in inner]
    return fields


def queue_fields(size: QueueSize) -> dict[str, Any]:
    fields = msgspec.structs.asdict(size)
    return {"queue_name": fields.pop("queue"), **fields}


def worker_fields(worker: WorkerPresence) -> dict[str, Any]:
    fields = msgspec.structs.asdict(worker)
    return {**fields, "started_at": _moment(worker.started_at), "at": _moment(worker.at)}


def dead_letter_fields(letter: DeadLetter) -> dict[str, Any]:
    """Without the envelope; `raw`, the bytes of the message as it came, is base64."""
    return {
        "id": letter.id,
        "task": letter.task,
        "queue_name": letter.queue,
        "reason": letter.reason,
        "died_at": _moment(letter.died_at),
        "attempts": letter.attempts,
        "crashes": letter.crashes,
        "errors": [error_fields(error) for error in letter.errors],
        "raw": letter.raw or (b"" if letter.envelope is None else letter.envelope.body),
    }


def schedule_fields(schedule: Schedule) -> dict[str, Any]:
    return {**msgspec.structs.asdict(schedule), "state": schedule.state}


def task_fields(task: Task[Any, Any]) -> dict[str, Any]:
    options = msgspec.structs.asdict(task.options)
    if isinstance(options["executor"], Executor):
        options["executor"] = type(options["executor"]).__name__
    if isinstance(options["expires"], datetime):
        options["expires"] = options["expires"].astimezone(UTC)
    retry: Retry = options["retry"]
    parameters = task.spec.parameters
    return {
        "name": task.name,
        "signature": parameters.signature_text if parameters is not None else None,
        **options,
        "retry": {
            "max_attempts": retry.max_attempts,
            "delay": retry.delay,
            "backoff": retry.backoff,
            "max_delay": retry.max_delay,
            "jitter": retry.jitter,
            "on": retry.on,
            "not_on": retry.not_on,
        },
    }


def event_fields(event: Event) -> dict[str, Any]:
    """All that the event says; what it has nothing to say of is left out."""
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if value not in ("", 0, None)}
    for moment in ("at", "next_at"):
        if moment in fields:
            fields[moment] = _moment(fields[moment])
    return {"kind": event.kind, "level": event.level, **fields}


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
