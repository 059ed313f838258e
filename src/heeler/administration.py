"""Queues, dead letters and workers for people and programs: administration from sync and async code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from heeler.connections import Connections
from heeler.contracts import ControlChannel, JobState, QueueAdmin, QueueSize, ResultStore
from heeler.errors import ConfigurationError
from heeler.model import Command, DeadLetter, Envelope, ResultRecord, WorkerPresence
from heeler.workflow_result import revive_skipped

__all__ = ["DeadLetters", "LiveWorkers", "Queues"]

T = TypeVar("T")
_AT_ONCE = 500  # dead letters that one call reads
LOOK_AGAIN = 0.02  # the first pause before looking whether the workers have answered


class _Administration:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def _run(self, ask: Callable[[QueueAdmin], Coroutine[Any, Any, T]]) -> T:
        return self._connections.io.run(self._asked(ask))

    async def _arun(self, ask: Callable[[QueueAdmin], Coroutine[Any, Any, T]]) -> T:
        return await self._connections.io.arun(self._asked(ask))

    async def _asked(self, ask: Callable[[QueueAdmin], Coroutine[Any, Any, T]]) -> T:
        broker = await self._connections.opened()
        if broker.admin is None:
            raise ConfigurationError(f"{self._connections.shown_url} offers no administration of queues")
        return await ask(broker.admin)


class Queues(_Administration):
    """`app.queues`: sizes, looking, purging, pausing. Each method has an async twin with the prefix `a`."""

    def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        """How many jobs of each queue are where; None means all known queues."""
        return self._run(lambda admin: admin.sizes(queues))

    async def asizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        return await self._arun(lambda admin: admin.sizes(queues))

    def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        """Jobs that are waiting, scheduled or running; `after` is the id that ended the last page."""
        return self._run(lambda admin: admin.list_jobs(state, queue, limit, after))

    async def alist_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        return await self._arun(lambda admin: admin.list_jobs(state, queue, limit, after))

    def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        """The jobs that would start next; changes nothing."""
        return self._run(lambda admin: admin.peek(queue, limit))

    async def apeek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        return await self._arun(lambda admin: admin.peek(queue, limit))

    def purge(self, queue: str, *, scheduled: bool = False) -> int:
        """Drop the waiting jobs (and the scheduled ones); how many. They end CANCELLED."""
        return self._run(lambda admin: admin.purge(queue, scheduled=scheduled))

    async def apurge(self, queue: str, *, scheduled: bool = False) -> int:
        return await self._arun(lambda admin: admin.purge(queue, scheduled=scheduled))

    def pause(self, queue: str) -> None:
        """Start no job of the queue until `resume`; what runs goes on."""
        self._run(lambda admin: admin.pause(queue))

    async def apause(self, queue: str) -> None:
        await self._arun(lambda admin: admin.pause(queue))

    def resume(self, queue: str) -> None:
        self._run(lambda admin: admin.resume(queue))

    async def aresume(self, queue: str) -> None:
        await self._arun(lambda admin: admin.resume(queue))


class DeadLetters(_Administration):
    """`app.dead_letters`: the jobs that were given up. Each method has an async twin with the prefix `a`."""

    def list(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        """Newest first; `after` is the id that ended the last page."""
        return self._run(lambda admin: admin.dead_letters(queue, task, limit, after))

    async def alist(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[DeadLetter]:
        return await self._arun(lambda admin: admin.dead_letters(queue, task, limit, after))

    def show(self, id: str) -> DeadLetter | None:
        """One dead letter with the errors of all its attempts; None if there is none of that id."""
        return self._run(lambda admin: admin.dead_letter(id))

    async def ashow(self, id: str) -> DeadLetter | None:
        return await self._arun(lambda admin: admin.dead_letter(id))

    def redrive(self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None) -> int:
        """Put dead letters back on their queues as new; how many. Nothing given means every one.

        Where they are jobs of workflows, these go on where they stopped: what was skipped because of them is made new
        as well (and is not counted).
        """
        return self._run(lambda admin: self._redrive(admin, ids, queue, task))

    async def aredrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        """`redrive` from async code."""
        return await self._arun(lambda admin: self._redrive(admin, ids, queue, task))

    async def _redrive(self, admin: QueueAdmin, ids: Sequence[str] | None, queue: str | None, task: str | None) -> int:
        store = self._connections.store
        placed: list[Envelope] = []
        if store is not None and store.readable:
            placed = [envelope async for envelope in _in_workflows(admin, store, ids, queue, task)]
        count = await admin.redrive(ids, queue=queue, task=task)
        if store is not None and count and placed:
            await revive_skipped(store, placed)
        return count

    def purge(self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None) -> int:
        """Drop dead letters for good; how many. Nothing given means every one."""
        return self._run(lambda admin: admin.purge_dead(ids, queue=queue, task=task))

    async def apurge(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        return await self._arun(lambda admin: admin.purge_dead(ids, queue=queue, task=task))


class LiveWorkers:
    """The workers of all processes: seeing them, and reaching them by name."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def live(self, patience: float) -> list[WorkerPresence]:
        """Who is there, after asking each to say what it does now and waiting for that up to `patience` seconds."""
        return [worker for worker, _ in await self.census(patience)]

    async def census(self, patience: float) -> list[tuple[WorkerPresence, bool]]:
        """The same, and whether the worker has answered."""
        control = await self._control()
        before = await control.live()
        if patience <= 0 or not before:
            return [(worker, False) for worker in before]
        said_before = {worker.id: worker.at for worker in before}
        await control.send(Command(kind="announce"))
        now, until = self._connections.clock.monotonic, self._connections.clock.monotonic() + patience
        pause = LOOK_AGAIN
        while True:
            await asyncio.sleep(pause)
            found = [(worker, worker.at > said_before.get(worker.id, 0.0)) for worker in await control.live()]
            if now() >= until or all(answered for _, answered in found):
                return found
            pause = min(2 * pause, max(0.0, until - now()))

    async def tell(self, kind: Literal["quiet", "stop"], names: Sequence[str]) -> list[WorkerPresence]:
        """Tell the workers of these names or ids; those who were told."""
        control = await self._control()
        told = [worker for worker in await control.live() if worker.id in names or worker.name in names]
        if told:
            await control.send(Command(kind=kind, workers=tuple(worker.id for worker in told)))
        return told

    async def _control(self) -> ControlChannel:
        broker = await self._connections.opened()
        if broker.control is None:
            raise ConfigurationError(
                f"{self._connections.shown_url} does not let workers be seen or reached: it has no control channel"
            )
        return broker.control


async def _in_workflows(
    admin: QueueAdmin, store: ResultStore, ids: Sequence[str] | None, queue: str | None, task: str | None
) -> AsyncIterator[Envelope]:
    """One job for each part of a workflow to which some of these dead letters belong."""
    seen: set[str] = set()
    async for envelope in _dead(admin, store, ids, queue, task):
        if envelope.scope is not None and envelope.scope not in seen:
            seen.add(envelope.scope)
            yield envelope


async def _dead(
    admin: QueueAdmin, store: ResultStore, ids: Sequence[str] | None, queue: str | None, task: str | None
) -> AsyncIterator[Envelope]:
    if ids is not None:
        for start in range(0, len(ids), _AT_ONCE):
            for record in await store.get(ids[start : start + _AT_ONCE]):
                if record is not None:
                    yield record.envelope
        return
    after: str | None = None
    while letters := await admin.dead_letters(queue, task, _AT_ONCE, after):
        for letter in letters:
            if letter.envelope is not None:
                yield letter.envelope
        after = letters[-1].id
