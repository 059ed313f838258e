"""What a workflow, or a part of one, has come to: which records are to be read, and what is made of them.

The readers here are generators that ask for records and are sent them: who drives them does the reading, in batches, a
worker that completes arguments as well as a process that waits for a result.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

from heeler.dag.place import FailurePolicy
from heeler.dag.shape import Part, Shape, jobs_of, parts_of
from heeler.model import ResultRecord, TaskStatus

__all__ = ["Builder", "Lost", "Reading", "drive", "end_parts", "error_text", "leaves_of", "read_value"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LOOKED_AT_ONCE = 500
_NOT_RUN = "it was not run, because something before it failed"


class Lost(NamedTuple):
    """A part that has no value: the job that is to blame, as far as it is known."""

    id: str
    task: str
    record: ResultRecord | None


class Builder(Protocol, Generic[T]):
    """What values are made of."""

    def value(self, record: ResultRecord) -> T: ...

    def array(self, items: list[T]) -> T: ...

    def mapping(self, items: dict[str, T]) -> T: ...

    def failure(self, lost: Lost) -> T: ...


Reading = Generator[str | list[str], list[ResultRecord | None], T]
"""Yields the id of the next leaf, or ids of other jobs, and is sent what is known of them."""


def leaves_of(shape: Shape, path: str) -> Iterator[str]:
    """The ids of the jobs whose results make the value, in the order in which a reading asks for them."""
    if shape.kind == "job":
        yield path
    else:
        for part in _value_parts(shape, path):
            if part.shape.kind == "job":  # the many members of a group are spared a generator each
                yield part.path
            else:
                yield from leaves_of(part.shape, part.path)


def end_parts(shape: Shape, path: str) -> list[Part]:
    """The nodes of a graph for which no other waits."""
    waited_for = {number for node in shape.nodes for number in node.after}
    return [part for number, part in enumerate(parts_of(shape, path)) if number not in waited_for]


def read_value(shape: Shape, path: str, build: Builder[T]) -> Reading[T | Lost]:
    """The value of a part. Asks for the leaves one by one, in order; for others only to find out what failed."""
    if shape.kind == "job":
        [record] = yield path
        return _value_of(record, shape, path, build)
    if shape.kind == "group":
        return (yield from _read_group(shape, path, build))
    if shape.kind == "graph":
        return (yield from _read_graph(shape, path, build))
    [last] = _value_parts(shape, path)
    value = yield from read_value(last.shape, last.path, build)
    if isinstance(value, Lost) and value.record is None:
        return (yield from _blame(shape, path)) or value
    return value


def _value_of(record: ResultRecord | None, job: Shape, path: str, build: Builder[T]) -> T | Lost:
    if record is not None and record.status is TaskStatus.SUCCESSFUL:
        return build.value(record)
    return Lost(path, job.task, record)


async def drive(
    reading: Reading[T], leaves: Iterator[str], get: Callable[[Sequence[str]], Awaitable[list[ResultRecord | None]]]
) -> T:
    """Give a reading what it asks for. The leaves are read ahead in batches, so that memory holds one of these."""
    ahead: dict[str, ResultRecord | None] = {}
    try:
        asked = next(reading)
        while True:
            if isinstance(asked, list):
                asked = reading.send(await get(asked))
                continue
            if not ahead:
                batch = list(islice(leaves, _LOOKED_AT_ONCE))
                ahead = dict(zip(batch, await get(batch), strict=True))
            asked = reading.send([ahead.pop(asked)])
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def error_text(lost: Lost) -> str:
    """Why there is no value, in a line."""
    if lost.record is None or not lost.record.errors:
        return _NOT_RUN
    return lost.record.errors[-1].line


class _LeftOut(enum.Enum):
    LEFT_OUT = 1


_LEFT_OUT = _LeftOut.LEFT_OUT


def _stand_in(value: T | Lost, failure: FailurePolicy, build: Builder[T]) -> T | Lost | _LeftOut:
    """The value, or what stands for it where it is lost."""
    if not isinstance(value, Lost) or failure == "fail_fast":
        return value
    return build.failure(value) if failure == "continue" else _LEFT_OUT


def _read_group(shape: Shape, path: str, build: Builder[T]) -> Reading[T | Lost]:
    items: list[T] = []
    lost: Lost | None = None
    for part in parts_of(shape, path):
        read: T | Lost
        if part.shape.kind == "job":
            [record] = yield part.path
            read = _value_of(record, part.shape, part.path, build)
        else:
            read = yield from read_value(part.shape, part.path, build)
        value = _stand_in(read, shape.failure, build)
        if isinstance(value, Lost):
            lost = lost or value
        elif value is not _LEFT_OUT:
            items.append(value)
    return lost or build.array(items)


def _read_graph(shape: Shape, path: str, build: Builder[T]) -> Reading[T | Lost]:
    ends = end_parts(shape, path)
    policies = {node.name: node.failure for node in shape.nodes}
    items: dict[str, T] = {}
    lost: Lost | None = None
    for part in ends:
        value = _stand_in((yield from read_value(part.shape, part.path, build)), policies[part.name], build)
        if isinstance(value, Lost):
            lost = lost or value
        elif value is not _LEFT_OUT:
            items[part.name] = value
    if lost is not None:
        return lost
    if len(ends) > 1:
        return build.mapping(items)
    for item in items.values():
        return item
    return Lost(path, "", None)


def _blame(shape: Shape, path: str) -> Reading[Lost | None]:
    """The first job of a part that failed or was not run."""
    batch: list[tuple[str, str]] = []
    for job in jobs_of(shape, path, callbacks=False):
        batch.append(job)
        if len(batch) == _LOOKED_AT_ONCE:
            if lost := (yield from _first_failed(batch)):
                return lost
            batch = []
    return (yield from _first_failed(batch))


def _first_failed(jobs: list[tuple[str, str]]) -> Reading[Lost | None]:
    records = yield [id for id, _ in jobs]
    for (id, task), record in zip(jobs, records, strict=True):
        if record is not None and record.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            return Lost(id, task, record)
    return None


def _value_parts(shape: Shape, path: str) -> Iterator[Part]:
    if shape.kind == "group":
        return parts_of(shape, path)
    if shape.kind == "graph":
        return iter(end_parts(shape, path))
    last = len(shape.kinds) - 1
    return iter([Part(f"{path}/{last}", shape.kinds[last])])
