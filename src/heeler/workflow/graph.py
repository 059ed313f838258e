"""Workflow: a graph of any form, written down node by node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

from heeler.dag.place import FailurePolicy
from heeler.dag.shape import NodeRule
from heeler.dag.sketch import Graph as GraphSketch
from heeler.dag.sketch import GraphNode, Sketch
from heeler.dag.template import Template
from heeler.errors import InvalidWorkflow
from heeler.overrides import Overrides
from heeler.workflow.nodes import Node
from heeler.workflow.parts import (
    Chain,
    Composable,
    Composite,
    Growing,
    Numbers,
    chain_of,
    checked,
    later,
    too_deep_refused,
)
from heeler.workflow.shapes import checked_policy
from heeler.workflow_result import WorkflowResult, free_name
from heeler.workflow_sender import PreparedWorkflow, WorkflowSender

__all__ = ["Workflow"]

R = TypeVar("R")

MOST_NODES = 10_000
_SHOWN = 6  # nodes that are named in a line
_RULES = ("all", "any", "always")


class _Added(NamedTuple):
    """A node as it was added."""

    node: Node
    part: Composable[Any]
    after: tuple[int, ...]
    when: NodeRule
    failure: FailurePolicy


class Graph(Composite[Any]):
    """A workflow as it was at one moment."""

    __slots__ = ("_added",)

    def __init__(self, added: tuple[_Added, ...]) -> None:
        super().__init__()
        self._added = added

    def __repr__(self) -> str:
        return f"<Workflow {self._name or len(self._added)}>"

    @property
    def _label(self) -> str:
        return self._name or "workflow"

    @property
    def _bare_shown(self) -> str:
        names = [added.node.name for added in self._added]
        more = [f"… {len(names) - _SHOWN:,} more"] if len(names) > _SHOWN else []
        return f"{f'workflow {self._name}'.strip()} ({', '.join([*names[:_SHOWN], *more])})"

    def _copy(self) -> Graph:
        return Graph(self._added)

    def _parts(self) -> Iterator[Composable[Any]]:
        return (added.part for added in self._added)

    def _nodes(self) -> Iterator[Any]:
        """Those of others: its own are nobody else's business."""
        own = {added.node for added in self._added}
        return (node for node in super()._nodes() if node not in own)

    def _bare_sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        if not self._added:
            raise InvalidWorkflow(f"the {self._label} has no nodes: add some before it is enqueued")
        own = {added.node: number for number, added in enumerate(self._added)}
        after = later(ask)
        return GraphSketch(
            nodes=[
                GraphNode(
                    name=added.node.name,
                    sketch=added.part._sketch(after if added.after else ask, own, depth),
                    after=added.after,
                    when=added.when,
                    failure=added.failure,
                )
                for added in self._added
            ]
        )


class Workflow(Growing[Any]):
    """A graph of jobs and parts: nodes are added one by one, and each can stand for its result in later ones.

    `failure` is what becomes of the workflow when a node fails, for nodes that do not say otherwise: "fail_fast" (it
    fails; nodes that have not started are skipped), "continue" (a Failure stands in place of the node's result),
    "ignore" (it counts for nothing: None stands in its place).
    """

    def __init__(self, name: str = "", *, failure: FailurePolicy = "fail_fast") -> None:
        checked_policy(failure, "Workflow")
        self.name = name
        self._failure: FailurePolicy = failure
        self._added: list[_Added] = []
        self._numbers: dict[Node, int] = {}
        self._names: dict[str, Node] = {}

    def __repr__(self) -> str:
        return f"<Workflow {self.name} of {len(self._added)} nodes>"

    def add(
        self,
        part: Composable[R],
        name: str | None = None,
        *,
        after: Any = (),
        when: NodeRule = "all",
        failure: FailurePolicy | None = None,
    ) -> R:
        """Add a node. What is returned stands for its result in the arguments of later nodes.

        `part` is a signature, chain, group, chord or another workflow, as it is now. `name` is by default the task's
        last name. The node waits for all nodes that its arguments name, and for those in `after`. `when` says for how
        many: "all" to succeed, "any" to succeed, or "always" for all to end, however. `failure`: see the class.

        Raises InvalidWorkflow: a name that is taken, a node of another workflow, too many nodes.
        """
        if part is self:
            raise InvalidWorkflow("a workflow cannot be a node of itself")
        [part] = checked((part,), "Workflow.add")
        label = part._label
        if when not in _RULES:
            raise InvalidWorkflow(f"{label}: when is one of {', '.join(_RULES)}, got {when!r}")
        if failure is not None:
            checked_policy(failure, label)
        if len(self._added) >= MOST_NODES:
            raise InvalidWorkflow(f"a workflow has at most {MOST_NODES:,} nodes; put some into groups")
        if name is not None and name in self._names:
            raise InvalidWorkflow(f"the workflow has a node {name!r} already; names of nodes are unique")
        if name is None:
            name = free_name(label, self._names)
        with too_deep_refused():
            before = dict.fromkeys(self._number(node, name) for node in (*part._nodes(), *_several(after, name)))
        node = Node(self, name)
        self._numbers[node] = len(self._added)
        self._names[name] = node
        self._added.append(_Added(node, part, tuple(before), when, failure or self._failure))
        return cast("R", node)

    def _number(self, node: Any, name: str) -> int:
        if not isinstance(node, Node):
            raise InvalidWorkflow(f"{name}: after names nodes, which `add` returns, got {node!r}")
        number = self._numbers.get(node)
        if number is None:
            raise InvalidWorkflow(
                f"{name}: it waits for the node {node.name!r} of another workflow; add that one here, or put the whole "
                f"workflow in as a node"
            )
        return number

    # As a value

    def then(self, *followers: Composable[Any]) -> Composite[Any]:
        """The workflow as it is now, with jobs that follow its success."""
        return self._snapshot().then(*followers)

    def catch(self, *followers: Composable[Any]) -> Composite[Any]:
        """The workflow as it is now, with jobs that follow its failure."""
        return self._snapshot().catch(*followers)

    def using(self, **options: Any) -> Composite[Any]:
        """The workflow as it is now with options; see `chain(…).using`."""
        return self._snapshot().using(**options)

    def enqueue(self) -> WorkflowResult[Any]:
        """Send it as it is now. Raises InvalidWorkflow, and what `Task.enqueue` raises."""
        return self._snapshot().enqueue()

    async def aenqueue(self) -> WorkflowResult[Any]:
        """`enqueue` from async code."""
        return await self._snapshot().aenqueue()

    def prepare(self) -> PreparedWorkflow:
        """The handle, and what somebody else publishes for it."""
        return self._snapshot().prepare()

    def template(self, sender: WorkflowSender, most: int) -> Template:
        """What somebody else keeps to start it again and again; see `chain(…).template`."""
        return self._snapshot().template(sender, most)

    def __or__(self, other: Composable[R]) -> Chain[R]:
        return chain_of((self, other)) if isinstance(other, Composable) else NotImplemented

    @property
    def _label(self) -> str:
        return self.name or "workflow"

    @property
    def _shown(self) -> str:
        return self._snapshot()._shown

    def _snapshot(self) -> Composite[Any]:
        return Graph(tuple(self._added))._changed(name=self.name)

    def _sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        return self._snapshot()._sketch(ask, numbers, depth)

    def _senders(self) -> Iterator[WorkflowSender]:
        return self._snapshot()._senders()

    def _nodes(self) -> Iterator[Any]:
        return self._snapshot()._nodes()

    @property
    def _is_drawn_once(self) -> bool:
        return self._snapshot()._is_drawn_once


def _several(after: Any, name: str) -> Iterable[Any]:
    if isinstance(after, Node):
        return (after,)
    if not isinstance(after, Iterable):
        raise InvalidWorkflow(f"{name}: after is a node, or a list of nodes, which `add` returns, got {after!r}")
    return after
