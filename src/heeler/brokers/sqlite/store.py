"""The SQLite broker as a result store: records are read where the broker itself writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.sqlite import latches
from heeler.brokers.sqlite.dead_letters import revive
from heeler.brokers.sqlite.endings import end_unrun, withdraw
from heeler.brokers.sqlite.inbox import SqliteInbox
from heeler.brokers.sqlite.listing import list_records
from heeler.brokers.sqlite.publishing import arrive, forget_job, let_go
from heeler.brokers.sqlite.records import KnownJob, known_jobs, records_of
from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import json_of
from heeler.contracts import CancelAnswer, Inbox, ResultStore
from heeler.model import JobFilter, LatchRecord, ResultRecord, TaskStatus, decode_bare_record

__all__ = ["SqliteResultStore"]

_AT_ONCE = 500  # ids in one transaction


class SqliteResultStore(ResultStore):
    """Reads on the connection that does not wait for the disk; writes as the broker does."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._session().brisk.reading() as reader:
            return records_of(reader, ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        return await list_records(self._session(), wanted, limit, after)

    async def inbox(self) -> Inbox:
        return SqliteInbox(self._session())

    async def forget(self, ids: Sequence[str]) -> int:
        with self._session().step() as step:
            return sum(_forget(step, job) for job in known_jobs(step, ids).values())

    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        answers: list[CancelAnswer] = []
        for start in range(0, len(ids), _AT_ONCE):
            with self._session().step(durable=True) as step:
                answers += [_cancel(step, id) for id in ids[start : start + _AT_ONCE]]
        return answers

    async def revive(self, ids: Sequence[str]) -> int:
        count = 0
        for start in range(0, len(ids), _AT_ONCE):
            with self._session().step(durable=True) as step:
                known = known_jobs(step, ids[start : start + _AT_ONCE])
                count += sum(revive(step, job) for job in known.values())
        return count

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        with self._session().brisk.reading() as reader:
            return latches.records(reader, ids, with_data)

    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        with self._session().step(durable=True) as step:
            freed = [latches.break_(step, id, by, cancelled) for id in ids]
            let_go(step, [envelope for envelopes in freed for envelope in envelopes or ()])
            return [envelopes is not None for envelopes in freed]

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        for start in range(0, max(len(jobs), len(latches)), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            with self._session().step() as step:
                step.run("expire_records", (step.now + seconds, json_of(jobs[part]), step.now))
                step.run("expire_latches", (step.now + seconds, json_of(latches[part]), step.now))


def _forget(step: Step, job: KnownJob) -> bool:
    """Whether there was a record of an ended job; an id that a caller gave stays reserved."""
    if job.forget_at is None or job.record is None:
        return False
    if job.decoded().fingerprint:
        step.run("keep_record", (job.seq, None, job.forget_at))
    else:
        forget_job(step, job.seq)
    return True


def _cancel(step: Step, id: str) -> CancelAnswer:
    job = known_jobs(step, [id]).get(id)
    if job is None:
        return CancelAnswer.NOT_FOUND
    if job.forget_at is not None:
        if job.record is not None and decode_bare_record(job.record, job.decoded()).status is TaskStatus.CANCELLED:
            return CancelAnswer.CANCELLED
        return CancelAnswer.ENDED
    if job.has_expired(step.now):
        return CancelAnswer.ENDED
    if job.until is not None and job.until > step.now:
        step.run("mark_cancelled", (job.seq,))
        return CancelAnswer.REQUESTED
    withdraw(step, job.seq)
    arrive(step, end_unrun(step, job.seq, job.decoded(), "cancelled before it started"))
    return CancelAnswer.CANCELLED
