"""What is stored of a job, as its readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope
from heeler.model import Envelope, ResultRecord, TaskStatus, decode_bare_record, expired_record

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
    expires_at: float | None
    held: int  # its last lease ran out, and no other has begun

    def decoded(self) -> Envelope:
        return decode_envelope(self.envelope)

    def has_expired(self, now: float) -> bool:
        """Whether it waits and nobody may start it any more: the next fetch gives it to a worker that ends it."""
        if self.expires_at is None or self.forget_at is not None or self.until is not None or self.held:
            return False
        return self.expires_at <= now

    def seen_record(self, now: float) -> ResultRecord | None:
        """`current_record` for users: one that has expired is over for them."""
        record = self.current_record(now)
        if record is None or self.expires_at is None or not self.has_expired(now):
            return record
        return expired_record(record, self.expires_at)

    def current_record(self, now: float) -> ResultRecord | None:
        """The record as it is now; None where only the id is kept."""
        if self.forget_at is not None:
            return None if self.record is None else decode_bare_record(self.record, self.decoded())
        envelope = self.decoded()
        is_leased = self.until is not None and self.until > now
        return msgspec.structs.replace(
            ResultRecord(envelope=envelope) if self.record is None else decode_bare_record(self.record, envelope),
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
    return [job.seen_record(step.now) if (job := known.get(id)) is not None else None for id in ids]
