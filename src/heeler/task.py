"""A task: a function that can be called here as before, and enqueued to run elsewhere."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from heeler.clock import SystemClock, new_id
from heeler.errors import ConfigurationError
from heeler.model import Publication, Reports, Retry, RunInfo
from heeler.overrides import NO_OVERRIDES, Overrides, with_options
from heeler.producer import Producer
from heeler.task_context import TaskContext
from heeler.task_result import TaskResult
from heeler.task_spec import MomentOrDelay, TaskOptions, TaskSpec
from heeler.workflow import Signature

__all__ = ["CoroutineTask", "FunctionTask", "Task"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A registered function with typed arguments and default options.

    Every method that does I/O has an async twin with the prefix `a`.
    """

    def __init__(self, spec: TaskSpec, producer: Producer, ask: Overrides = NO_OVERRIDES) -> None:
        self.spec = spec
        self._producer = producer
        self._ask = ask
        if spec.function is not None:
            for attribute in functools.WRAPPER_ASSIGNMENTS:
                if hasattr(spec.function, attribute):
                    setattr(self, attribute, getattr(spec.function, attribute))
            self.__wrapped__ = spec.function

    def __repr__(self) -> str:
        return f"<Task {self.spec.name}>"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def options(self) -> TaskOptions:
        """The options with all defaults applied."""
        return self.spec.options

    @property
    def queue_name(self) -> str:
        return self._ask.queue_name or self.spec.options.queue_name

    @property
    def priority(self) -> int:
        return self.spec.options.priority if self._ask.priority is None else self._ask.priority

    @property
    def func(self) -> Callable[..., Any]:
        """The function itself. Raises ConfigurationError where it is only declared."""
        if self.spec.function is None:
            raise ConfigurationError(f"task {self.name!r} is only declared here: its function is elsewhere")
        return self.spec.function

    def using(
        self,
        *,
        queue_name: str | None = None,
        priority: int | None = None,
        run_after: MomentOrDelay | None = None,
        expires: MomentOrDelay | None = None,
        timeout: float | timedelta | None = None,
        soft_timeout: float | timedelta | None = None,
        retry: Retry | None = None,
        headers: dict[str, str] | None = None,
        id: str | None = None,
        ignore_result: bool | None = None,
        result_ttl: float | timedelta | None = None,
        codec: Any = None,
        reports: Reports | None = None,
        routing_key: str | None = None,
    ) -> Task[P, R]:
        """The same task with other options for what is enqueued through it.

        `run_after` and `expires` take an aware datetime, a timedelta or seconds; durations are seconds or a
        timedelta. With an `id` the enqueue is idempotent until `result_ttl` after the job's end. Raises
        InvalidOption for a wrong value.
        """
        given = {name: value for name, value in locals().items() if name != "self" and value is not None}
        return type(self)(self.spec, self._producer, with_options(self._ask, given))

    @overload
    def s(self, /, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...
    @overload
    def s(self: Task[Concatenate[Any, Q], R], /, *args: Q.args, **kwargs: Q.kwargs) -> Signature[R]: ...
    def s(self, /, *args: Any, **kwargs: Any) -> Signature[R]:
        """This task with arguments, not yet sent; in a workflow without the first, which is what comes before it."""
        return Signature(self.spec, self._producer, args, kwargs, self._ask)

    def si(self, /, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """The same for a workflow, where it takes nothing from what comes before it."""
        return Signature(self.spec, self._producer, args, kwargs, self._ask, True)

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskResult[R]:
        """Send one job; when this returns, the broker holds it.

        Raises InvalidArguments, PayloadTooLarge, IdConflict, Unroutable, BrokerUnavailable.
        """
        return self._producer.enqueue(self.spec, args, kwargs, self._ask)

    async def aenqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskResult[R]:
        """`enqueue` from async code; concurrent calls share round trips."""
        return await self._producer.aenqueue(self.spec, args, kwargs, self._ask)

    def enqueue_many(self, items: Iterable[Any]) -> list[TaskResult[R]]:
        """Send many jobs in few round trips; all are sent when this returns, handles in order.

        An item is a tuple of arguments, a dict of keyword arguments, or a Signature (of any task). Raises
        EnqueueManyError, after the rest is sent, if some items cannot be sent.
        """
        return self._producer.enqueue_many(items, self._read_item, self._ask)

    async def aenqueue_many(self, items: Iterable[Any]) -> list[TaskResult[R]]:
        """`enqueue_many` from async code."""
        return await self._producer.aenqueue_many(items, self._read_item, self._ask)

    def enqueue_iter(self, items: Iterable[Any]) -> Iterator[TaskResult[R]]:
        """Send lazily, in batches, as the handles are read: memory stays constant.

        Items as for `enqueue_many`; EnqueueManyError is raised at the end if some of them could not be sent.
        """
        return self._producer.enqueue_iter(items, self._read_item, self._ask)

    def aenqueue_iter(self, items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[TaskResult[R]]:
        """`enqueue_iter` from async code; also takes an async iterable."""
        return self._producer.aenqueue_iter(items, self._read_item, self._ask)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, without a queue, from sync code; a coroutine function is run to its end."""
        here = _RunHere(self, args, kwargs)
        value = here.function(*here.args, **here.kwargs)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        self._producer.publish_each(iter(here.publications))
        return value  # type: ignore[no-any-return]

    async def acall(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now from async code; a plain function runs in a thread."""
        here = _RunHere(self, args, kwargs)
        if self.spec.is_coroutine:
            value = await here.function(*here.args, **here.kwargs)
        else:
            value = await asyncio.to_thread(here.function, *here.args, **here.kwargs)
        await self._producer.apublish_each(iter(here.publications))
        return value  # type: ignore[no-any-return]

    def get_result(self, id: str) -> TaskResult[R]:
        """The handle of a job of this task. Raises ResultNotFound, also where the id is another task's."""
        return self._producer.find_result(id, self.name)

    async def aget_result(self, id: str) -> TaskResult[R]:
        """`get_result` from async code."""
        return await self._producer.afind_result(id, self.name)

    def _read_item(self, item: Any, ask: Overrides) -> tuple[TaskSpec, tuple[Any, ...], dict[str, Any], Overrides]:
        if type(item) is tuple:
            return self.spec, item, {}, ask
        if isinstance(item, Signature):
            return item.call
        if isinstance(item, dict):
            return self.spec, (), item, ask
        if isinstance(item, tuple):
            return self.spec, tuple(item), {}, ask
        raise TypeError(
            f"{self.name}.enqueue_many: an item is a tuple of arguments, a dict of keyword arguments or a Signature, "
            f"got {type(item).__name__}; for one argument write (value,)"
        )


class _RunHere:
    """One run by `call`: id and context as a worker would give them, follow-ups kept until it has succeeded."""

    cancelled = False
    saved: Any = None

    def __init__(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = task.func
        self.publications: list[Publication] = []
        info = RunInfo(
            id=new_id(),
            task=task.name,
            queue_name=task.queue_name,
            attempt=1,
            max_attempts=1,
            enqueued_at=SystemClock.time(),
        )
        assert task.spec.parameters is not None  # a task with a function has them
        self.args, self.kwargs = task.spec.parameters.supply((args, dict(kwargs)), info.id, TaskContext(info, self))

    def report(self, fraction: float | None, message: str | None) -> None:
        """Nobody follows a run that is called directly."""

    def save(self, value: Any) -> None:
        """For this run alone: nothing is stored of one that is called directly."""
        self.saved = value

    def follow_up(self, publication: Publication) -> None:
        self.publications.append(publication)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


class FunctionTask(Task[P, R]):
    """A task made of a plain function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.func(*args, **kwargs)  # type: ignore[no-any-return]


class CoroutineTask(Task[P, R]):
    """A task made of a coroutine function. `inspect.iscoroutinefunction` (before 3.12 that of asyncio) says so, too."""

    def __init__(self, spec: TaskSpec, producer: Producer, ask: Overrides = NO_OVERRIDES) -> None:
        super().__init__(spec, producer, ask)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:
            self._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return self.func(*args, **kwargs)  # type: ignore[no-any-return]
