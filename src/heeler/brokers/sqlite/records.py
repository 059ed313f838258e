"""What is stored of a job, as its readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope, decode_record
from heeler.model import Envelope, ResultRecord, TaskStatus

__all__ = ["KnownJob", "known_jobs", "records_of"]

_AT_ONCE = 500  # ids in one statement


class KnownJob(NamedTuple):
    """A row of `known_jobs`: all that is stored of a job."""

    id: str
    seq: int
    envelope: bytes
    record: bytes | None
    forget_at: float | None  # None: it has not ended
    at: float
    attempts: int
    crashes: int
    until: float | None  # of its lease
    reported: int | None

    def decoded(self) -> Envelope:
        return decode_envelope(self.envelope)

    def current_record(self, now: float) -> ResultRecord | None:
        """The record as a reader sees it now; None where only the id is kept."""
        if self.forget_at is not None:
            return None if self.record is None else decode_record(self.record, self.decoded())
        envelope = self.decoded()
        is_leased = self.until is not None and self.until > now
        return msgspec.structs.replace(
            ResultRecord(envelope=envelope) if self.record is None else decode_record(self.record, envelope),
            status=TaskStatus.RUNNING if is_leased and self.reported else TaskStatus.READY,
            attempts=self.attempts,
            crashes=self.crashes,
            next_at=self.at if self.at > now and not is_leased else None,
        )


def known_jobs(step: Step, ids: Sequence[str]) -> dict[str, KnownJob]:
    """What is stored of jobs, by id; those whose time is over are left out."""
    known: dict[str, KnownJob] = {}
    for start in range(0, len(ids), _AT_ONCE):
        text = msgspec.json.encode(ids[start : start + _AT_ONCE]).decode()
        for job in map(KnownJob._make, step.run("known_jobs", (text,))):
            if job.forget_at is None or job.forget_at > step.now:
                known[job.id] = job
    return known


def records_of(step: Step, ids: Sequence[str]) -> list[ResultRecord | None]:
    known = known_jobs(step, ids)
    return [job.current_record(step.now) if (job := known.get(id)) is not None else None for id in ids]
