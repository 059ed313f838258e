"""Signatures: a task with arguments and options, not yet sent. Workflows are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from heeler.dag.sketch import Call, Sketch
from heeler.errors import InvalidWorkflow
from heeler.overrides import NO_OVERRIDES, Overrides, with_options
from heeler.producer import Producer
from heeler.sealer import Prepared
from heeler.task_result import TaskResult
from heeler.task_spec import TaskSpec
from heeler.workflow.nodes import Node, nodes_in, with_gaps
from heeler.workflow.parts import Composable, Composite, Numbers, checked, merged
from heeler.workflow_sender import Leaf, WorkflowSender

__all__ = ["Followed", "Signature"]

R_co = TypeVar("R_co", covariant=True)


class Signature(Composable[R_co]):
    """A call to be made later: `task.s(1, 2)`. Immutable, so one signature can be enqueued many times."""

    __slots__ = ("_ask", "_is_immutable", "_producer", "_spec", "args", "kwargs")

    def __init__(
        self,
        spec: TaskSpec,
        producer: Producer,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        ask: Overrides = NO_OVERRIDES,
        is_immutable: bool = False,
    ) -> None:
        self._spec = spec
        self._producer = producer
        self._ask = ask
        self._is_immutable = is_immutable
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self._spec.name}.{'si' if self._is_immutable else 's'}({', '.join(shown)})"

    @property
    def task_name(self) -> str:
        return self._spec.name

    @property
    def call(self) -> tuple[TaskSpec, tuple[Any, ...], dict[str, Any], Overrides]:
        """What the producer makes a message of. Raises InvalidWorkflow where arguments stand for results of nodes."""
        if any(True for _ in self._nodes()):
            raise InvalidWorkflow(
                f"{self._spec.name}: an argument stands for the result of a node of a workflow, so this job can only "
                f"be sent as a part of that workflow"
            )
        return self._spec, self.args, self.kwargs, self._ask

    def using(self, **options: Any) -> Signature[R_co]:
        """A copy with other options; names and errors are those of `Task.using`."""
        ask = with_options(self._ask, options)
        return Signature(self._spec, self._producer, self.args, self.kwargs, ask, self._is_immutable)

    def immutable(self) -> Signature[R_co]:
        """A copy that takes nothing from what comes before it in a workflow: it runs with its own arguments alone."""
        return Signature(self._spec, self._producer, self.args, self.kwargs, self._ask, True)

    def then(self, *followers: Composable[Any]) -> Followed[R_co]:
        """This job, and jobs that follow its success with its result as first argument."""
        return Followed(self)._changed(then=checked(followers, "then"))  # type: ignore[return-value]

    def catch(self, *followers: Composable[Any]) -> Followed[R_co]:
        """This job, and jobs that follow its final failure with a FailedRun as first argument."""
        return Followed(self)._changed(catch=checked(followers, "catch"))  # type: ignore[return-value]

    def prepare(self) -> Prepared:
        """The handle, and the sealed envelope that somebody else publishes."""
        return self._producer.sealer.prepare(*self.call)

    def enqueue(self) -> TaskResult[R_co]:
        """Send it now. Raises what `Task.enqueue` raises."""
        return self._producer.enqueue(*self.call)

    async def aenqueue(self) -> TaskResult[R_co]:
        """`enqueue` from async code."""
        return await self._producer.aenqueue(*self.call)

    @property
    def _label(self) -> str:
        return self._spec.name.rpartition(".")[2]

    @property
    def _shown(self) -> str:
        return repr(self).replace(".si(" if self._is_immutable else ".s(", "(", 1)

    def _sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        if self._ask.id is not None:
            raise InvalidWorkflow(
                f"{self._spec.name}: the id {self._ask.id!r} was chosen for a job that is part of a workflow; only of "
                f"the whole an id can be chosen"
            )
        args, kwargs = self.args, self.kwargs
        if any(True for _ in self._nodes()):
            args = tuple(with_gaps(arg, numbers, self._spec.name) for arg in args)
            kwargs = {name: with_gaps(value, numbers, self._spec.name) for name, value in kwargs.items()}
        leaf = Leaf(self._spec, args, kwargs, merged(ask, self._ask), self._producer)
        return Call(leaf=leaf, task=self._spec.name, takes=not self._is_immutable)

    def _senders(self) -> Iterator[WorkflowSender]:
        yield WorkflowSender(self._producer)

    def _nodes(self) -> Iterator[Node]:
        try:
            found = [node for value in (*self.args, self.kwargs) for node in nodes_in(value)]
        except RecursionError:  # arguments nested so deep cannot be sent: their check says it better
            return
        yield from found


class Followed(Composite[R_co]):
    """One job with callbacks: a workflow whose value is the job's result."""

    __slots__ = ("_signature",)

    def __init__(self, signature: Signature[R_co]) -> None:
        super().__init__()
        self._signature = signature

    def __repr__(self) -> str:
        return "".join(
            [
                repr(self._signature),
                f".then({', '.join(map(repr, self._then))})" if self._then else "",
                f".catch({', '.join(map(repr, self._catch))})" if self._catch else "",
            ]
        )

    @property
    def _label(self) -> str:
        return self._signature._label

    @property
    def _bare_shown(self) -> str:
        return self._signature._shown

    def _copy(self) -> Followed[R_co]:
        return Followed(self._signature)

    def _parts(self) -> Iterator[Composable[Any]]:
        yield self._signature

    def _bare_sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        return self._signature._sketch(ask, numbers, depth)
