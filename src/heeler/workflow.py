"""Signatures: a task with arguments and options, not yet sent. Workflows are made of them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from heeler.overrides import NO_OVERRIDES, Overrides, with_options
from heeler.producer import Prepared, Producer
from heeler.task_result import TaskResult
from heeler.task_spec import TaskSpec

__all__ = ["Signature"]

R = TypeVar("R")


class Signature(Generic[R]):
    """A call to be made later: `task.s(1, 2)`. Immutable, so one signature can be enqueued many times."""

    __slots__ = ("_ask", "_producer", "_spec", "args", "kwargs")

    def __init__(
        self,
        spec: TaskSpec,
        producer: Producer,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        ask: Overrides = NO_OVERRIDES,
    ) -> None:
        self._spec = spec
        self._producer = producer
        self._ask = ask
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self._spec.name}.s({', '.join(shown)})"

    @property
    def task_name(self) -> str:
        return self._spec.name

    @property
    def call(self) -> tuple[TaskSpec, tuple[Any, ...], dict[str, Any], Overrides]:
        """What the producer makes a message of."""
        return self._spec, self.args, self.kwargs, self._ask

    def using(self, **options: Any) -> Signature[R]:
        """A copy with other options; names and errors are those of `Task.using`."""
        return Signature(self._spec, self._producer, self.args, self.kwargs, with_options(self._ask, options))

    def prepare(self) -> Prepared:
        """The handle, and the sealed envelope that somebody else publishes."""
        return self._producer.prepare(*self.call)

    def enqueue(self) -> TaskResult[R]:
        """Send it now. Raises what `Task.enqueue` raises."""
        return self._producer.enqueue(*self.call)

    async def aenqueue(self) -> TaskResult[R]:
        """`enqueue` from async code."""
        return await self._producer.aenqueue(*self.call)
