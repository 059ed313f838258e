"""What a running task may know of its own run and say from inside it."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from heeler import task_result
from heeler.errors import HeelerError, InvalidWorkflow
from heeler.model import ErrorRecord, Publication, RunInfo
from heeler.workflow_sender import PreparedWorkflow

if TYPE_CHECKING:
    from heeler.task_result import TaskResult
    from heeler.workflow import Composite, Signature, Workflow
    from heeler.workflow_result import WorkflowResult

R = TypeVar("R")

__all__ = ["RunChannel", "TaskContext", "current_context", "running_context"]


class RunChannel(Protocol):
    """How a context reaches the worker that runs it. After the run's end, or a lost lease, every call is refused."""

    @property
    def cancelled(self) -> bool: ...

    @property
    def saved(self) -> Any: ...

    def report(self, fraction: float | None, message: str | None) -> None: ...

    def save(self, value: Any) -> None: ...

    def follow_up(self, publication: Publication) -> None: ...


class TaskContext:
    """The run that is going on: its facts, and what it can say before its end.

    Handed to tasks with `takes_context=True` (as first argument) or with a parameter annotated `TaskContext`;
    anywhere inside a run `heeler.current_context()` gives it.
    """

    __slots__ = ("_channel", "_info", "state")

    def __init__(self, info: RunInfo, channel: RunChannel, state: Any = None) -> None:
        self._info = info
        self._channel = channel
        self.state = state
        """What the app's `on_startup` hooks of this process put there."""

    def __repr__(self) -> str:
        return f"<TaskContext {self._info.task} {self._info.id} attempt {self._info.attempt}>"

    @property
    def id(self) -> str:
        return self._info.id

    @property
    def name(self) -> str:
        """The name of the task."""
        return self._info.task

    @property
    def queue_name(self) -> str:
        return self._info.queue_name

    queue = queue_name

    @property
    def attempt(self) -> int:
        """The number of this run; the first is 1."""
        return self._info.attempt

    @property
    def max_attempts(self) -> int | None:
        return self._info.max_attempts

    @property
    def crashes(self) -> int:
        """How often the process died of this job before."""
        return self._info.crashes

    @property
    def deadline(self) -> datetime | None:
        """When `timeout` ends this run."""
        deadline = self._info.deadline
        return None if deadline is None else datetime.fromtimestamp(deadline, UTC)

    @property
    def enqueued_at(self) -> datetime:
        return datetime.fromtimestamp(self._info.enqueued_at, UTC)

    @property
    def headers(self) -> Mapping[str, str]:
        return self._info.headers

    @property
    def worker_id(self) -> str:
        return self._info.worker_id

    @property
    def previous_error(self) -> ErrorRecord | None:
        """The error that ended the run before this one."""
        return self._info.previous_error

    @property
    def cancelled(self) -> bool:
        """Whether the run should end soon: it was cancelled, timed out, or its lease is lost. Threads look here."""
        return self._channel.cancelled

    @property
    def saved(self) -> Any:
        """What this run saved last, else what an earlier run of the job did; None if nothing."""
        return self._channel.saved

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell who waits how far the run is: `fraction` from 0 to 1, and words. Cheap: many calls are coalesced.

        Raises ValueError for a fraction outside 0 … 1, HeelerError if the run is over.
        """
        if fraction is not None and not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress: fraction goes from 0 to 1, got {fraction!r}")
        self._channel.report(None if fraction is None else float(fraction), message)

    def save(self, value: Any) -> None:
        """Keep a value: readable as `result.saved` while the job runs and after a failure, and as `context.saved` by
        its next run; it is the result when the function returns None. Raises HeelerError if the run is over.
        """
        self._channel.save(value)

    def carry(self, headers: Mapping[str, str]) -> None:
        """Have the run see these headers as well, where it goes on in a pool child. For middleware, before the run."""

    @overload
    def enqueue(self, part: Signature[R]) -> TaskResult[R]: ...
    @overload
    def enqueue(self, part: Composite[R]) -> WorkflowResult[R]: ...
    @overload
    def enqueue(self, part: Workflow) -> WorkflowResult[Any]: ...
    def enqueue(self, part: Any) -> Any:
        """Enqueue a job, or a workflow, that becomes real in the same step as this run's end; not if it fails.

        Raises HeelerError if the run is over, InvalidWorkflow for a workflow that is too large for one step, and what
        `enqueue` raises for wrong arguments.
        """
        prepared = part.prepare()
        if not isinstance(prepared, PreparedWorkflow):
            if prepared.envelope is not None:
                self._channel.follow_up(Publication(envelopes=(prepared.envelope,)))
            return prepared.result
        if len(prepared.publications) > 1:
            raise InvalidWorkflow(
                "this workflow is too large to become real in one step with the end of a run; enqueue it by itself, "
                "with an id, so that a run that is repeated does not send it twice"
            )
        self._channel.follow_up(prepared.publications[0])
        return prepared.result


running_context: contextvars.ContextVar[TaskContext | None] = contextvars.ContextVar("heeler_context", default=None)


task_result.is_inside_task = lambda: running_context.get() is not None


def current_context() -> TaskContext:
    """The context of the run that the caller is in. Raises HeelerError outside a task."""
    context = running_context.get()
    if context is None:
        raise HeelerError("current_context() was called outside a task: there is no run here")
    return context
