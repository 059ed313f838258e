"""Assertions about what is enqueued, for tests of code that enqueues and does not run."""

from __future__ import annotations

from typing import Any

from heeler.app import Heeler
from heeler.arguments import encode_unbound, given_unbound
from heeler.contracts import JobState
from heeler.errors import InvalidArguments, ResultNotFound
from heeler.model import ResultRecord
from heeler.task import Task
from heeler.task_result import TaskResult

__all__ = ["assert_enqueued", "assert_not_enqueued", "enqueued"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
PAGE = 500
SHOWN = 20  # jobs in a failure's text
_STATES: tuple[JobState, ...] = ("waiting", "scheduled")


def enqueued(
    app: Heeler, task: Task[..., Any] | str | None = None, *, queue_name: str | None = None
) -> list[TaskResult[Any]]:
    """The handles of all jobs that wait, for a worker or for their time, in the order in which they would start.

    `task` is a task or its full name. Jobs that run or have ended are not among them.
    """
    name = _name_of(task)
    found = []
    for record in _waiting(app, queue_name):
        if name is None or record.envelope.task == name:
            try:
                found.append(app.get_result(record.envelope.id))
            except ResultNotFound:
                continue  # it ended just now
    return found


def assert_enqueued(
    app: Heeler,
    task: Task[..., Any] | str,
    *args: Any,
    count: int | None = None,
    queue_name: str | None = None,
    **kwargs: Any,
) -> list[TaskResult[Any]]:
    """Fail unless a job of `task` waits; return the handles of all that match.

    With arguments only jobs enqueued with equal ones match, however they were passed; arguments that the task
    would refuse raise InvalidArguments. With `count` exactly so many must wait, with `queue_name` on that queue.
    """
    __tracebackhide__ = True
    matching = _matching(app, task, args, kwargs, queue_name)
    if len(matching) != count if count is not None else not matching:
        wanted = "a job" if count is None else f"{count} job{'' if count == 1 else 's'}"
        found = f", found {len(matching)}" if count is not None else ", found none"
        described = _wanted_text(task, args, kwargs, queue_name)
        raise AssertionError(f"expected {wanted} of {described} to be enqueued{found}.\n{_all_of(app)}")
    return matching


def assert_not_enqueued(
    app: Heeler, task: Task[..., Any] | str, *args: Any, queue_name: str | None = None, **kwargs: Any
) -> None:
    """Fail if a job waits that `assert_enqueued` would find."""
    __tracebackhide__ = True
    matching = _matching(app, task, args, kwargs, queue_name)
    if matching:
        described = _wanted_text(task, args, kwargs, queue_name)
        raise AssertionError(f"expected no job of {described} to be enqueued, found {len(matching)}.\n{_all_of(app)}")


def _matching(
    app: Heeler, task: Task[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any], queue_name: str | None
) -> list[TaskResult[Any]]:
    expected = _as_read_back(app, task, (args, kwargs)) if args or kwargs else None
    return [
        result
        for result in enqueued(app, task, queue_name=queue_name)
        if expected is None or _has(app, task, result, expected)
    ]


def _has(app: Heeler, task: Task[..., Any] | str, result: TaskResult[Any], expected: Arguments) -> bool:
    try:
        return _as_read_back(app, task, (result.args, result.kwargs)) == expected
    except InvalidArguments:  # it was enqueued by name, and no longer fits
        return False


def _as_read_back(app: Heeler, task: Task[..., Any] | str, arguments: Arguments) -> Arguments:
    """The arguments as a handle shows them after their way through the codec, where a tuple may have become a list."""
    if isinstance(task, str):
        if task not in app.tasks:
            return arguments
        task = app.tasks[task]
    parameters, codec = task.spec.parameters, task.spec.codec
    if parameters is None:
        return given_unbound(encode_unbound(*arguments, codec, task.name), codec, bound=False)
    return parameters.given(parameters.encode(*arguments, codec), codec)


def _waiting(app: Heeler, queue_name: str | None) -> list[ResultRecord]:
    records: list[ResultRecord] = []
    for state in _STATES:
        after: str | None = None
        while page := app.queues.list_jobs(state, queue_name, PAGE, after):
            records += page
            after = page[-1].envelope.id
    return records


def _name_of(task: Task[..., Any] | str | None) -> str | None:
    return task.name if isinstance(task, Task) else task


def _wanted_text(
    task: Task[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any], queue_name: str | None
) -> str:
    shown = f"{_name_of(task)}{_call_text(args, kwargs)}" if args or kwargs else str(_name_of(task))
    return shown if queue_name is None else f"{shown} on queue {queue_name!r}"


def _call_text(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def _all_of(app: Heeler) -> str:
    """What waits instead, a line for each job."""
    jobs = enqueued(app)
    if not jobs:
        eager = " (eager:// runs jobs inside enqueue, so none ever waits)" if app.eager else ""
        return f"Nothing is enqueued{eager}."
    lines = [f"  {job.name}{_call_text(job.args, job.kwargs)} on queue {job.queue_name!r}" for job in jobs[:SHOWN]]
    if len(jobs) > SHOWN:
        lines.append(f"  … and {len(jobs) - SHOWN} more")
    return "\n".join(["Enqueued are:", *lines])
