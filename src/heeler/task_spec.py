"""What is known of a task: its function, its arguments, its options. Producers and workers share it."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FrameType, NoneType
from typing import Any, Literal, get_args

import msgspec

from heeler.arguments import Mend, Parameters, ReturnType, resolve_return
from heeler.codecs import Codecs
from heeler.contracts import Executor, TypedCodec
from heeler.errors import ConfigurationError
from heeler.hooks import Hooks
from heeler.main_module import importable_module
from heeler.model import Message, Reports, Retry, seconds_of
from heeler.types import TypeRegistry

__all__ = [
    "MomentOrDelay",
    "TaskHome",
    "TaskOptions",
    "TaskSpec",
    "calling_module",
    "default_name",
    "moment_or_delay",
]

MomentOrDelay = datetime | timedelta | float
ExecutorName = Literal["thread", "process"]


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a task with all defaults applied. Durations are seconds."""

    queue_name: str = "default"
    priority: int = 0
    retry: Retry = Retry()
    timeout: float | None = None
    soft_timeout: float | None = None
    expires: MomentOrDelay | None = None
    executor: ExecutorName | Executor = "thread"
    concurrency: int | None = None
    takes_context: bool = False
    id_as_first_arg: bool = False
    ignore_result: bool = False
    result_ttl: float = 86400.0
    max_crashes: int = 3
    reports: Reports = "final"


def moment_or_delay(value: MomentOrDelay, what: str) -> tuple[float | None, float]:
    """An aware datetime as (epoch seconds, 0), or a delay as (None, seconds). Raises for a naive datetime."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(
                f"{what}: {value.isoformat()} is naive: it has no time zone, so it names a different moment on each "
                f"machine; give an aware datetime, for example datetime.now(UTC) + timedelta(…), or a timedelta"
            )
        return value.timestamp(), 0.0
    return None, seconds_of(value, what)


@dataclass(slots=True, eq=False)
class TaskHome:
    """What a task needs of its app where the app is only imported: in a pool child."""

    codecs: Codecs = field(default_factory=Codecs)
    hooks: Hooks = field(default_factory=Hooks)
    in_child: Sequence[Callable[[Any], None]] = ()  # the middleware's hooks of that name


@dataclass(slots=True, eq=False)
class TaskSpec:
    """A task as its producers and workers know it. `function` is None where it is only declared."""

    name: str
    function: Callable[..., Any] | None
    parameters: Parameters | None
    returns: ReturnType
    codec: TypedCodec
    options: TaskOptions
    is_coroutine: bool = False
    context_parameter: str | None = None
    module: str = ""
    qualname: str = ""
    defined_in: str | None = None  # the importable module whose import registers it; None: no child can have it
    id_maker: Callable[[], str] | None = None
    home: TaskHome | None = None
    on_processing: Callable[..., Any] | None = None
    on_success: Callable[..., Any] | None = None
    on_retry: Callable[..., Any] | None = None
    on_failure: Callable[..., Any] | None = None

    @property
    def importable(self) -> bool:
        """Whether another process has this task after importing `defined_in`."""
        return self.defined_in is not None

    @property
    def has_callbacks(self) -> bool:
        return not (self.on_processing is self.on_success is self.on_retry is self.on_failure is None)

    @property
    def wants_context(self) -> bool:
        return self.context_parameter is not None

    def prepare_call(
        self, message: Message, codec: TypedCodec, context: Any, mends: Sequence[Mend] = ()
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The decoded arguments of the call, with id and context put in their places. Raises InvalidArguments."""
        assert self.parameters is not None
        arguments = self.parameters.decode(message.payload, codec, message.bound)
        if mends:
            arguments = self.parameters.mend(arguments, mends)
        return self.parameters.supply(arguments, message.id, context)


def describe_function(
    function: Callable[..., Any],
    name: str,
    options: TaskOptions,
    codec: TypedCodec,
    types: TypeRegistry,
    context_type: type,
    registered_from: str | None,
) -> TaskSpec:
    """The spec of a function. Raises ConfigurationError for one that cannot be a task."""
    if not callable(function):
        raise ConfigurationError(f"task {name!r}: {function!r} is not callable")
    target = inspect.unwrap(function) if not isinstance(function, functools.partial) else function.func
    called = _routine(target)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigurationError(
            f"task {name!r} is a generator function, which a worker cannot run to an end; return a list, or "
            f"enqueue one job for each item"
        )
    context_parameter = _context_parameter(function, name, options, context_type)
    if options.executor == "process" and registered_from is None:
        raise ConfigurationError(
            f"task {name!r} has executor='process', but no child process can import it; define and register it at "
            f"the top level of a module"
        )
    return TaskSpec(
        name=name,
        function=function,
        parameters=Parameters.of(
            function,
            task=name,
            skip_first=options.id_as_first_arg,
            context_parameter=context_parameter,
            types=types,
        ),
        returns=ReturnType(resolve_return(function, name), types=types, task=name),
        codec=codec,
        options=options,
        is_coroutine=inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(_routine(function)),
        context_parameter=context_parameter,
        module=getattr(target, "__module__", "") or "",
        qualname=getattr(target, "__qualname__", type(target).__qualname__),
        defined_in=registered_from,
    )


def _routine(function: Any) -> Any:
    """What runs when it is called: the function itself, or the `__call__` of a callable object."""
    return function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004


def _context_parameter(function: Callable[..., Any], name: str, options: TaskOptions, context_type: type) -> str | None:
    parameters = list(inspect.signature(function).parameters.values())
    if options.takes_context:
        if not parameters:
            raise ConfigurationError(f"task {name!r} has takes_context=True but no parameter to take it")
        return parameters[0].name
    for parameter in parameters:
        if _is_context(parameter.annotation, context_type):
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                raise ConfigurationError(
                    f"task {name!r}: the context parameter {parameter.name!r} must not be positional-only"
                )
            return parameter.name
    return None


def _is_context(annotation: Any, context_type: type) -> bool:
    """Whether it means the context or None: as an object, or as text that need not be resolvable here."""
    if isinstance(annotation, str):
        names = {word.rpartition(".")[2] for word in re.findall(r"[\w.]+", annotation)}
        return names - {"Optional", "Union", "None"} == {context_type.__name__}
    choices = get_args(annotation) or (annotation,)
    return context_type in choices and all(choice in (context_type, NoneType) for choice in choices)


def default_name(function: Callable[..., Any]) -> str:
    """`module.qualname`, the same whether the module is imported or run as a script. Raises ConfigurationError."""
    if isinstance(function, functools.partial):
        raise ConfigurationError(f'{function!r} has no name of its own: register it with task(name="…")')
    holder: Any = function if hasattr(function, "__qualname__") else type(function)
    if isinstance(function, functools.partialmethod) or "<" in holder.__qualname__:
        kind = "a lambda" if "<lambda>" in holder.__qualname__ else "a nested function"
        raise ConfigurationError(
            f"{holder.__qualname__} is {kind}, which no worker could find by that name: give it one with "
            f'task(name="…"), or define it at the top level of a module'
        )
    return f"{importable_module(holder.__module__) or holder.__module__}.{holder.__qualname__}"


def calling_module() -> str:
    """The module of the code that called Heeler's public API, by the name that it has in every process."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "heeler":
        frame = frame.f_back
    name = "" if frame is None else str(frame.f_globals.get("__name__", ""))
    return importable_module(name) or name or "unknown"


def registering_module() -> str | None:
    """The importable module at whose top level the caller of Heeler's public API stands; None if elsewhere."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "heeler":
        frame = frame.f_back
    if frame is None or frame.f_code.co_name != "<module>":
        return None
    module = str(frame.f_globals.get("__name__", ""))
    if module != "__main__" and module not in sys.modules and importlib.util.find_spec(module) is None:
        return None
    return importable_module(module)
