"""Administration of the memory broker's queues and dead letters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from heeler.brokers.memory.dead_letters import Parked
from heeler.brokers.memory.job import Job, Phase, current_record
from heeler.brokers.memory.publish import arrive
from heeler.brokers.memory.queue import MemoryQueue
from heeler.brokers.memory.reviving import live_again
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import JobState, QueueAdmin, QueueSize
from heeler.model import Arrival, DeadLetter, ResultRecord

__all__ = ["MemoryQueueAdmin"]

T = TypeVar("T")

_BATCH = 500  # jobs or dead letters


class MemoryQueueAdmin(QueueAdmin):
    """Reads and tidies the broker's tables."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        state = self._state
        with state.lock:
            now = state.clock.time()
            state.bring_all_back(now)
            running = Counter(job.envelope.queue for job in state.leased.values())
            dead = state.dead.count(now)
            names = sorted({*state.queues, *dead}) if queues is None else queues
            sizes = []
            for name in names:
                queue = state.queues.get(name) or MemoryQueue(name)
                sizes.append(
                    QueueSize(
                        queue=name,
                        waiting=queue.waiting(),
                        scheduled=len(queue.timetable),
                        running=running[name],
                        dead=dead[name],
                        paused=queue.paused,
                        oldest=_oldest(queue, now),
                    )
                )
            state.finish()
            return sizes

    async def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        tables = self._state
        with tables.lock:
            now = tables.clock.time()
            tables.bring_all_back(now)
            names = sorted(tables.queues) if queue is None else [name for name in (queue,) if name in tables.queues]
            jobs = [job for name in names for job in _in_state(tables, tables.queues[name], state)]
            ids = [job.envelope.id for job in jobs]
            # One that has left this state meanwhile went by the front, and all before it: begin at the front again.
            start = ids.index(after) + 1 if after in ids else 0
            tables.finish()
            return [current_record(job, now) for job in jobs[start : start + limit]]

    async def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        return await self.list_jobs("waiting", queue, limit)

    async def purge(self, queue: str, *, scheduled: bool = False) -> int:
        state = self._state
        with state.lock:
            state.bring_all_back(state.clock.time())
            there = state.queues.get(queue)
            jobs = [] if there is None else there.waiting_jobs() + (there.timetable.jobs() if scheduled else [])
            state.finish()
        phases = (Phase.WAITING, Phase.SCHEDULED) if scheduled else (Phase.WAITING,)
        count = 0
        for batch in _batches(jobs):
            with state.lock:
                now = state.clock.time()
                arrivals: list[Arrival] = []
                for job in batch:
                    if job.phase in phases:  # else somebody has taken it meanwhile
                        state.withdraw(job)
                        arrivals += state.end_unrun(job, f"dropped by a purge of the queue {queue}", now)
                        count += 1
                arrive(state, arrivals, now)
                state.finish()
            await asyncio.sleep(0)
        return count

    async def pause(self, queue: str) -> None:
        with self._state.lock:
            self._state.queue(queue).paused = True

    async def resume(self, queue: str) -> None:
        state = self._state
        with state.lock:
            resumed = state.queue(queue)
            resumed.paused = False
            state.bring_back((resumed,), state.clock.time())
            state.idle.wake(resumed, resumed.waiting())
            state.finish()

    async def dead_letters(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        state = self._state
        with state.lock:
            return state.dead.newest(queue, task, limit, after, state.clock.time())

    async def dead_letter(self, id: str) -> DeadLetter | None:
        state = self._state
        with state.lock:
            parked = state.dead.get(id, state.clock.time())
            return parked.letter if parked is not None else None

    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        return await self._each_dead(_redrive, ids, queue, task)

    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        return await self._each_dead(_drop_dead, ids, queue, task)

    async def _each_dead(
        self,
        change: Callable[[MemoryState, Parked, float], bool],
        ids: Sequence[str] | None,
        queue: str | None,
        task: str | None,
    ) -> int:
        """For how many of the dead letters that are there now `change` said yes."""
        state = self._state
        if ids is None:
            with state.lock:
                ids = state.dead.ids()
        count = 0
        for batch in _batches(ids):
            with state.lock:
                now = state.clock.time()
                count += sum(change(state, parked, now) for parked in state.dead.find(batch, queue, task, now))
                state.finish()
            await asyncio.sleep(0)
        return count


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """What is done with the lock held in one go; between batches others have their turn."""
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _redrive(state: MemoryState, parked: Parked, now: float) -> bool:
    """Whether the job went back: not if it is no envelope, or if another job has its id by now."""
    envelope = parked.letter.envelope
    return envelope is not None and live_again(state, envelope, parked.epoch, now)


def _drop_dead(state: MemoryState, parked: Parked, _: float) -> bool:
    state.dead.remove(parked.letter.id)
    return True


def _in_state(tables: MemoryState, queue: MemoryQueue, state: JobState) -> list[Job]:
    if state == "waiting":
        return queue.waiting_jobs()
    if state == "scheduled":
        return queue.timetable.jobs()
    running = [job for job in tables.leased.values() if job.envelope.queue == queue.name]
    return sorted(running, key=lambda job: (-job.envelope.priority, job.sequence))


def _oldest(queue: MemoryQueue, now: float) -> float | None:
    since = queue.oldest()
    return max(0.0, now - since) if since is not None else None
