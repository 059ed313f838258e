"""The memory broker as a result store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.memory.job import Job, Phase, has_expired, seen_record
from heeler.brokers.memory.listing import list_records
from heeler.brokers.memory.news import Mailbox
from heeler.brokers.memory.publish import arrive, let_go
from heeler.brokers.memory.reviving import revive
from heeler.brokers.memory.state import MemoryState
from heeler.clock import new_id
from heeler.contracts import CancelAnswer, Inbox, ResultStore
from heeler.model import JobFilter, LatchRecord, Notice, ResultRecord, TaskStatus

__all__ = ["MemoryResultStore"]


class MemoryInbox(Inbox):
    """A mailbox of notices under an address. `records` reads what is known of jobs."""

    def __init__(
        self, state: MemoryState, records: Callable[[MemoryState, Sequence[str]], list[ResultRecord | None]]
    ) -> None:
        self._records = records
        self.address = f"memory:{new_id()}"
        self._state = state
        self._mailbox: Mailbox[Notice] = Mailbox()
        with state.lock:
            state.news.open(self.address, self._mailbox)

    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._state.lock:
            for job_id in ids:
                self._state.news.watch(self.address, job_id)
            return self._records(self._state, ids)

    async def unwatch(self, ids: Sequence[str]) -> None:
        with self._state.lock:
            for job_id in ids:
                self._state.news.unwatch(self.address, job_id)

    async def receive(self) -> list[Notice]:
        return await self._mailbox.receive()

    async def close(self) -> None:
        with self._state.lock:
            self._state.news.close(self.address)


class MemoryResultStore(ResultStore):
    """Records of live and ended jobs, read from the broker's own tables."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._state.lock:
            return _records(self._state, ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        state = self._state

        def number_of(id: str) -> int | None:
            job = state.jobs.get(id)
            if job is not None:
                return job.number
            ended = state.ended.get(id, state.clock.time())
            return ended.number if ended is not None else None

        def record_of(id: str, number: int, now: float) -> ResultRecord | None:
            job = state.jobs.get(id)
            if job is not None:
                return seen_record(job, now) if job.number == number else None
            ended = state.ended.get(id, now)
            return ended.record if ended is not None and ended.number == number else None

        return await list_records(state, state.register, wanted, limit, after, number_of, record_of)

    async def inbox(self) -> Inbox:
        return MemoryInbox(self._state, _records)

    async def forget(self, ids: Sequence[str]) -> int:
        with self._state.lock:
            now = self._state.clock.time()
            return sum(self._state.ended.forget(job_id, now) for job_id in ids)

    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        state = self._state
        with state.lock:
            now = state.clock.time()
            answers = [_cancel(state, job_id, now) for job_id in ids]
            state.finish()
            return answers

    async def revive(self, ids: Sequence[str]) -> int:
        state = self._state
        with state.lock:
            now = state.clock.time()
            count = sum(revive(state, job_id, now) for job_id in ids)
            state.finish()
            return count

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        with self._state.lock:
            return self._state.latches.records(ids, with_data, self._state.clock.time())

    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        state = self._state
        with state.lock:
            freed = [state.latches.break_(id, by, cancelled, state.clock.time()) for id in ids]
            let_go(state, [envelope for envelopes in freed for envelope in envelopes or ()], state.clock.time())
            state.finish()
            return [envelopes is not None for envelopes in freed]

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        state = self._state
        with state.lock:
            now = state.clock.time()
            for job_id in jobs:
                state.ended.expire(job_id, now + seconds, now)
            for latch_id in latches:
                state.latches.expire(latch_id, now + seconds, now)


def _records(state: MemoryState, ids: Sequence[str]) -> list[ResultRecord | None]:
    now = state.clock.time()
    records: list[ResultRecord | None] = []
    for job_id in ids:
        job = state.jobs.get(job_id)
        if job is not None:
            records.append(seen_record(job, now))
        else:
            ended = state.ended.get(job_id, now)
            records.append(ended.record if ended is not None else None)
    return records


def _cancel(state: MemoryState, id: str, now: float) -> CancelAnswer:
    job = state.jobs.get(id)
    if job is not None:
        if has_expired(job, now):
            return CancelAnswer.ENDED
        if _runs(job, now):
            job.cancelled = True
            return CancelAnswer.REQUESTED
        state.withdraw(job)
        arrive(state, state.end_unrun(job, "cancelled before it started", now), now)
        return CancelAnswer.CANCELLED
    ended = state.ended.get(id, now)
    if ended is None:
        return CancelAnswer.NOT_FOUND
    if ended.record is not None and ended.record.status is TaskStatus.CANCELLED:
        return CancelAnswer.CANCELLED
    return CancelAnswer.ENDED


def _runs(job: Job, now: float) -> bool:
    return job.phase is Phase.LEASED and job.lease_until > now
