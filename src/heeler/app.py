"""The app: what a user configures once, registers tasks with, and makes workers of. Nothing below knows it."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from heeler.administration import DeadLetters, Queues
from heeler.arguments import ReturnType
from heeler.clock import Clock, SystemClock, new_id
from heeler.codecs import Codecs
from heeler.config import broker_url
from heeler.connections import Connections
from heeler.contracts import (
    Broker,
    Executor,
    Middleware,
    OrderedStore,
    PlainBroker,
    Queue,
    QueueShare,
    ResultStore,
    TypedCodec,
)
from heeler.errors import ConfigurationError
from heeler.hooks import Hooks
from heeler.model import Reports, Retry, seconds_of
from heeler.producer import Producer
from heeler.registry import TaskRegistry
from heeler.result_listener import ResultListener
from heeler.task import CoroutineTask, FunctionTask, Task
from heeler.task_context import TaskContext
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import (
    ExecutorName,
    MomentOrDelay,
    TaskHome,
    TaskOptions,
    TaskSpec,
    default_name,
    describe_function,
    importable_module,
    moment_or_delay,
    registering_module,
)
from heeler.types import TypeRegistry
from heeler.wire.native import NativeFormat

if TYPE_CHECKING:
    from heeler.worker.worker import Worker

__all__ = ["Heeler"]

P = ParamSpec("P")
R = TypeVar("R")
Hook = TypeVar("Hook", bound=Callable[..., Any])
Duration = float | timedelta


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


class Heeler:
    """A task queue app.

    `url` is the broker's (default: the environment's `HEELER_URL`, then `sqlite:///heeler.db`); `broker` and
    `results` take a URL or an object instead. `results` unset is the broker's own store where it has one;
    `"none://"` is no store. `retry`, `timeout` (seconds) and `result_ttl` are defaults of tasks; `lease` is after
    how many seconds without a renewal a worker counts as dead. `namespace` keeps apps on one server apart.
    `codec` is "msgpack" (default), "json", or an object; `id_maker` makes the ids of jobs, which are then taken as
    if they had been given; `imports` names modules that register tasks; `queues` declares queues that no task names.

    Nothing is opened before its first use. Raises ConfigurationError for a setting that cannot be right.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        broker: str | Broker | PlainBroker | None = None,
        results: str | ResultStore | OrderedStore | None = None,
        default_queue: str = "default",
        retry: Retry | None = None,
        timeout: Duration | None = None,
        lease: Duration = 30.0,
        result_ttl: Duration = timedelta(days=1),
        namespace: str = "heeler",
        codec: Any = "msgpack",
        id_maker: Callable[[], str] = new_id,
        logger: logging.Logger | None = None,
        middleware: Sequence[Middleware | Any] = (),
        imports: Sequence[str] = (),
        queues: Sequence[Queue | str] = (),
        clock: Clock | None = None,
    ) -> None:
        if url is not None and broker is not None:
            raise ConfigurationError("Heeler: give the broker as `url` or as `broker`, not as both")
        for option, values in (("imports", imports), ("queues", queues), ("middleware", middleware)):
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise ConfigurationError(f"Heeler: {option} takes a list, for example [{values!r}]")
        self.logger = logger or logging.getLogger("heeler")
        self.clock: Clock = clock or SystemClock()
        self.default_queue = default_queue
        self.namespace = namespace
        self.lease = _seconds(lease, "Heeler: lease")
        if self.lease <= 0:
            raise ConfigurationError("Heeler: lease must be more than 0 seconds")
        _check_name(namespace, "Heeler: namespace")
        _check_name(default_queue, "Heeler: default_queue")
        _check_callable(id_maker, "Heeler: id_maker")
        self.imports = tuple(imports)
        self.types = TypeRegistry()
        self.tasks = TaskRegistry()
        self.workers: dict[str, Worker] = {}
        self.middleware = tuple(middleware)
        self._queues = tuple(_queue(queue) for queue in queues)
        self._defaults = TaskOptions()
        self._defaults = self._options(
            "Heeler",
            {
                "queue_name": default_queue,
                "retry": Retry() if retry is None else retry,
                "timeout": timeout,
                "result_ttl": result_ttl,
            },
        )
        self._hooks = Hooks()
        self._codecs = Codecs(self.types)
        self._home = TaskHome(self._codecs, self._hooks)
        self._codec = self._codecs.add(codec)
        self._formats = {NativeFormat.name: NativeFormat()}
        self.connections = Connections(
            broker if broker is not None else broker_url(url),
            results,
            clock=self.clock,
            namespace=namespace,
            queues=self._queues,
            logger=self.logger,
        )
        listener = ResultListener(self.connections)
        self._producer = Producer(
            self.connections,
            listener,
            ResultSource(self.connections, listener, self._codecs, dict(self._formats), self.clock, self.tasks.spec),
            codecs=self._codecs,
            wire=self._formats[NativeFormat.name],
            middleware=self.middleware,
            id_maker=id_maker,
        )
        self.eager = self.connections.scheme == "eager"
        if self.eager:
            from heeler.worker.eager_runs import EagerRuns

            self._producer.after_publish = EagerRuns(self.connections, self.burst_worker)
        self.queues = Queues(self.connections)
        self.dead_letters = DeadLetters(self.connections)

    def __repr__(self) -> str:
        return f"<Heeler {self.connections.shown_url}>"

    # Tasks

    # A coroutine function is a Callable[P, R] as well; the first overload that fits is the one meant.
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...
    @overload
    def task(
        self, function: None = None, /, *, takes_context: Literal[True], **options: Unpack[TaskKeywords]
    ) -> ContextTaskDecorator: ...
    @overload
    def task(
        self, function: None = None, /, *, id_as_first_arg: Literal[True], **options: Unpack[TaskKeywords]
    ) -> IdTaskDecorator: ...
    @overload
    def task(self, function: None = None, /, **options: Unpack[TaskKeywords]) -> TaskDecorator: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[TaskKeywords]
    ) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /, **options: Unpack[TaskKeywords]) -> FunctionTask[P, R]: ...
    @overload
    def task(self, function: Callable[..., Any], /, **options: Any) -> Task[..., Any]: ...
    @overload
    def task(self, function: None = None, /, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function as a task: `@app.task`, `@app.task(queue_name="images", …)` or `app.task(function)`.

        Works on functions, coroutine functions, bound methods, closures and callable objects. Without a `name` the
        task is called `module.qualname`. `timeout` ends a run, `soft_timeout` asks it to end; `expires` is until
        when a job may start; `executor` is "thread", "process" or an Executor (of plain functions);
        `concurrency` limits runs per worker; `takes_context` and `id_as_first_arg` put the TaskContext or the
        job's id before the caller's arguments; `max_crashes` is how many deaths of its process a job may cause.
        The callbacks get the context; on_success also the value, on_retry and on_failure the error.

        Raises ConfigurationError for a name that is taken, a function without a usable name, an annotation that
        cannot be carried, or an unknown option.
        """
        if function is None:
            return lambda decorated: self._register(decorated, options)
        return self._register(function, options)

    def _register(self, function: Any, options: dict[str, Any]) -> Task[Any, Any]:
        if isinstance(function, Task):
            function = function.func
        asked = dict(options)
        name = asked.pop("name", None)
        if name is None:
            name = default_name(function)
        _check_name(name, "task: name")
        codec = asked.pop("codec", None)
        id_maker = asked.pop("id_maker", None)
        callbacks = {hook: asked.pop(hook, None) for hook in _CALLBACKS}
        for option, called in {"id_maker": id_maker, **callbacks}.items():
            if called is not None:
                _check_callable(called, f"task {name!r}: {option}")
        spec = describe_function(
            function,
            name,
            self._options(f"task {name!r}", asked),
            self._codec if codec is None else self._codecs.add(codec),
            self.types,
            TaskContext,
            registering_module(),
        )
        spec.module = importable_module(spec.module) or spec.module
        spec.id_maker = id_maker
        spec.home = self._home
        for hook, callback in callbacks.items():
            setattr(spec, hook, callback)
        kind = CoroutineTask if spec.is_coroutine else FunctionTask
        task: Task[Any, Any] = kind(spec, self._producer)
        self.tasks.add(task)
        return task

    def _options(self, whose: str, asked: Mapping[str, Any]) -> TaskOptions:
        """The options asked for over the app's defaults, durations in seconds. `whose` names them in the errors."""
        fields = TaskOptions.__struct_fields__
        unknown = asked.keys() - set(fields)
        if unknown:
            known = ", ".join(sorted({*fields, *_CALLBACKS, "name", "codec", "id_maker"}))
            raise ConfigurationError(f"{whose}: unknown option {', '.join(sorted(unknown))}; known are {known}")
        values: dict[str, Any] = {field: getattr(self._defaults, field) for field in fields}
        for option, value in asked.items():
            if option == "result_ttl" or (option in ("timeout", "soft_timeout") and value is not None):
                value = _seconds(value, f"{whose}: {option}")
            values[option] = value
        _check_options(whose, values)
        return TaskOptions(**values)

    def declare(self, name: str, stub: Callable[P, R] | None = None, **options: Any) -> Task[P, R]:
        """A task whose function is elsewhere: `stub`, a function with the same signature, gives names and types.

        Without a stub the arguments are sent as they are and checked by the worker. `options` are those of `task`
        that the producer applies. Raises ConfigurationError for an unknown or wrong option.
        """
        _check_name(name, "declare: name")
        asked = dict(options)
        codec = asked.pop("codec", None)
        id_maker = asked.pop("id_maker", None)
        if id_maker is not None:
            _check_callable(id_maker, f"task {name!r}: id_maker")
        task_options = self._options(f"task {name!r}", asked)
        chosen = self._codec if codec is None else self._codecs.add(codec)
        if stub is None:
            spec = self._bare_spec(name, task_options, chosen)
        else:
            spec = describe_function(stub, name, task_options, chosen, self.types, TaskContext, None)
            spec.function = None
        spec.id_maker = id_maker
        task: Task[P, R] = Task(spec, self._producer)
        if name not in self.tasks:
            self.tasks.add(task)
        return task

    # Enqueueing and results

    def enqueue_by_name(self, name: str, /, *args: Any, **kwargs: Any) -> TaskResult[Any]:
        """Send a job of a task whose function this process need not have; the worker checks the arguments."""
        return self._by_name(name).enqueue(*args, **kwargs)

    async def aenqueue_by_name(self, name: str, /, *args: Any, **kwargs: Any) -> TaskResult[Any]:
        """`enqueue_by_name` from async code."""
        return await self._by_name(name).aenqueue(*args, **kwargs)

    def _by_name(self, name: str) -> Task[..., Any]:
        if name in self.tasks:
            return self.tasks[name]
        return Task(self._bare_spec(name, self._defaults, self._codec), self._producer)

    def _bare_spec(self, name: str, options: TaskOptions, codec: TypedCodec) -> TaskSpec:
        """A task of which only the name is known."""
        return TaskSpec(
            name=name,
            function=None,
            parameters=None,
            returns=ReturnType(Any, types=self.types, task=name),
            codec=codec,
            options=options,
        )

    def get_result(self, id: str) -> TaskResult[Any]:
        """The handle of a job by its id, from any process. Raises ResultNotFound."""
        return self._producer.find_result(id)

    async def aget_result(self, id: str) -> TaskResult[Any]:
        """`get_result` from async code."""
        return await self._producer.afind_result(id)

    # Workers

    def on_startup(self, hook: Hook) -> Hook:
        """Call `hook(state)` (or `hook()`) when a worker process or pool child starts: the place for pools.

        May be a coroutine function. What it puts on `state` is `context.state` in tasks.
        """
        self._hooks.startup.append(hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        """Call `hook(state)` (or `hook()`) when a worker process or pool child ends, in reverse order."""
        self._hooks.shutdown.append(hook)
        return hook

    def import_tasks(self) -> None:
        """Import the modules of `imports`, so that their tasks are registered."""
        for module in self.imports:
            importlib.import_module(module)

    def worker(
        self,
        queues: Sequence[str | Queue] | Mapping[str, int] | None = None,
        tasks: Iterable[str | Task[Any, Any]] | None = None,
        concurrency: int = 20,
        name: str | None = None,
        *,
        grace: Duration = 25.0,
        burst: bool = False,
        max_jobs_per_child: int | None = None,
    ) -> Worker:
        """A worker of this app, not yet started: `run()`, `start()`, `arun()`, or use it as a context manager.

        `queues` in strict order, or by weight as a mapping; None means the default queue, the declared ones and
        all that registered tasks name. `tasks` limits what it runs. `concurrency` bounds all runs at once.
        `grace` is how many seconds running jobs get at a shutdown. With `burst` it stops when nothing is left.

        Raises ConfigurationError for a name that a worker of this app has already.
        """
        from heeler.executors import in_pool_process

        if in_pool_process():
            raise ConfigurationError(
                "a worker was made while a pool child imported this script for its tasks; put what starts the worker "
                'under `if __name__ == "__main__":`'
            )
        self.import_tasks()
        name = name or self._free_name()
        if name in self.workers:
            raise ConfigurationError(f"this app has a worker named {name!r} already; names of workers are unique")
        if not _is_whole(concurrency) or concurrency < 1:
            raise ConfigurationError(f"worker {name!r}: concurrency must be 1 or more, got {concurrency!r}")
        if max_jobs_per_child is not None and (not _is_whole(max_jobs_per_child) or max_jobs_per_child < 1):
            raise ConfigurationError(
                f"worker {name!r}: max_jobs_per_child must be 1 or more, or None, got {max_jobs_per_child!r}"
            )
        worker = self._make_worker(
            name=name,
            connections=self.connections,
            tasks=self.tasks if tasks is None else self._named_tasks(tasks),
            queues=self._shares(queues),
            concurrency=concurrency,
            grace=_seconds(grace, f"worker {name!r}: grace"),
            logger=self.logger,
            burst=burst,
            max_jobs_per_child=max_jobs_per_child,
            on_stopped=self._worker_stopped,
        )
        self.workers[name] = worker
        return worker

    def burst_worker(self, connections: Connections, queues: Sequence[str] | None, known: Sequence[str] = ()) -> Worker:
        """What a drain works with (see `heeler.testing.drain`): it is not among `workers`, and takes one job at a time.

        It says nothing below a warning, unless the logger "heeler.drain" is given a level.
        """
        self.import_tasks()
        logger = self.logger.getChild("drain")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
        shares = {share.queue: share for share in self._shares(queues)}
        if queues is None:
            shares |= {queue: QueueShare(queue) for queue in known if queue not in shares}
        return self._make_worker(
            name="drain",
            connections=connections,
            tasks=self.tasks,
            queues=list(shares.values()),
            concurrency=1,
            grace=0.0,
            logger=logger,
            burst=True,
        )

    def _make_worker(self, **options: Any) -> Worker:
        """A worker with all that it has from the app. Loaded here, because most processes only enqueue."""
        from heeler.worker.worker import Worker

        return Worker(
            lease=self.lease,
            middleware=self.middleware,
            hooks=self._hooks,
            codecs=self._codecs,
            formats=self._formats,
            imports=self.imports,
            **options,
        )

    def _free_name(self) -> str:
        number = len(self.workers) + 1
        while f"worker-{number}" in self.workers:
            number += 1
        return f"worker-{number}"

    def _worker_stopped(self, worker: Worker) -> None:
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]

    def _named_tasks(self, tasks: Iterable[str | Task[Any, Any]]) -> dict[str, Task[Any, Any]]:
        chosen: list[Task[Any, Any]] = [self.tasks[task] if isinstance(task, str) else task for task in tasks]
        if not chosen:
            raise ConfigurationError("worker: tasks is empty, so it could run nothing; leave it out for all tasks")
        return {task.name: task for task in chosen}

    @property
    def queue_names(self) -> list[str]:
        """The default queue, the declared ones, and all that registered tasks name."""
        named = [task.spec.options.queue_name for task in self.tasks.values()]
        return list(dict.fromkeys([self.default_queue, *(queue.name for queue in self._queues), *named]))

    def _shares(self, queues: Sequence[str | Queue] | Mapping[str, int] | None) -> list[QueueShare]:
        if isinstance(queues, Mapping) and queues:
            for name, weight in queues.items():
                if not _is_whole(weight) or weight < 1:
                    raise ConfigurationError(f"worker: the weight of queue {name!r} must be 1 or more, got {weight!r}")
            return [QueueShare(name, weight) for name, weight in queues.items()]
        if queues is None:
            return [QueueShare(name) for name in self.queue_names]
        if isinstance(queues, str):
            raise ConfigurationError(f"worker: queues takes a list, for example [{queues!r}]")
        if not queues:
            raise ConfigurationError("worker: queues is empty, so it could take nothing; leave it out for all queues")
        return [QueueShare(queue.name, queue.weight) for queue in map(_queue, queues)]

    # The end

    def close(self) -> None:
        """Stop the workers that still run here and close the connections; harmless twice."""
        for worker in list(self.workers.values()):
            worker.stop()
            worker.wait()
        self.connections.close()

    async def aclose(self) -> None:
        """`close` from async code."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


_CALLBACKS = ("on_processing", "on_success", "on_retry", "on_failure")


def _check_options(whose: str, values: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for an option that makes no sense, naming whose it is and what would."""

    def refuse(option: str, wanted: str) -> None:
        raise ConfigurationError(f"{whose}: {option} must be {wanted}, got {values[option]!r}")

    _check_name(values["queue_name"], f"{whose}: queue_name")
    if not _is_whole(values["priority"]) or not -100 <= values["priority"] <= 100:
        refuse("priority", "a whole number from -100 to 100")
    if not isinstance(values["retry"], Retry):
        refuse("retry", "a Retry")
    if values["timeout"] is not None and values["timeout"] <= 0:
        refuse("timeout", "more than 0 seconds")
    if values["soft_timeout"] is not None and values["soft_timeout"] <= 0:
        refuse("soft_timeout", "more than 0 seconds")
    if values["executor"] not in ("thread", "process") and not isinstance(values["executor"], Executor):
        refuse("executor", '"thread", "process" or an Executor')
    if values["concurrency"] is not None and (not _is_whole(values["concurrency"]) or values["concurrency"] < 1):
        refuse("concurrency", "1 or more, or None")
    if not _is_whole(values["max_crashes"]) or values["max_crashes"] < 0:
        refuse("max_crashes", "0 or more")
    if values["reports"] not in ("final", "all"):
        refuse("reports", '"final" or "all"')
    if values["expires"] is not None:
        try:
            moment_or_delay(values["expires"], f"{whose}: expires")
        except (TypeError, ValueError) as error:
            raise ConfigurationError(str(error)) from error


def _queue(queue: str | Queue) -> Queue:
    if isinstance(queue, Queue):
        return queue
    _check_name(queue, "queues: a queue")
    return Queue(queue)


def _check_name(value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} must be a name, got {value!r}")


def _check_callable(value: object, what: str) -> None:
    if not callable(value):
        raise ConfigurationError(f"{what} must be callable, got {value!r}")


def _seconds(duration: Duration, what: str) -> float:
    """A duration of a setting in seconds; what is wrong with it is a ConfigurationError."""
    try:
        return seconds_of(duration, what)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
