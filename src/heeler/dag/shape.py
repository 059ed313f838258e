"""The shape of a workflow as it is stored with it: small, whatever the number of its members, and readable anywhere.

Ids follow from the shape. The part number n of what has the path p has the path `p/n`; a job's id is its path. So the
shape tells every id, and an id where it belongs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from heeler.dag.place import FailurePolicy

__all__ = [
    "FAN",
    "Node",
    "NodeRule",
    "Part",
    "Record",
    "Shape",
    "ShapeKind",
    "caught",
    "decode_record",
    "decode_shape",
    "encode_record",
    "encode_shape",
    "entry",
    "fanned",
    "following",
    "jobs_of",
    "joined",
    "latches_of",
    "of_callbacks",
    "outcome",
    "parts_of",
    "relayed",
    "root_path",
]

FAN = 100
"""How many latches one job tells at most, and how many jobs are let go at once."""

ShapeKind = Literal["job", "chain", "chord", "group", "graph"]
NodeRule = Literal["all", "any", "always"]


class Node(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node of a graph: its shape is the `kind`th of the graph's kinds, `after` are the numbers of those before it."""

    name: str
    kind: int
    after: tuple[int, ...] = ()
    when: NodeRule = "all"
    failure: FailurePolicy = "fail_fast"


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What a workflow, or a part of one, is made of.

    `kinds` are the steps of a chain or chord; of a group or graph the different shapes of its members: `runs` says of
    a group how many members follow each other that have one kind, `nodes` of a graph what its nodes are. `relays` is
    how many jobs its first jobs need to be let go beyond the first.
    """

    kind: ShapeKind
    task: str = ""
    kinds: tuple[Shape, ...] = ()
    runs: tuple[tuple[int, int], ...] = ()
    nodes: tuple[Node, ...] = ()
    failure: FailurePolicy = "fail_fast"
    relays: int = 0
    then: tuple[Shape, ...] = ()
    catch: tuple[Shape, ...] = ()

    @property
    def size(self) -> int:
        """How many parts it has."""
        if self.kind == "group":
            return sum(count for _, count in self.runs)
        return len(self.nodes) if self.kind == "graph" else len(self.kinds)


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a workflow as the data of its latch. `jobs` is how many jobs it has, callbacks apart."""

    shape: Shape
    name: str = ""
    jobs: int | None = None  # None: not known yet, because a stream goes on
    keep: float = 86400.0  # seconds, after its end
    enqueued_at: float = 0.0
    fingerprint: bytes = b""  # where its caller chose the id


class Part(NamedTuple):
    """A part of a shape with its path; `name` is that of a node."""

    path: str
    shape: Shape
    name: str = ""


_encoder = msgspec.msgpack.Encoder()
_shapes = msgspec.msgpack.Decoder(Shape)
_records = msgspec.msgpack.Decoder(Record)


def encode_shape(shape: Shape) -> bytes:
    return _encoder.encode(shape)


def decode_shape(data: bytes) -> Shape:
    """Raises msgspec.DecodeError."""
    return _shapes.decode(data)


def encode_record(record: Record) -> bytes:
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """Raises msgspec.DecodeError."""
    return _records.decode(data)


def root_path(shape_kind: str, id: str) -> str:
    """The path of a whole workflow: its id, unless that is one job, because the workflow's id is no job's."""
    return f"{id}/0" if shape_kind == "job" else id


def joined(path: str) -> str:
    """The latch in which all of a shape with this path has ended; of a whole workflow its own."""
    return f"{path}:all"


def entry(path: str) -> str:
    """The latch for which the first jobs of a node wait, and the name of what lets many of them go."""
    return f"{path}:in"


def following(path: str) -> str:
    """The latch for which the step after this one waits, where that is not the joined one."""
    return f"{path}:next"


def outcome(path: str) -> str:
    """The latch that lets the callbacks of a shape go."""
    return f"{path}:end"


def caught(path: str) -> str:
    """The name of what lets many callbacks of a failure go."""
    return f"{path}:catch"


def relayed(name: str, number: int) -> str:
    """The latch, and the job, that lets the next part of many jobs go."""
    return f"{name}>{number}"


def fanned(path: str, number: int) -> str:
    """The latch, and the job, that tells some of the many nodes that wait for a node."""
    return f"{path}:fan{number}"


def parts_of(shape: Shape, path: str) -> Iterator[Part]:
    """The parts, callbacks apart."""
    if shape.kind == "group":
        number = 0
        for kind, count in shape.runs:
            for _ in range(count):
                yield Part(f"{path}/{number}", shape.kinds[kind])
                number += 1
    elif shape.kind == "graph":
        for number, node in enumerate(shape.nodes):
            yield Part(f"{path}/{number}", shape.kinds[node.kind], node.name)
    else:
        for number, step in enumerate(shape.kinds):
            yield Part(f"{path}/{number}", step)


def of_callbacks(shape: Shape, path: str) -> Iterator[Part]:
    """What follows a shape's success or failure."""
    for number, follower in enumerate(shape.then):
        yield Part(f"{path}/t{number}", follower, "then")
    for number, follower in enumerate(shape.catch):
        yield Part(f"{path}/c{number}", follower, "catch")


def jobs_of(shape: Shape, path: str, *, callbacks: bool = True) -> Iterator[tuple[str, str]]:
    """The id and task of every job, in order."""
    if shape.kind == "job":
        yield path, shape.task
    else:
        for part in parts_of(shape, path):
            yield from jobs_of(part.shape, part.path, callbacks=callbacks)
    if callbacks:
        for part in of_callbacks(shape, path):
            yield from jobs_of(part.shape, part.path)


def latches_of(shape: Shape, path: str) -> Iterator[str]:
    """The ids of all latches that it may have, and perhaps of some that it has not."""
    if shape.kind != "job":
        yield joined(path)
        for part in parts_of(shape, path):
            if shape.kind != "group":
                yield from (entry(part.path), joined(part.path), following(part.path))
                yield from (relayed(entry(part.path), number) for number in range(1, part.shape.relays + 1))
            if part.shape.kind != "job" or part.shape.then or part.shape.catch:
                yield from latches_of(part.shape, part.path)
    if shape.kind == "graph":
        dependents = Counter(before for node in shape.nodes for before in node.after)
        for number, count in dependents.items():
            if count > FAN:
                yield from (fanned(f"{path}/{number}", k) for k in range(-(-count // FAN)))
    if shape.then or shape.catch:
        yield outcome(path)
        for latch, followers in ((outcome(path), shape.then), (caught(path), shape.catch)):
            for follower in followers[:1]:
                yield from (relayed(latch, number) for number in range(1, follower.relays + 1))
        for part in of_callbacks(shape, path):
            yield from latches_of(part.shape, part.path)
