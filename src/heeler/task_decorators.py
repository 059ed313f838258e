"""The types of `@app.task(…)`: its options, and what a type checker knows of the decorated function."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, overload

from heeler.contracts import Executor
from heeler.model import Reports, Retry
from heeler.task import CoroutineTask, FunctionTask
from heeler.task_context import TaskContext
from heeler.task_spec import ExecutorName, MomentOrDelay

__all__ = ["CALLBACKS", "ContextTaskDecorator", "IdTaskDecorator", "TaskDecorator", "TaskKeywords"]

P = ParamSpec("P")
R = TypeVar("R")
Duration = float | timedelta

CALLBACKS = ("on_processing", "on_success", "on_retry", "on_failure")


class TaskKeywords(TypedDict, total=False):
    """The options of `Heeler.task`; durations are seconds or a timedelta."""

    name: str
    queue_name: str
    priority: int
    retry: Retry
    timeout: Duration
    soft_timeout: Duration
    expires: MomentOrDelay
    executor: ExecutorName | Executor
    concurrency: int
    ignore_result: bool
    result_ttl: Duration
    max_crashes: int
    reports: Reports
    codec: Any
    id_maker: Callable[[], str]
    on_processing: Callable[..., Any]
    on_success: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_failure: Callable[..., Any]


class TaskDecorator(Protocol):
    """What `@app.task(…)` applies to a function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...


class ContextTaskDecorator(Protocol):
    """The same for `takes_context=True`: the first parameter is not the caller's to give."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[TaskContext, P], R], /) -> FunctionTask[P, R]: ...


class IdTaskDecorator(Protocol):
    """The same for `id_as_first_arg=True`."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[str, P], Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[str, P], R], /) -> FunctionTask[P, R]: ...
