"""What a store knows of one job whose messages travel elsewhere."""

from __future__ import annotations

import msgspec

from heeler.contracts import Outgoing, Unsent
from heeler.model import (
    Arrival,
    ArrivalKind,
    DeadLetter,
    Envelope,
    ResultRecord,
    TaskStatus,
    arrivals_of,
    expired_record,
)

__all__ = ["ENDS_KEPT", "RUNS_UNTOLD", "UNACKNOWLEDGED_KEPT", "CarriedJob", "Errand", "Timed", "message_key"]

ENDS_KEPT = 120.0  # seconds that an end is remembered after the acknowledgement, which may have been lost
UNACKNOWLEDGED_KEPT = 30 * 86400.0
RUNS_UNTOLD = 30.0  # seconds after its start by which the store has been told of a run, or its worker is in trouble

Timed = tuple[Envelope, float | None]
"""A message and the time before which it may not start."""


class CarriedJob(msgspec.Struct, gc=False, eq=False, kw_only=True):
    """One job. `sent` is the epoch that the message carries which is out now, `epoch` that of the last run.

    They are the same until the message is redelivered. `begun`: somebody has written something of that run; from then
    on `lease_until`, `started`, `reported` and `crashes` are its own.
    """

    envelope: Envelope
    sent: int
    epoch: int
    expires_at: float | None = None
    due_at: float | None = None
    attempts: int = 0
    crashes: int = 0
    begun: bool = False
    lease_until: float = 0.0
    started: bool = False
    reported: bool = False
    cancelled: bool = False
    over: bool = False
    record: ResultRecord | None = None
    keep_until: float = 0.0  # of a job that is over: until then its id is taken

    @classmethod
    def first(cls, envelope: Envelope, due_at: float | None, expires_at: float | None) -> CarriedJob:
        """A job whose message is about to be sent."""
        return cls(
            envelope=envelope,
            sent=envelope.epoch,
            epoch=envelope.epoch,
            expires_at=expires_at,
            due_at=due_at,
            attempts=envelope.attempts,
            crashes=envelope.crashes,
        )

    def is_held(self, now: float) -> bool:
        return self.begun and self.lease_until > now

    def is_taken(self, now: float) -> bool:
        """Whether nobody else can have its id."""
        return not self.over or self.keep_until > now

    def is_lost(self, epoch: int) -> bool:
        """Whether the run of this epoch cannot end it any more."""
        return self.over or self.epoch != epoch

    def awaits(self, envelope: Envelope) -> bool:
        """Whether this message of it is still to come."""
        return not self.over and self.sent == envelope.epoch and not self.begun

    def has_expired(self, now: float) -> bool:
        """Whether its message waits and nobody may start it any more: who gets it ends it."""
        if self.expires_at is None or self.over or self.begun:
            return False
        return self.expires_at + RUNS_UNTOLD <= now

    def seen_record(self, now: float) -> ResultRecord | None:
        """`current_record` for users: one that has expired is over for them."""
        record = self.current_record(now)
        if record is None or self.expires_at is None or not self.has_expired(now):
            return record
        return expired_record(record, self.expires_at)

    def current_record(self, now: float) -> ResultRecord | None:
        """The record as it is now."""
        if self.over:
            return self.record if self.keep_until > now else None
        running = self.reported and self.is_held(now)
        return msgspec.structs.replace(
            self.record if self.record is not None else ResultRecord(envelope=self.envelope),
            status=TaskStatus.RUNNING if running else TaskStatus.READY,
            attempts=self.attempts,
            crashes=self.crashes,
            next_at=self.due_at if self.due_at is not None and self.due_at > now else None,
        )

    def send_again(self, envelope: Envelope, due_at: float | None) -> None:
        """Another message of this job is out from now on; what was known of the last run is no more."""
        self.sent = self.epoch = envelope.epoch
        self.due_at = due_at
        self.attempts = envelope.attempts
        self.crashes = envelope.crashes
        self.begun = self.started = self.reported = False
        self.lease_until = 0.0

    def end(self, record: ResultRecord | None, now: float) -> None:
        """The job is over; its record, or an id that a caller gave, is kept for its time."""
        envelope = self.envelope
        self.over = True
        self.begun = self.reported = False
        self.record = record if envelope.keeps_result else None
        kept = self.record is not None or envelope.fingerprint
        self.keep_until = now + envelope.keep if kept else 0.0

    def forget(self, now: float) -> bool:
        """Drop the record of a job that is over; an id that a caller gave stays taken. Whether there was one."""
        if not self.over or self.record is None or self.keep_until <= now:
            return False
        self.record = None
        if not self.envelope.fingerprint:
            self.keep_until = 0.0
        return True

    def expire(self, keep_until: float, now: float) -> bool:
        """Keep what is known of a job that is over until then; whether anything is."""
        if not self.over or self.keep_until <= now:
            return False
        self.keep_until = keep_until
        return True

    def skipped(self) -> tuple[Arrival, ...]:
        """What its latches are told when it ends without a run."""
        return arrivals_of(self.envelope, ArrivalKind.SKIPPED)


class Errand(msgspec.Struct, gc=False, eq=False):
    """What is to be sent, or (with nothing left to send) that a message of job `id` has ended which may come again."""

    key: str
    id: str | None
    messages: list[Timed]
    letter: DeadLetter | None
    forget_at: float

    def unsent(self, awaited: list[Timed], now: float) -> Unsent:
        """What is left to send, if only these messages are still awaited."""
        messages = [
            Outgoing(envelope, max(0.0, due_at - now) if due_at is not None else 0.0) for envelope, due_at in awaited
        ]
        return Unsent(self.key, tuple(messages), self.letter)


def message_key(id: str, sent: int) -> str:
    """The key of the errand that follows from the end of the message of this job that carries this epoch."""
    return f"{id}/{sent}"
