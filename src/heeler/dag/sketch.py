"""Workflows as they are compiled: calls, and how they hang together. What a call is, only its author knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from heeler.dag.place import FailurePolicy
from heeler.dag.shape import NodeRule

__all__ = ["Call", "Graph", "GraphNode", "Group", "Sketch", "Steps"]


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """`then` follows its success, `catch` its failure."""

    then: tuple[Sketch, ...] = ()
    catch: tuple[Sketch, ...] = ()


class Call(Sketch, frozen=True, kw_only=True):
    """One job. `takes`: what comes before it is its first argument."""

    leaf: Any
    task: str
    takes: bool = True


class Steps(Sketch, frozen=True, kw_only=True):
    """One after the other. `is_chord` is only how it is shown."""

    steps: Sequence[Sketch]
    is_chord: bool = False


class Group(Sketch, frozen=True, kw_only=True):
    """Side by side; the members are drawn as they are sent. `drawn_once`: they cannot be drawn again."""

    members: Iterable[Sketch]
    failure: FailurePolicy = "fail_fast"
    drawn_once: bool = False


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a graph; `after` are the numbers of those before it, all smaller than its own."""

    name: str
    sketch: Sketch
    after: tuple[int, ...] = ()
    when: NodeRule = "all"
    failure: FailurePolicy = "fail_fast"


class Graph(Sketch, frozen=True, kw_only=True):
    """Nodes in an order in which each comes after those that it waits for."""

    nodes: Sequence[GraphNode]
