"""The user's handle on a workflow: how far it is, what came of each part, waiting for its end, steering it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from heeler.contracts import ResultStore
from heeler.dag.shape import (
    Part,
    Record,
    Shape,
    decode_record,
    jobs_of,
    latches_of,
    of_callbacks,
    parts_of,
    root_path,
)
from heeler.dag.values import Lost, Reading, drive, error_text, leaves_of, read_value
from heeler.error_records import rebuild_error
from heeler.errors import HeelerError, ResultLost, ResultNotFound, ResultTimeout, Skipped, TaskCancelled, TaskFailed
from heeler.model import (
    RELAY_TASK,
    Command,
    Envelope,
    ErrorRecord,
    Failure,
    LatchRecord,
    LatchState,
    Notice,
    ResultRecord,
    TaskStatus,
    class_path,
)
from heeler.report import moment
from heeler.task_result import ResultSource, TaskResult

__all__ = [
    "Progress",
    "WorkflowPart",
    "WorkflowResult",
    "expire_workflow",
    "find_workflow",
    "free_name",
    "revive_failed",
    "revive_skipped",
    "short_names",
]

R = TypeVar("R")

_AT_ONCE = 500  # jobs of which one call reads the records
_FIRST_LOOKED_AT = 20  # jobs that are looked at to find out whether anything runs
_ENDED = (LatchState.RELEASED, LatchState.BROKEN)


class Progress(NamedTuple):
    """How many jobs have ended, of how many. `total` is None while a stream still adds some."""

    done: int
    total: int | None

    def __str__(self) -> str:
        return f"{self.done}/{'?' if self.total is None else self.total}"


class WorkflowPart:
    """A chain, group, chord or graph within a workflow, as it was when it was read.

    `children` are handles on jobs, and parts; `name` is that of the node or step that it is. Children whose failure it
    tolerates do not fail it.
    """

    __slots__ = ("callbacks", "children", "id", "kind", "name", "progress", "status")

    def __init__(
        self,
        id: str,
        name: str,
        kind: str,
        children: list[TaskResult[Any] | WorkflowPart],
        callbacks: list[TaskResult[Any] | WorkflowPart],
        tolerates: Sequence[bool],
    ) -> None:
        self.id = id
        self.name = name
        self.kind = kind
        self.children = children
        self.callbacks = callbacks
        self.status: TaskStatus = _status_of(
            [
                TaskStatus.SUCCESSFUL if is_tolerated and child.status.is_finished else child.status
                for child, is_tolerated in zip(children, tolerates, strict=True)
            ]
        )
        done = sum(_done(child) for child in children)
        self.progress = Progress(done, sum(_total(child) for child in children))

    def __repr__(self) -> str:
        return f"<WorkflowPart {self.kind} {self.id} {self.status} {self.progress}>"


Child = TaskResult[Any] | WorkflowPart


class WorkflowResult(Generic[R]):
    """A workflow that was enqueued. Attributes show what was known at the last `refresh`, `get` or `join`.

    `children` and `results` read what is known now. Each method that waits or does I/O has an async twin with the
    prefix `a`; those of `children` and `results` are `achildren()` and `aresults()`.
    """

    __slots__ = ("_any_runs", "_latch", "_record", "_source", "id")

    def __init__(self, source: ResultSource, id: str, record: Record, latch: LatchRecord | None = None) -> None:
        self.id = id
        self._source = source
        self._record = record
        self._latch = latch
        self._any_runs = False

    def __repr__(self) -> str:
        return f"<WorkflowResult {self.name or self._record.shape.kind} {self.id} {self.status} {self.progress}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkflowResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # What is known

    @property
    def name(self) -> str:
        """The name that its author gave the workflow; empty without one."""
        return self._record.name

    @property
    def kind(self) -> str:
        """What the whole is: job, chain, group, chord or graph."""
        return self._record.shape.kind

    @property
    def status(self) -> TaskStatus:
        """READY until something runs; CANCELLED where the workflow was, FAILED where a part that matters has failed."""
        latch = self._latch
        if latch is None:
            return TaskStatus.READY
        if latch.state is LatchState.RELEASED:
            return TaskStatus.SUCCESSFUL
        if latch.state is LatchState.BROKEN:
            return TaskStatus.CANCELLED if latch.cancelled else TaskStatus.FAILED
        return TaskStatus.RUNNING if latch.ticks or self._any_runs else TaskStatus.READY

    @property
    def is_finished(self) -> bool:
        """Whether its outcome is known. Jobs that ran when it failed may go on, and callbacks follow."""
        return self._has_ended()

    def _has_ended(self) -> bool:
        return self._latch is not None and self._latch.state in _ENDED

    @property
    def progress(self) -> Progress:
        """How many of its jobs have ended, callbacks apart."""
        return Progress(self._latch.ticks if self._latch is not None else 0, self._record.jobs)

    @property
    def enqueued_at(self) -> datetime:
        at = moment(self._record.enqueued_at)
        assert at is not None
        return at

    # Reading

    def refresh(self) -> None:
        """Read how far it is. Raises ResultNotFound or BrokerUnavailable."""
        self._source.connections.io.run(self._refresh())

    async def arefresh(self) -> None:
        """`refresh` from async code."""
        await self._source.connections.io.arun(self._refresh())

    @property
    def children(self) -> list[Child]:
        """Its jobs and parts, read now: steps, members or nodes, in order. Those not begun yet are READY."""
        return self._source.connections.io.run(self._children())

    async def achildren(self) -> list[Child]:
        """`children` from async code."""
        return await self._source.connections.io.arun(self._children())

    @property
    def callbacks(self) -> list[Child]:
        """What follows the success or failure of the whole, read now."""
        return self._source.connections.io.run(self._callbacks())

    async def acallbacks(self) -> list[Child]:
        """`callbacks` from async code."""
        return await self._source.connections.io.arun(self._callbacks())

    @property
    def results(self) -> dict[str, Any]:
        """What its nodes (or steps, or members by number) have returned so far, by name; a Failure for what failed.

        A node that is not a single job has the value that `get` of such a workflow would give.
        """
        return self._source.connections.io.run(self._results())

    async def aresults(self) -> dict[str, Any]:
        """`results` from async code."""
        return await self._source.connections.io.arun(self._results())

    # Waiting

    def get(self, timeout: float | None = None) -> R:
        """Wait for the end and return the value.

        Of a chain that is the value of its last step, of a group the list of its members' values, of a chord that of
        its body; of a graph that of its one end node, or of all end nodes by name. `timeout` is in seconds. Raises
        TaskFailed for the job to blame, TaskCancelled, ResultTimeout, ResultNotFound, ResultLost or BrokerUnavailable.
        """
        return self._source.connections.io.run(self._get(timeout))

    async def aget(self, timeout: float | None = None) -> R:
        """`get` from async code."""
        return await self._source.connections.io.arun(self._get(timeout))

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, however it is. Raises ResultTimeout after `timeout` seconds, ResultNotFound."""
        self._source.connections.io.run(self._join(timeout))

    async def ajoin(self, timeout: float | None = None) -> None:
        """`join` from async code."""
        await self._source.connections.io.arun(self._join(timeout))

    # Steering

    def cancel(self) -> bool:
        """Cancel what waits (as its turn comes) and what runs. False if it had ended otherwise."""
        return self._source.connections.io.run(self._cancel())

    async def acancel(self) -> bool:
        """`cancel` from async code."""
        return await self._source.connections.io.arun(self._cancel())

    def retry_failed(self) -> int:
        """Make its failed, cancelled and skipped jobs new, so that it goes on where it stopped; how many there were."""
        return self._source.connections.io.run(self._retry_failed())

    async def aretry_failed(self) -> int:
        """`retry_failed` from async code."""
        return await self._source.connections.io.arun(self._retry_failed())

    def forget(self) -> None:
        """Drop all that is stored of a workflow that has ended; without effect on another one."""
        self._source.connections.io.run(self._forget())

    async def aforget(self) -> None:
        """`forget` from async code."""
        await self._source.connections.io.arun(self._forget())

    # On the I/O thread

    async def _store(self) -> ResultStore:
        await self._source.connections.opened()
        return self._source.connections.needed_store()

    def _path(self) -> str:
        return root_path(self._record.shape.kind, self.id)

    async def _refresh(self) -> None:
        store = await self._store()
        [latch] = await store.latches([self.id])
        if latch is None:
            raise _unknown(self.id, self._source.connections.shown_url)
        self._latch = latch
        self._record = _read_record(latch)
        self._any_runs = False
        if latch.state is LatchState.OPEN and not latch.ticks:
            first = [id for id, _ in islice(jobs_of(self._record.shape, self._path()), _FIRST_LOOKED_AT)]
            self._any_runs = any(
                record is not None and record.status is TaskStatus.RUNNING for record in await store.get(first)
            )

    async def _join(self, timeout: float | None) -> None:
        if self._has_ended():
            await self._refresh()  # it may have been retried
        if self._has_ended():
            return
        listener = self._source.listener
        changed = asyncio.Event()

        def on_notice(_: Notice) -> None:
            changed.set()

        try:
            async with asyncio.timeout(timeout):
                await listener.follow([self.id], on_notice, addressed={})
                try:
                    while True:
                        changed.clear()
                        await self._refresh()
                        if self._has_ended():
                            return
                        await changed.wait()
                finally:
                    await listener.unfollow([self.id], on_notice)
        except TimeoutError:
            await self._refresh()
            if not self._has_ended():
                raise ResultTimeout(
                    f"the workflow {self.name or self.id} has not ended within {round(timeout or 0, 2):g} s "
                    f"({self.progress} jobs have); it goes on"
                ) from None

    async def _get(self, timeout: float | None) -> R:
        await self._join(timeout)
        if self.status is not TaskStatus.SUCCESSFUL:
            await self._raise_failure()
        value = await self._value(self._record.shape, self._path())
        if isinstance(value, Lost):
            raise ResultLost(
                f"the workflow {self.id} has ended, but the result of {value.task} ({value.id}) is not there: "
                f"{error_text(value) if value.record is not None else 'it was forgotten, or its time is over'}"
            )
        return value  # type: ignore[no-any-return]

    async def _value(self, shape: Shape, path: str) -> Any:
        store = await self._store()
        return await drive(read_value(shape, path, _Builder(self._source)), leaves_of(shape, path), store.get)

    async def _raise_failure(self) -> None:
        assert self._latch is not None
        if self._latch.cancelled:
            raise TaskCancelled(f"the workflow {self.name or self.id} was cancelled")
        culprit = self._latch.broken_by
        [record] = await (await self._store()).get([culprit]) if culprit else [None]
        if record is None or not record.errors:
            raise ResultLost(
                f"the workflow {self.name or self.id} failed by the job {culprit}, of which nothing more is known"
            )
        error = record.errors[-1]
        task = record.envelope.task if record.envelope.task != RELAY_TASK else f"workflow {self.name}".strip()
        failed = TaskFailed(
            error.exception_class_path, error.message, error.traceback, record.attempts, task=task, id=culprit
        )
        raise failed from rebuild_error(error)

    async def _children(self) -> list[Child]:
        await self._refresh()
        shape, path = self._record.shape, self._path()
        records = self._records(jobs_of(shape, path, callbacks=True))
        if shape.kind == "job":
            return [await self._job(path, shape, "", records)]
        return [await self._child(part, name, records) for part, name in _named(shape, path)]

    async def _callbacks(self) -> list[Child]:
        await self._refresh()
        shape, path = self._record.shape, self._path()
        followers = list(of_callbacks(shape, path))
        records = self._records(job for part in followers for job in jobs_of(part.shape, part.path))
        return [await self._child(part, part.name, records) for part in followers]

    async def _child(self, part: Part, name: str, records: AsyncIterator[ResultRecord | None]) -> Child:
        if part.shape.kind == "job":
            return await self._job(part.path, part.shape, name, records)
        children = [await self._child(inner, called, records) for inner, called in _named(part.shape, part.path)]
        callbacks = [await self._child(inner, inner.name, records) for inner in of_callbacks(part.shape, part.path)]
        return WorkflowPart(part.path, name, part.shape.kind, children, callbacks, _tolerates(part.shape))

    async def _job(
        self, path: str, shape: Shape, name: str, records: AsyncIterator[ResultRecord | None]
    ) -> TaskResult[Any]:
        record = await anext(records)
        for part in of_callbacks(shape, path):
            for _ in jobs_of(part.shape, part.path):
                await anext(records)  # they are read with the job, but are no parts of it
        return TaskResult(self._source, record if record is not None else self._unpublished(path, shape.task))

    def _unpublished(self, id: str, task: str) -> ResultRecord:
        """What is known of a job that waits for others, or will never run."""
        envelope = Envelope(id=id, task=task, queue="", body=b"", content_type="", enqueued_at=self._record.enqueued_at)
        if not self.is_finished:
            return ResultRecord(envelope=envelope)
        error = ErrorRecord(class_path(Skipped), "it was not run, because something before it did not succeed")
        return ResultRecord(envelope=envelope, status=TaskStatus.CANCELLED, errors=(error,))

    async def _records(self, jobs: Iterator[tuple[str, str]]) -> AsyncIterator[ResultRecord | None]:
        store = await self._store()
        while batch := [id for id, _ in islice(jobs, _AT_ONCE)]:
            for record in await store.get(batch):
                yield record

    async def _results(self) -> dict[str, Any]:
        await self._refresh()
        shape, path = self._record.shape, self._path()
        store = await self._store()
        parts = [(Part(path, shape), short_names([shape])[0])] if shape.kind == "job" else list(_named(shape, path))
        found: dict[str, Any] = {}
        builder = _Builder(self._source)

        def read() -> Reading[None]:
            for part, name in parts:
                value = yield from read_value(part.shape, part.path, builder)
                if not isinstance(value, Lost):
                    found[name] = value
                elif value.record is not None and value.record.status.is_finished:
                    found[name] = builder.failure(value)

        await drive(read(), (leaf for part, _ in parts for leaf in leaves_of(part.shape, part.path)), store.get)
        return found

    async def _cancel(self) -> bool:
        await self._refresh()
        if self.is_finished:
            return self.status is TaskStatus.CANCELLED
        store = await self._store()
        [broken] = await store.break_latches([self.id], cancelled=True)
        broker = await self._source.connections.opened()
        if broken and broker.control is not None:
            await broker.control.send(Command(kind="cancel", ids=(self.id,)))
        await self._refresh()
        return self.status is TaskStatus.CANCELLED

    async def _retry_failed(self) -> int:
        await self._refresh()
        count = await revive_failed(await self._store(), self.id, self._record.shape)
        await self._refresh()
        return count

    async def _forget(self) -> None:
        await self._refresh()
        if self.is_finished:
            await expire_workflow(await self._store(), self.id, self._record.shape, 0.0)


async def expire_workflow(store: ResultStore, id: str, shape: Shape, seconds: float) -> None:
    """Keep all that is known of a workflow for so many seconds from now, in steps of a bounded size."""
    path = root_path(shape.kind, id)
    jobs = (job for job, _ in jobs_of(shape, path))
    latches = latches_of(shape, path)
    while True:
        some, others = list(islice(jobs, _AT_ONCE)), list(islice(latches, _AT_ONCE))
        if not some and not others:
            break
        await store.expire(some, others, seconds)
    await store.expire([f"{id}:watch"], [id], seconds)


async def revive_failed(store: ResultStore, id: str, shape: Shape) -> int:
    """Make all failed, cancelled and skipped jobs of a workflow new, in bounded steps; how many there were."""
    jobs = jobs_of(shape, root_path(shape.kind, id))
    count = 0
    while batch := [job for job, _ in islice(jobs, _AT_ONCE)]:
        ended = [
            job
            for job, record in zip(batch, await store.get(batch), strict=True)
            if record is not None and record.status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        ]
        if ended:
            count += await store.revive(ended)
    return count


async def revive_skipped(store: ResultStore, jobs: Sequence[Envelope]) -> int:
    """After jobs of workflows were redriven: make those new that were skipped because of them, and nothing else.

    What has failed by itself stays as it is, and so does what lies in a part that has failed by that.
    """
    count = 0
    for id, shape in (await _workflows_around(store, jobs)).items():
        scopes = _Scopes(store)
        paths = jobs_of(shape, root_path(shape.kind, id))
        while batch := [job for job, _ in islice(paths, _AT_ONCE)]:
            skipped = [
                record.envelope for record in await store.get(batch) if record is not None and _was_skipped(record)
            ]
            live = [envelope.id for envelope in skipped if await scopes.go_on(envelope.scope)]
            if live:
                count += await store.revive(live)
    return count


class _Scopes:
    """Which parts of a workflow go on: those that nothing has stopped but what was skipped, or lives again."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._known: dict[str, bool] = {}

    async def go_on(self, scope: str | None) -> bool:
        if scope is None:
            return True
        known = self._known.get(scope)
        if known is None:
            [latch] = await self._store.latches([scope], with_data=False)
            known = latch is not None and await self._goes_on(latch) and await self.go_on(latch.scope)
            self._known[scope] = known
        return known

    async def _goes_on(self, latch: LatchRecord) -> bool:
        if latch.cancelled:
            return False
        if latch.state is not LatchState.BROKEN:
            return True
        [culprit] = await self._store.get([latch.broken_by]) if latch.broken_by else [None]
        return culprit is not None and (
            _was_skipped(culprit) or culprit.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        )


async def _workflows_around(store: ResultStore, jobs: Sequence[Envelope]) -> dict[str, Shape]:
    """The workflows to which these jobs belong."""
    found: dict[str, Shape] = {}
    seen: set[str] = set()
    asked = list(dict.fromkeys(job.scope for job in jobs if job.scope is not None))
    while asked:
        seen.update(asked)
        around: dict[str, None] = {}
        for start in range(0, len(asked), _AT_ONCE):
            for latch in await store.latches(asked[start : start + _AT_ONCE], with_data=False):
                if latch is None:
                    continue
                if latch.scope is not None:
                    around[latch.scope] = None
                    continue
                [whole] = await store.latches([latch.id])
                if whole is not None and whole.data:
                    found[latch.id] = _read_record(whole).shape
        asked = [scope for scope in around if scope not in seen]
    return found


def _was_skipped(record: ResultRecord) -> bool:
    return (
        record.status is TaskStatus.CANCELLED
        and bool(record.errors)
        and record.errors[-1].exception_class_path == class_path(Skipped)
    )


async def find_workflow(source: ResultSource, id: str) -> WorkflowResult[Any]:
    """The handle on a workflow by its id; on the I/O thread. Raises ResultNotFound."""
    await source.connections.opened()
    [latch] = await source.connections.needed_store().latches([id])
    if latch is None or not latch.data:
        raise _unknown(id, source.connections.shown_url)
    return WorkflowResult(source, id, _read_record(latch), latch)


def short_names(shapes: Sequence[Shape]) -> list[str]:
    """What parts are called that nobody has named: after their task, with a number where that is taken."""
    names: list[str] = []
    for shape in shapes:
        names.append(free_name(shape.task.rpartition(".")[2] or shape.kind, names))
    return names


def free_name(wanted: str, taken: Sequence[str] | dict[str, Any]) -> str:
    """A name that nobody has: the wanted one, or with -2, -3, … behind it."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


class _Builder:
    """Values as users want them."""

    def __init__(self, source: ResultSource) -> None:
        self._source = source

    def value(self, record: ResultRecord) -> Any:
        return TaskResult[Any](self._source, record).return_value

    def array(self, items: list[Any]) -> Any:
        return items

    def mapping(self, items: dict[str, Any]) -> Any:
        return items

    def failure(self, lost: Lost) -> Any:
        return Failure(id=lost.id, task=lost.task, error=error_text(lost))


def _named(shape: Shape, path: str) -> Iterator[tuple[Part, str]]:
    """The parts of a shape with their names."""
    if shape.kind == "group":
        for number, part in enumerate(parts_of(shape, path)):
            yield part, str(number)
    elif shape.kind == "graph":
        for part in parts_of(shape, path):
            yield part, part.name
    else:
        yield from zip(parts_of(shape, path), short_names(shape.kinds), strict=True)


def _tolerates(shape: Shape) -> list[bool]:
    """Of each part, whether its failure does not count."""
    if shape.kind == "graph":
        return [node.failure != "fail_fast" for node in shape.nodes]
    return [shape.failure != "fail_fast"] * shape.size


def _read_record(latch: LatchRecord) -> Record:
    try:
        return decode_record(latch.data)
    except msgspec.DecodeError as error:
        raise ResultLost(f"what is stored of the workflow {latch.id} cannot be read here: {error}") from error


def _unknown(id: str, where: str) -> HeelerError:
    return ResultNotFound(
        f"no workflow {id!r} in {where}: it was never enqueued there, it was forgotten, or its result_ttl is over"
    )


def _status_of(statuses: Sequence[TaskStatus]) -> TaskStatus:
    """The status of a whole from those of its parts."""
    if all(status is TaskStatus.SUCCESSFUL for status in statuses):
        return TaskStatus.SUCCESSFUL
    if TaskStatus.FAILED in statuses:
        return TaskStatus.FAILED
    if TaskStatus.CANCELLED in statuses:
        return TaskStatus.CANCELLED
    if TaskStatus.RUNNING in statuses or TaskStatus.SUCCESSFUL in statuses:
        return TaskStatus.RUNNING
    return TaskStatus.READY


def _done(child: Child) -> int:
    return child.progress.done if isinstance(child, WorkflowPart) else int(child.is_finished)


def _total(child: Child) -> int:
    return (child.progress.total or 0) if isinstance(child, WorkflowPart) else 1
