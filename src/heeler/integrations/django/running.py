"""Around each run of a Django task in a worker: its arguments and context, signals, database connections."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections
from django.utils import timezone

from heeler import TaskContext as HeelerContext
from heeler import current_context
from heeler.integrations.django.results import as_django_has_it, set_fields
from heeler.integrations.django.standard import (
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)

__all__ = ["failure_teller", "runner"]


def runner(task: Task, alias: str, sender: type) -> Callable[..., Any]:
    """What a worker calls for a job of this task."""
    if inspect.iscoroutinefunction(task.func):

        @functools.wraps(task.func)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            async with ThreadSensitiveContext():  # database connections of its own, as a request under ASGI has
                try:
                    result = _begun(task, alias, args, kwargs)
                    await task_started.asend(sender, task_result=result)
                    value = normalize_json(await task.func(*_with_context(task, result, args), **kwargs))
                    _succeeded(result, value)
                    await task_finished.asend(sender, task_result=result)
                    return value
                finally:
                    await sync_to_async(connections.close_all)()  # their thread ends here, too

        return _without_signature(arun)

    @functools.wraps(task.func)
    def run(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            result = _begun(task, alias, args, kwargs)
            task_started.send(sender, task_result=result)
            value = normalize_json(task.func(*_with_context(task, result, args), **kwargs))
            _succeeded(result, value)
            task_finished.send(sender, task_result=result)
            return value
        finally:
            close_old_connections()

    return _without_signature(run)


def failure_teller(task: Task, alias: str, sender: type) -> Callable[[HeelerContext, BaseException], Any]:
    """The `on_failure` of a task: tells the signal `task_finished` of a job that will not be run again."""

    def tell(result: TaskResult, error: BaseException) -> None:
        close_old_connections()
        try:
            raise error
        except BaseException:  # receivers find it in sys.exc_info, as Django says
            task_finished.send(sender, task_result=result)
        finally:
            close_old_connections()

    async def failed(context: HeelerContext, error: BaseException) -> None:
        result = _result(task, alias, context, (), {})
        kind = type(error)
        text = "".join(traceback.format_exception(error))
        failure = TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=text)
        set_fields(result, status=TaskResultStatus.FAILED, finished_at=timezone.now(), errors=[failure])
        await sync_to_async(tell, thread_sensitive=False)(result, error)

    return failed


def _without_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """Django's arguments are plain values, whatever the annotations say: Heeler is not to convert them."""
    del function.__wrapped__  # type: ignore[attr-defined]
    function.__annotations__ = {}
    return function


def _with_context(task: Task, result: TaskResult, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (TaskContext(task_result=result), *args) if task.takes_context else args


def _begun(task: Task, alias: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskResult:
    return _result(task, alias, current_context(), args, kwargs)


def _result(
    task: Task, alias: str, context: HeelerContext, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TaskResult:
    """The job whose run this is, as a running one."""
    now = timezone.now()
    return TaskResult(
        task=task,
        id=context.id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=as_django_has_it(context.enqueued_at),
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=list(args),
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[context.worker_id] * context.attempt,
    )


def _succeeded(result: TaskResult, value: Any) -> None:
    set_fields(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=value)
