"""How far each part of a workflow is, to be drawn: every job is read, of many members of a part only a few are kept."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from heeler.contracts import ResultStore
from heeler.dag.shape import Node, Part, Shape, jobs_of, of_callbacks, parts_of
from heeler.errors import Skipped
from heeler.model import ResultRecord, TaskStatus, class_path
from heeler.workflow_result import WorkflowResult, short_names

__all__ = ["Outline", "PartState", "read_outline"]

_AT_ONCE = 500  # jobs of which one call reads the records
_STEPS_PER_MEMBER = 10  # so many times as many steps and nodes are kept as members of a group
_EXAMPLES = 5  # that are kept of members that failed, and of those that run, where not all are
_SKIPPED = class_path(Skipped)


class PartState(enum.StrEnum):
    """How a part stands: a TaskStatus, or one of two more, for jobs that nobody has tried to run."""

    WAITS = "WAITS"  # for others of the workflow
    READY = "READY"
    RUNNING = "RUNNING"
    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"

    @property
    def is_finished(self) -> bool:
        return self not in (PartState.WAITS, PartState.READY, PartState.RUNNING)


@dataclass(slots=True, kw_only=True)
class Outline:
    """A job or a part of a workflow, or the whole. Moments are epoch seconds.

    `parts` are its members, steps or nodes; `left_out` is how many of these are only counted. `counts` has all of them,
    by state.
    """

    id: str
    name: str
    kind: str
    state: PartState = PartState.WAITS
    task: str = ""
    role: str = ""  # then or catch
    done: int = 0  # jobs that have ended, of `total`, callbacks apart
    total: int | None = 0  # None: a stream still adds some
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    next_at: float | None = None
    fraction: float | None = None
    message: str = ""
    error: str = ""
    failure: str = "fail_fast"
    when: str = "all"
    after: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    parts: list[Outline] = field(default_factory=list)
    callbacks: list[Outline] = field(default_factory=list)


async def read_outline(run: WorkflowResult[Any], members: int) -> Outline:
    """The whole as it is now; on the I/O thread.

    Of a group with more than `members` only some are kept: the first that failed, and the first that run. So memory
    does not grow with the workflow. Raises ResultNotFound.
    """
    await run._refresh()
    shape, path = run._record.shape, run._path()
    reading = _Reading(await run._store(), shape, path, members, run.status)
    whole = await reading.part(Part(path, shape), run.name or shape.kind)
    if shape.kind == "job":
        job, whole = whole, Outline(id=run.id, name=run.name or whole.name, kind="job", parts=[whole])
        whole.started_at, whole.finished_at = job.started_at, job.finished_at
        whole.callbacks, job.callbacks = job.callbacks, []
        job.name = short_names([shape])[0]
    whole.id, whole.state = run.id, PartState(run.status)
    whole.done, whole.total = run.progress
    if not run.is_finished:
        whole.finished_at = None
    return whole


class _Reading:
    """Reads the parts in order; so do the records come, in batches."""

    def __init__(self, store: ResultStore, shape: Shape, path: str, members: int, status: TaskStatus) -> None:
        self._records = _records(store, jobs_of(shape, path))
        self._members = members
        self._status = status

    async def part(self, part: Part, name: str, *, is_exempt: bool = False) -> Outline:
        """`is_exempt`: it runs although the workflow has failed."""
        shape = part.shape
        if shape.kind == "job":
            outline = await self._job(part, name, is_exempt)
        else:
            outline = await self._composite(part, name)
        for follower, called in zip(of_callbacks(shape, part.path), _follower_names(shape), strict=True):
            callback = await self.part(follower, called)
            callback.role = follower.name
            outline.callbacks.append(callback)
        return outline

    async def _job(self, part: Part, name: str, is_exempt: bool) -> Outline:
        record = await anext(self._records)
        outline = Outline(id=part.path, name=name, kind="job", task=part.shape.task, total=1)
        if record is None:
            may_come = not self._status.is_finished or (is_exempt and self._status is TaskStatus.FAILED)
            outline.state = PartState.WAITS if may_come else PartState.SKIPPED
            return outline
        outline.state = PartState(record.status)
        outline.done = int(record.status.is_finished)
        outline.attempts, outline.next_at = record.attempts, record.next_at
        outline.started_at, outline.finished_at = record.started_at, record.finished_at
        outline.fraction, outline.message = record.fraction, record.message or ""
        if record.errors and record.status is not TaskStatus.SUCCESSFUL:
            error = record.errors[-1]
            outline.error = f"{error.exception_class_path.removeprefix('builtins.')}: {error.message}"
            if error.exception_class_path == _SKIPPED:
                outline.state = PartState.SKIPPED
        return outline

    async def _composite(self, part: Part, name: str) -> Outline:
        shape = part.shape
        whole = Outline(id=part.path, name=name, kind=shape.kind, failure=shape.failure)
        most = self._members if shape.kind == "group" else self._members * _STEPS_PER_MEMBER
        counts: Counter[PartState] = Counter()
        counting: Counter[PartState] = Counter()  # with what is tolerated as if it had succeeded
        for inner, called, node in _named(shape, part.path):
            one = await self.part(inner, called, is_exempt=node is not None and node.when == "always")
            if node is not None:
                one.failure, one.when = node.failure, node.when
                one.after = tuple(shape.nodes[number].name for number in node.after)
            is_tolerated = (node.failure if node is not None else shape.failure) != "fail_fast"
            counts[one.state] += 1
            counting[PartState.SUCCESSFUL if is_tolerated and one.state.is_finished else one.state] += 1
            whole.done += one.done
            whole.total = (whole.total or 0) + (one.total or 0)
            whole.started_at = _of(min, whole.started_at, one.started_at)
            whole.finished_at = _of(max, whole.finished_at, one.finished_at)
            is_example = one.state in _TOLD and counts[one.state] <= _EXAMPLES
            if shape.size <= most or is_example:
                whole.parts.append(one)
        whole.counts = {str(state): counts[state] for state in PartState if counts[state]}
        whole.left_out = shape.size - len(whole.parts)
        whole.state = _state_of(counting)
        if not whole.state.is_finished:
            whole.finished_at = None
        return whole


_TOLD = (PartState.FAILED, PartState.RUNNING)


def _state_of(counts: Mapping[PartState, int]) -> PartState:
    """The state of a whole from those of its parts."""
    present = {state for state, count in counts.items() if count}
    if present <= {PartState.SUCCESSFUL}:
        return PartState.SUCCESSFUL
    for state in (PartState.FAILED, PartState.CANCELLED, PartState.SKIPPED):
        if state in present:
            return state
    if present & {PartState.RUNNING, PartState.SUCCESSFUL}:
        return PartState.RUNNING
    return PartState.READY if PartState.READY in present else PartState.WAITS


def _of(choose: Any, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return float(choose(one, other))


def _named(shape: Shape, path: str) -> Iterator[tuple[Part, str, Node | None]]:
    """The parts with what they are called; the node that each is, where it is one."""
    parts = parts_of(shape, path)
    if shape.kind == "group":
        for number, part in enumerate(parts):
            yield part, f"{part.shape.task.rpartition('.')[2] or part.shape.kind} {number}", None
    elif shape.kind == "graph":
        for part, node in zip(parts, shape.nodes, strict=True):
            yield part, node.name, node
    else:
        for part, name in zip(parts, short_names(shape.kinds), strict=True):
            yield part, name, None


def _follower_names(shape: Shape) -> list[str]:
    return [*short_names(shape.then), *short_names(shape.catch)]


async def _records(store: ResultStore, jobs: Iterator[tuple[str, str]]) -> AsyncIterator[ResultRecord | None]:
    while batch := [id for id, _ in islice(jobs, _AT_ONCE)]:
        for record in await store.get(batch):
            yield record
