"""The backend that `TASKS` names: it registers Django's tasks with an app of Heeler and sends their jobs."""

from __future__ import annotations

import difflib
import inspect
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from heeler import Heeler, HeelerError, ResultNotFound, Retry
from heeler.clock import new_id
from heeler.integrations.django.results import result_of, set_fields
from heeler.integrations.django.running import failure_teller, runner
from heeler.integrations.django.standard import (
    BaseTaskBackend,
    InvalidTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)

__all__ = ["HeelerBackend", "HeelerTask", "app_of"]

_OWN_OPTIONS = {"enqueue_on_commit": True, "database": "default"}
_HEELERS_OPTIONS = frozenset(inspect.signature(Heeler).parameters) - {"queues", "default_queue", "clock"}
_TASK_OPTIONS = (
    "retry",
    "timeout",
    "soft_timeout",
    "expires",
    "concurrency",
    "ignore_result",
    "result_ttl",
    "max_crashes",
)

_apps: dict[str, tuple[Mapping[str, Any], Heeler]] = {}
_apps_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeelerTask(Task):
    """A task of Django's with options of Heeler's: `@task(retry=Retry(5), timeout=30)`. None: the app's default."""

    retry: Retry | None = None
    timeout: float | timedelta | None = None
    soft_timeout: float | timedelta | None = None
    expires: float | timedelta | None = None
    concurrency: int | None = None
    ignore_result: bool | None = None
    result_ttl: float | timedelta | None = None
    max_crashes: int | None = None


class HeelerBackend(BaseTaskBackend):
    """`OPTIONS` are the settings of `Heeler` (`url`, `results`, `lease`, …), and two of its own.

    `enqueue_on_commit`, True by default: inside a transaction a job is sent when that is committed, and not if it is
    rolled back. `database` is the alias of the one whose transactions count.
    """

    task_class = HeelerTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        given = dict(self.options)
        if "ENQUEUE_ON_COMMIT" in params:
            given.setdefault("enqueue_on_commit", params["ENQUEUE_ON_COMMIT"])
        own = {name: given.pop(name, default) for name, default in _OWN_OPTIONS.items()}
        self.enqueue_on_commit = bool(own["enqueue_on_commit"])
        self.database = str(own["database"])
        self.app = _app(alias, given, sorted(self.queues))

    def validate_task(self, task: Task) -> None:
        """Called for every task that is made: also registers it. Raises InvalidTask."""
        super().validate_task(task)
        self.register(task)

    def register(self, task: Task) -> None:
        """Have workers of this backend know the task; harmless twice."""
        name = task.module_path
        if name in self.app.tasks:
            return
        queue = task.queue_name
        if self.queues and queue not in self.queues:  # it is another backend's, and comes here by `using`
            queue = min(self.queues)
        asked = {option: getattr(task, option, None) for option in _TASK_OPTIONS}
        self.app.task(
            runner(task, self.alias, type(self)),
            name=name,
            queue_name=queue,
            priority=int(task.priority),
            on_failure=failure_teller(task, self.alias, type(self)),
            **{option: value for option, value in asked.items() if value is not None},
        )

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Send a job, or have it sent at the end of the transaction. Raises BrokerUnavailable (then perhaps later)."""
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=new_id(),
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        if self.enqueue_on_commit and transaction.get_connection(self.database).in_atomic_block:
            transaction.on_commit(partial(self._send, result), using=self.database)
        else:
            self._send(result)
        return result

    def _send(self, result: TaskResult) -> None:
        task = result.task
        run_after = task.run_after
        if run_after is not None and timezone.is_naive(run_after):  # as Django has it with USE_TZ = False
            run_after = timezone.make_aware(run_after)
        using: dict[str, Any] = {"run_after": run_after} if run_after is not None else {}
        self.app.tasks[task.module_path].using(
            id=result.id, queue_name=task.queue_name, priority=int(task.priority), **using
        ).enqueue(*result.args, **result.kwargs)
        set_fields(result, enqueued_at=timezone.now())
        task_enqueued.send(type(self), task_result=result)

    def get_result(self, result_id: str) -> TaskResult:
        """Raises TaskResultDoesNotExist."""
        try:
            return result_of(self.app.get_result(str(result_id)), self.alias)
        except ResultNotFound as error:
            raise TaskResultDoesNotExist(str(error)) from error

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """What `manage.py check` says of this backend."""
        if self.app.connections.scheme == "memory":
            return [
                checks.Warning(
                    f"TASKS[{self.alias!r}]: memory:// keeps jobs in the process that enqueues them, where no worker "
                    f"of `manage.py heeler worker` sees them",
                    hint='Give OPTIONS a url like "sqlite:///jobs.db".',
                    id="heeler.W001",
                )
            ]
        return []


def app_of(alias: str) -> Heeler:
    """The app behind the backend of this alias. Raises ImproperlyConfigured."""
    return _backend(alias).app


def register_all(alias: str) -> None:
    """Have the app behind this alias know all tasks that modules have, of whatever backend they are.

    `task.using(backend=…)` sends any of them anywhere. Raises ImproperlyConfigured.
    """
    backend = _backend(alias)
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            if issubclass(type(value), Task):  # not isinstance, which wakes lazy objects
                backend.register(value)


def _backend(alias: str) -> HeelerBackend:
    from heeler.integrations.django.standard import task_backends

    backend = task_backends[alias]
    if not isinstance(backend, HeelerBackend):
        raise ImproperlyConfigured(f"TASKS[{alias!r}] is a {type(backend).__name__}, not a HeelerBackend")
    return backend


def _app(alias: str, options: Mapping[str, Any], queues: list[str]) -> Heeler:
    """One app for an alias in the whole process: Django makes a backend for each thread."""
    settings = {**options, "queues": queues}
    with _apps_lock:
        known = _apps.get(alias)
        if known is not None and known[0] == settings:
            return known[1]
        for option in options:
            if option not in _HEELERS_OPTIONS:
                raise InvalidTaskBackend(f"TASKS[{alias!r}]: OPTIONS has no {option!r}{_suggestion(option)}")
        try:
            app = Heeler(**settings)
        except HeelerError as error:
            raise InvalidTaskBackend(f"TASKS[{alias!r}]: {error}") from error
        _apps[alias] = (settings, app)
        return app


def _suggestion(option: str) -> str:
    known = sorted({*_OWN_OPTIONS, *_HEELERS_OPTIONS})
    close = difflib.get_close_matches(option, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
