"""Nodes of a graph as the arguments of jobs: each stands for its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from heeler.arguments import Gap
from heeler.errors import InvalidWorkflow

__all__ = ["Node", "nodes_in", "with_gaps"]


class Node:
    """A node of a `Workflow`: what `add` gives. As an argument of another job it stands for its own job's result."""

    __slots__ = ("_workflow", "name")

    def __init__(self, workflow: object, name: str) -> None:
        self._workflow = workflow
        self.name = name

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


def nodes_in(value: Any) -> Iterator[Node]:
    """The nodes in an argument; lists, tuples and dicts are looked into."""
    if isinstance(value, Node):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from nodes_in(item)
    elif type(value) is dict:
        for item in value.values():
            yield from nodes_in(item)


def with_gaps(value: Any, numbers: Mapping[Any, int], task: str) -> Any:
    """The argument with a gap in place of each node. Raises InvalidWorkflow for a node that is not there."""
    if isinstance(value, Node):
        number = numbers.get(value)
        if number is None:
            raise InvalidWorkflow(
                f"{task}: an argument stands for the result of the node {value.name!r} of another workflow; only jobs "
                f"of that workflow can refer to it"
            )
        return Gap(number)
    if type(value) in (list, tuple):
        return type(value)([with_gaps(item, numbers, task) for item in value])
    if type(value) is dict:
        return {key: with_gaps(item, numbers, task) for key, item in value.items()}
    return value
