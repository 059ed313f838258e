"""The app: what a user configures once, registers tasks with, and makes workers of. Nothing below knows it."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from heeler.administration import DeadLetters, LiveWorkers, Queues
from heeler.arguments import ReturnType
from heeler.clock import Clock, SystemClock
from heeler.codecs import Codecs
from heeler.config import UNSET, Config, Unset
from heeler.connections import Connections
from heeler.contracts import (
    Broker,
    Middleware,
    OrderedStore,
    PlainBroker,
    Queue,
    QueueShare,
    ResultStore,
    TypedCodec,
)
from heeler.errors import ConfigurationError
from heeler.event_stream import AsyncEvents, EventFilter, Events
from heeler.event_teller import EventTeller
from heeler.hooks import Hooks
from heeler.job_list import JobList
from heeler.main_module import importable_module
from heeler.middleware import LoneHook, hooks_called
from heeler.model import Retry, TaskStatus, WorkerPresence
from heeler.producer import Producer
from heeler.registry import TaskRegistry
from heeler.result_listener import ResultListener
from heeler.sealer import Sealer
from heeler.setting_checks import (
    callable_of,
    check_callable,
    check_name,
    check_options,
    is_whole,
    list_of,
    queue_of,
    seconds,
)
from heeler.task import CoroutineTask, FunctionTask, Task
from heeler.task_context import TaskContext
from heeler.task_decorators import CALLBACKS, ContextTaskDecorator, IdTaskDecorator, TaskDecorator, TaskKeywords
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import (
    MomentOrDelay,
    TaskHome,
    TaskOptions,
    TaskSpec,
    calling_module,
    default_name,
    describe_function,
    registering_module,
)
from heeler.types import TypeRegistry
from heeler.wire.native import NativeFormat
from heeler.workflow_result import WorkflowResult, find_workflow

if TYPE_CHECKING:
    from heeler.scheduler import Scheduler, SchedulerLoop
    from heeler.schedules import Schedules, TimingOptions
    from heeler.startables import Startable
    from heeler.worker.health_door import MetricsSource
    from heeler.worker.worker import Worker

__all__ = ["Heeler"]

P = ParamSpec("P")
R = TypeVar("R")
AnyStartable = TypeVar("AnyStartable", bound="Startable | Task[Any, Any]")
Hook = TypeVar("Hook", bound=Callable[..., Any])
Duration = float | timedelta


class Heeler:
    """A task queue app.

    `url` is the broker's; `broker` and `results` take a URL or an object instead. `results` unset is the broker's own
    store where it has one; `"none://"` is no store. `retry`, `timeout` (seconds) and `result_ttl` are defaults of
    tasks; `lease` is after how many seconds without a renewal a worker counts as dead. `namespace` keeps apps on one
    server apart. `codec` is "msgpack" (default), "json", or an object; `id_maker` makes the ids of jobs, which are then
    taken as if they had been given; `imports` names modules that register tasks; `queues` declares queues that no task
    names. What is not given comes from the environment, the configuration file, or the default: see the reference.
    `config` tells what is in effect.

    Nothing is opened before its first use. Raises ConfigurationError for a setting that cannot be right.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        broker: str | Broker | PlainBroker | None = None,
        results: str | ResultStore | OrderedStore | None = None,
        default_queue: str | Unset = UNSET,
        retry: Retry | None = None,
        timeout: Duration | Unset | None = UNSET,
        lease: Duration | Unset = UNSET,
        result_ttl: Duration | Unset = UNSET,
        namespace: str | Unset = UNSET,
        codec: Any = UNSET,
        id_maker: Callable[[], str] | Unset = UNSET,
        logger: logging.Logger | None = None,
        middleware: Sequence[Middleware | Any] | Unset = UNSET,
        imports: Sequence[str] | Unset = UNSET,
        queues: Sequence[Queue | str] | Unset = UNSET,
        clock: Clock | None = None,
    ) -> None:
        if url is not None and broker is not None:
            raise ConfigurationError("Heeler: give the broker as `url` or as `broker`, not as both")
        self.config = Config()
        choose = self.config.choose
        self.logger: logging.Logger = choose("logger", _given(logger)) or logging.getLogger("heeler")
        self.clock: Clock = clock or SystemClock()
        self.default_queue: str = choose("default_queue", default_queue)
        self.namespace: str = choose("namespace", namespace)
        self.lease = seconds(choose("lease", lease), "Heeler: lease")
        if self.lease <= 0:
            raise ConfigurationError("Heeler: lease must be more than 0 seconds")
        check_name(self.namespace, "Heeler: namespace")
        check_name(self.default_queue, "Heeler: default_queue")
        self.imports: tuple[str, ...] = list_of("imports", choose("imports", imports))
        self.types = TypeRegistry()
        self.tasks = TaskRegistry()
        self.workers: dict[str, Worker] = {}
        self.middleware: tuple[Any, ...] = list_of("middleware", choose("middleware", middleware))
        self._queues = tuple(queue_of(queue) for queue in list_of("queues", choose("declared_queues", queues)))
        self._defaults = TaskOptions()
        self._defaults = self._options(
            "Heeler",
            {
                "queue_name": self.default_queue,
                "retry": choose("retry", _given(retry)),
                "timeout": choose("timeout", timeout),
                "result_ttl": choose("result_ttl", result_ttl),
            },
        )
        self._hooks = Hooks()
        self._codecs = Codecs(self.types)
        self._home = TaskHome(self._codecs, self._hooks, hooks_called("in_child", self.middleware))
        self._codec = self._codecs.add(choose("codec", codec))
        self._formats = {NativeFormat.name: NativeFormat()}
        self.connections = Connections(
            choose("url", _given(url if broker is None else broker)),
            choose("results", _given(results)),
            clock=self.clock,
            namespace=self.namespace,
            queues=self._queues,
            logger=self.logger,
        )
        listener = ResultListener(self.connections)
        self._teller = EventTeller(self.connections)
        source = ResultSource(
            self.connections,
            listener,
            self._codecs,
            dict(self._formats),
            self.clock,
            self._teller,
            self.tasks.spec,
        )
        self._job_list = JobList(source)
        sealer = Sealer(
            source,
            wire=self._formats[NativeFormat.name],
            middleware=self.middleware,
            id_maker=callable_of(choose("id_maker", id_maker), "Heeler: id_maker"),
        )
        self._producer = Producer(sealer, self.middleware)
        self.eager = self.connections.scheme == "eager"
        if self.eager:
            from heeler.worker.eager_runs import EagerRuns

            self._producer.after_publish = EagerRuns(self.connections, self.burst_worker)
        self.queues = Queues(self.connections)
        self.dead_letters = DeadLetters(self.connections)
        self._made_by = calling_module()
        self._presences = LiveWorkers(self.connections)

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
        check_name(name, "task: name")
        codec = asked.pop("codec", None)
        id_maker = asked.pop("id_maker", None)
        callbacks = {hook: asked.pop(hook, None) for hook in CALLBACKS}
        for option, called in {"id_maker": id_maker, **callbacks}.items():
            if called is not None:
                check_callable(called, f"task {name!r}: {option}")
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
            known = ", ".join(sorted({*fields, *CALLBACKS, "name", "codec", "id_maker"}))
            raise ConfigurationError(f"{whose}: unknown option {', '.join(sorted(unknown))}; known are {known}")
        values: dict[str, Any] = {field: getattr(self._defaults, field) for field in fields}
        for option, value in asked.items():
            if option == "result_ttl" or (option in ("timeout", "soft_timeout") and value is not None):
                value = seconds(value, f"{whose}: {option}")
            values[option] = value
        check_options(whose, values)
        return TaskOptions(**values)

    def declare(self, name: str, stub: Callable[P, R] | None = None, **options: Any) -> Task[P, R]:
        """A task whose function is elsewhere: `stub`, a function with the same signature, gives names and types.

        Without a stub the arguments are sent as they are and checked by the worker. `options` are those of `task`
        that the producer applies. Raises ConfigurationError for an unknown or wrong option.
        """
        check_name(name, "declare: name")
        asked = dict(options)
        codec = asked.pop("codec", None)
        id_maker = asked.pop("id_maker", None)
        if id_maker is not None:
            check_callable(id_maker, f"task {name!r}: id_maker")
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

    def schedule(
        self,
        cron: str | None = None,
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[TimingOptions],
    ) -> Callable[[AnyStartable], AnyStartable]:
        """Run a task again and again: `@app.schedule("*/5 * * * *", timezone="Europe/Berlin")` above `@app.task`.

        For a workflow: `app.schedule("@daily", name="nightly")(chain(…))`. The expression and the options are those of
        `app.schedules.add`; the schedule is called like the task or Workflow unless it has a `name`. It is stored when
        the next worker starts. Raises ConfigurationError for what is wrong with it or a name that is taken,
        InvalidArguments if the task does not take these arguments, InvalidWorkflow.
        """

        def declare(starts: AnyStartable) -> AnyStartable:
            from heeler.schedules.declaring import declaration

            call, its_name, place = declaration(starts, name, args, kwargs or {})
            self.schedules.declare(its_name, call, {"cron": cron, **options}, place)
            return starts

        return declare

    @functools.cached_property
    def schedules(self) -> Schedules:
        """What starts by itself, and when. Loaded here, because most processes only enqueue."""
        from heeler.schedules import Schedules

        return Schedules(self.connections, self._producer, self._made_by)

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

    def get_workflow(self, id: str) -> WorkflowResult[Any]:
        """The handle of a workflow by its id, from any process. Raises ResultNotFound."""
        return self.connections.io.run(find_workflow(self._producer.source, id))

    async def aget_workflow(self, id: str) -> WorkflowResult[Any]:
        """`get_workflow` from async code."""
        return await self.connections.io.arun(find_workflow(self._producer.source, id))

    def jobs(
        self,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
        *,
        scheduled: bool = False,
        queue_name: str | None = None,
        task: str | Task[..., Any] | None = None,
        since: MomentOrDelay | None = None,
        limit: int = 100,
        after: str | TaskResult[Any] | None = None,
    ) -> list[TaskResult[Any]]:
        """A page of this app's jobs, the one published last first; looking changes nothing.

        `status` is one or several that are wanted; `scheduled=True` wants READY ones with a due time in the future.
        `since` is an aware datetime, or how long ago (seconds or a timedelta), and concerns `enqueued_at`. `limit` is
        how many at most; `after`, the last job of a page or its id, begins the next one. A redriven job counts as
        published anew; an ended one is listed as long as its result is kept.

        Raises ValueError or TypeError for a wrong argument, ResultNotFound if nothing is known of `after` any more,
        ConfigurationError where nothing is stored of jobs, BrokerUnavailable.
        """
        wanted = self._job_list.wanted(status, scheduled, queue_name, task, since)
        return self.connections.io.run(self._job_list.page(wanted, limit, after))

    async def ajobs(
        self,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
        *,
        scheduled: bool = False,
        queue_name: str | None = None,
        task: str | Task[..., Any] | None = None,
        since: MomentOrDelay | None = None,
        limit: int = 100,
        after: str | TaskResult[Any] | None = None,
    ) -> list[TaskResult[Any]]:
        """`jobs` from async code."""
        wanted = self._job_list.wanted(status, scheduled, queue_name, task, since)
        return await self.connections.io.arun(self._job_list.page(wanted, limit, after))

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

    def on_error(self, hook: Hook) -> Hook:
        """Call `hook(exc, where)` at a fault of a worker or the broker, not of a task; for workers made after this."""
        self.middleware = (*self.middleware, LoneHook("on_error", hook))
        return hook

    def ready(self, hook: Hook) -> Hook:
        """Ask `hook(worker)` before each fetch; False postpones it for a moment. For workers made after this."""
        self.middleware = (*self.middleware, LoneHook("ready", hook))
        return hook

    def import_tasks(self) -> None:
        """Import the modules of `imports`, so that their tasks are registered."""
        for module in self.imports:
            importlib.import_module(module)

    def worker(
        self,
        queues: Sequence[str | Queue] | Mapping[str, int] | None = None,
        tasks: Iterable[str | Task[Any, Any]] | None = None,
        concurrency: int | Unset = UNSET,
        name: str | None = None,
        *,
        grace: Duration | Unset = UNSET,
        burst: bool | Unset = UNSET,
        max_jobs_per_child: int | Unset | None = UNSET,
        scheduler: bool | Unset = UNSET,
        health_port: int | Unset | None = UNSET,
        health_host: str | Unset | None = UNSET,
        health_file: str | Unset | None = UNSET,
        health_patience: Duration | Unset = UNSET,
    ) -> Worker:
        """A worker of this app, not yet started: `run()`, `start()`, `arun()`, or use it as a context manager.

        `queues` in strict order, or by weight as a mapping; None means the default queue, the declared ones and
        all that registered tasks name. `tasks` limits what it runs. `concurrency` bounds all runs at once.
        `grace` is how many seconds running jobs get at a shutdown. With `burst` it stops when nothing is left. Unless
        `scheduler` is False, or it is a burst, it also starts what schedules say, as all workers do between them.
        `health_port` and `health_file` tell others how it is. What is not given comes from the environment, the
        configuration file, or the default: see the reference.

        Raises ConfigurationError for a name that a worker of this app has already, or a setting that cannot be right.
        """
        from heeler.executors import in_pool_process
        from heeler.worker.health_door import HealthPlace  # here, because most processes only enqueue

        if in_pool_process():
            raise ConfigurationError(
                "a worker was made while a pool child imported this script for its tasks; put what starts the worker "
                'under `if __name__ == "__main__":`'
            )
        self.import_tasks()
        config = Config()
        name = name or self._free_name(config.choose("name"))
        if name in self.workers:
            raise ConfigurationError(f"this app has a worker named {name!r} already; names of workers are unique")
        at_once = config.choose("concurrency", concurrency)
        if not is_whole(at_once) or at_once < 1:
            raise ConfigurationError(f"worker {name!r}: concurrency must be 1 or more, got {at_once!r}")
        per_child = config.choose("max_jobs_per_child", max_jobs_per_child)
        if per_child is not None and (not is_whole(per_child) or per_child < 1):
            raise ConfigurationError(
                f"worker {name!r}: max_jobs_per_child must be 1 or more, or None, got {per_child!r}"
            )
        named = config.choose("tasks", _given(tasks))
        is_burst = config.choose("burst", burst)
        starts_schedules = config.choose("scheduler", scheduler)
        worker = self._make_worker(
            name=name,
            connections=self.connections,
            tasks=self.tasks if named is None else self._named_tasks(named),
            queues=self._shares(config.choose("queues", _given(queues))),
            concurrency=at_once,
            grace=seconds(config.choose("grace", grace), f"worker {name!r}: grace"),
            logger=self.logger,
            burst=is_burst,
            max_jobs_per_child=per_child,
            health=HealthPlace(
                port=config.choose("health_port", health_port),
                host=config.choose("health_host", health_host),
                file=config.choose("health_file", health_file),
                patience=seconds(
                    config.choose("health_patience", health_patience), f"worker {name!r}: health_patience"
                ),
            ),
            metrics=self._metrics_of,
            beside=self._scheduler_maker(name) if starts_schedules and not is_burst else None,
            on_stopped=self._worker_stopped,
        )
        self.workers[name] = worker
        return worker

    def _metrics_of(self, worker: Worker) -> MetricsSource | None:
        """What counts for Prometheus; None where the extra `heeler[prometheus]` is not installed."""
        if find_spec("prometheus_client") is None:
            return None
        from heeler.prometheus.source import metrics_source

        return metrics_source(worker, self.connections, self._producer, self.middleware)

    def scheduler(self, name: str = "scheduler") -> Scheduler:
        """A scheduler without a worker, not yet started: `run()`, `start()`, `arun()`, or use it as a context manager.

        Only needed where workers do without. Raises ConfigurationError where schedules cannot be kept.
        """
        from heeler.scheduler import Scheduler

        self.import_tasks()
        make_loop = self._scheduler_maker(name)
        if make_loop is None:
            raise self.schedules.impossible()
        return Scheduler(name, self.connections, make_loop, self.logger.getChild("scheduler"))

    def _scheduler_maker(self, name: str) -> Callable[[], SchedulerLoop] | None:
        """None where there is nothing to do for one."""
        if self.connections.broker.schedules is None:
            if self.schedules.declared:
                raise self.schedules.impossible()
            return None
        from heeler.scheduler import SchedulerLoop

        logger = self.logger.getChild("scheduler")
        return lambda: SchedulerLoop(name, self.connections, self._producer, self.schedules, logger, self.lease)

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
            teller=self._teller,
            lease=self.lease,
            middleware=self.middleware,
            hooks=self._hooks,
            codecs=self._codecs,
            formats=self._formats,
            imports=self.imports,
            **options,
        )

    def _free_name(self, wanted: str | None) -> str:
        """The configured name, with a number where several workers would have it."""
        if wanted is not None and wanted not in self.workers:
            return wanted
        number = len(self.workers) + 1
        while f"{wanted or 'worker'}-{number}" in self.workers:
            number += 1
        return f"{wanted or 'worker'}-{number}"

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
                if not is_whole(weight) or weight < 1:
                    raise ConfigurationError(f"worker: the weight of queue {name!r} must be 1 or more, got {weight!r}")
            return [QueueShare(name, weight) for name, weight in queues.items()]
        if queues is None:
            return [QueueShare(name) for name in self.queue_names]
        if isinstance(queues, str):
            raise ConfigurationError(f"worker: queues takes a list, for example [{queues!r}]")
        if not queues:
            raise ConfigurationError("worker: queues is empty, so it could take nothing; leave it out for all queues")
        declared = [queue_of(queue) for queue in queues]
        self.connections.declare(declared)
        return [QueueShare(queue.name, queue.weight) for queue in declared]

    def live_workers(self, patience: float = 0.5) -> list[WorkerPresence]:
        """The workers of all processes, with what each runs now.

        They are asked to say so, and waited for up to `patience` seconds; with 0 what each said last is taken, which
        is up to 15 seconds old. Raises ConfigurationError where the broker has no control channel.
        """
        return self.connections.io.run(self._presences.live(patience))

    async def alive_workers(self, patience: float = 0.5) -> list[WorkerPresence]:
        """`live_workers` from async code."""
        return await self.connections.io.arun(self._presences.live(patience))

    def ask_workers(self, patience: float = 1.0) -> list[tuple[WorkerPresence, bool]]:
        """`live_workers`, each with whether it has answered within `patience` seconds."""
        return self.connections.io.run(self._presences.census(patience))

    async def aask_workers(self, patience: float = 1.0) -> list[tuple[WorkerPresence, bool]]:
        """`ask_workers` from async code."""
        return await self.connections.io.arun(self._presences.census(patience))

    def quiet_workers(self, *names: str) -> list[WorkerPresence]:
        """Have the live workers of these names or ids take no more jobs; what they have goes on. Who was told."""
        return self.connections.io.run(self._presences.tell("quiet", names))

    async def aquiet_workers(self, *names: str) -> list[WorkerPresence]:
        """`quiet_workers` from async code."""
        return await self.connections.io.arun(self._presences.tell("quiet", names))

    def stop_workers(self, *names: str) -> list[WorkerPresence]:
        """Have the live workers of these names or ids stop, as a SIGTERM does. Who was told."""
        return self.connections.io.run(self._presences.tell("stop", names))

    async def astop_workers(self, *names: str) -> list[WorkerPresence]:
        """`stop_workers` from async code."""
        return await self.connections.io.arun(self._presences.tell("stop", names))

    # Events

    def events(
        self,
        kinds: str | Iterable[str] | None = None,
        *,
        level: str | int | None = None,
        queue: str | None = None,
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> Events:
        """What happens from now on to jobs and workers in all processes, as an iterator that waits for the next event.

        `kinds` are such as "job", "job.failed", "worker", "error" (None: all); `level` is the lowest that is wanted:
        "debug", "info", "warning" or "error", or a number of `logging`; `queue` wants events of this queue's jobs only.
        Up to `buffer` events are kept until they are read, then the oldest are dropped and counted (`dropped`). With a
        `timeout` the iterator ends when nothing has come for so many seconds. Close it, or use it as a context manager.

        Nothing is told while nobody follows. Raises ValueError for a wrong argument, ConfigurationError where the
        broker carries no events, BrokerUnavailable.
        """
        return Events(self.connections, self._teller, EventFilter(kinds, level, queue), buffer, timeout)

    def aevents(
        self,
        kinds: str | Iterable[str] | None = None,
        *,
        level: str | int | None = None,
        queue: str | None = None,
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> AsyncEvents:
        """`events` from async code: `async for event in app.aevents()`, or `async with` around it."""
        return AsyncEvents(self.connections, self._teller, EventFilter(kinds, level, queue), buffer, timeout)

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


def _given(argument: object) -> object:
    """An argument of which None means that it was not given."""
    return UNSET if argument is None else argument
