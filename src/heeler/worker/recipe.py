"""How to run a job of a task, worked out once for all jobs that ask for nothing special."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from heeler.codecs import Codecs
from heeler.contracts import Executor, TypedCodec, WireFormat
from heeler.errors import InvalidArguments
from heeler.model import NATIVE_FORMAT, Delivery, Message
from heeler.task_spec import TaskSpec
from heeler.worker.decide import Policy

__all__ = ["CannotOpen", "Recipe", "Recipes"]


class CannotOpen(Exception):
    """The envelope can never be understood here; the text says why."""


class Recipe(msgspec.Struct, eq=False, frozen=True, kw_only=True):
    """What the runner needs to know, gathered from the task's options and those of the message.

    `plain`: the arguments need nothing but to be decoded. `bare`: no middleware stands around the run, and no callback
    follows it.
    """

    spec: TaskSpec
    function: Callable[..., Any]
    decode: Callable[[bytes, TypedCodec, bool], tuple[tuple[Any, ...], dict[str, Any]]]
    codec: TypedCodec  # of the arguments
    encode: Callable[..., bytes]  # ReturnType.encode
    result_codec: TypedCodec
    policy: Policy
    timeout: float | None
    soft_timeout: float | None
    limit: int | None
    executor: Executor | str
    is_coroutine: bool
    plain: bool
    bare: bool
    announce_at_once: bool


class Recipes:
    """The recipes of one worker. `wrapped` says whether a middleware stands around every run."""

    def __init__(
        self, tasks: Mapping[str, Any], codecs: Codecs, formats: Mapping[str, WireFormat], *, wrapped: bool
    ) -> None:
        self._tasks = tasks
        self._codecs = codecs
        self._formats = formats
        self._wrapped = wrapped
        self._usual: dict[str, Recipe] = {}

    def of(self, delivery: Delivery) -> tuple[Recipe, Message | None]:
        """The recipe for a delivery, and its opened message where more than the body is needed.

        Raises CannotOpen. The task itself is known: the fetcher has looked.
        """
        envelope = delivery.envelope
        spec: TaskSpec = self._tasks[envelope.task].spec
        usual = self._usual.get(envelope.task)
        if usual is None or usual.spec is not spec:  # new, or registered again: a notebook's cell
            usual = self._usual[envelope.task] = self._make(spec, None, spec.codec)
        if (
            usual.plain
            and not envelope.options
            and envelope.format == NATIVE_FORMAT
            and envelope.content_type == usual.policy.content_type
        ):
            return usual, None
        message = self._open(delivery)
        if (
            envelope.content_type == usual.policy.content_type
            and message.timeout is None
            and message.soft_timeout is None
            and message.retry is None
            and message.reports is None
            and message.max_crashes is None
        ):
            return usual, message
        return self._make(spec, message, self._codec(envelope.content_type)), message

    def message(self, delivery: Delivery) -> Message:
        """The opened message. Raises CannotOpen."""
        return self._open(delivery)

    def _open(self, delivery: Delivery) -> Message:
        envelope = delivery.envelope
        wire = self._formats.get(envelope.format)
        if wire is None:
            known = ", ".join(sorted(self._formats))
            raise CannotOpen(f"wire format {envelope.format!r} is not known here; known are {known}")
        try:
            return wire.open(envelope)
        except (ValueError, InvalidArguments) as error:
            raise CannotOpen(str(error)) from error

    def _codec(self, content_type: str) -> TypedCodec:
        try:
            return self._codecs.get(content_type)
        except LookupError as error:
            raise CannotOpen(str(error.args[0])) from error

    def _make(self, spec: TaskSpec, message: Message | None, codec: TypedCodec) -> Recipe:
        options = spec.options
        assert spec.function is not None
        assert spec.parameters is not None
        retry, max_crashes = options.retry, options.max_crashes
        timeout, soft_timeout, reports = options.timeout, options.soft_timeout, options.reports
        if message is not None:
            retry = message.retry or retry
            max_crashes = max_crashes if message.max_crashes is None else message.max_crashes
            timeout = timeout if message.timeout is None else message.timeout
            soft_timeout = soft_timeout if message.soft_timeout is None else message.soft_timeout
            reports = message.reports or reports
        return Recipe(
            spec=spec,
            function=spec.function,
            decode=spec.parameters.decode,
            codec=codec,
            encode=spec.returns.encode,
            result_codec=spec.codec,
            policy=Policy(retry=retry, max_crashes=max_crashes, content_type=spec.codec.content_type),
            timeout=timeout,
            soft_timeout=soft_timeout,
            limit=options.concurrency,
            executor=options.executor,
            is_coroutine=spec.is_coroutine,
            plain=not options.id_as_first_arg and spec.context_parameter is None,
            bare=not self._wrapped and not spec.has_callbacks,
            announce_at_once=reports == "all",
        )
