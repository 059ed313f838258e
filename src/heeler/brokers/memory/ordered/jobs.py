"""What the store knows of jobs whose messages travel elsewhere, and what has to be sent because of them."""

from __future__ import annotations

import heapq

import msgspec

from heeler.contracts import Outgoing, Unsent
from heeler.model import Arrival, ArrivalKind, DeadLetter, Envelope, ResultRecord, TaskStatus

__all__ = ["CarriedJob", "CarriedJobs", "Note", "Timed", "current_record", "message_key"]

ENDS_KEPT = 120.0  # seconds that an end is remembered after the acknowledgement, which may have been lost
UNACKNOWLEDGED_KEPT = 30 * 86400.0

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

    def is_held(self, now: float) -> bool:
        return self.begun and self.lease_until > now

    def send_again(self, envelope: Envelope, due_at: float | None) -> None:
        """Another message of this job is out from now on; what was known of the last run is no more."""
        self.sent = self.epoch = envelope.epoch
        self.due_at = due_at
        self.attempts = envelope.attempts
        self.crashes = envelope.crashes
        self.begun = self.started = self.reported = False
        self.lease_until = 0.0

    def skipped(self) -> list[Arrival]:
        """What its latches are told when it ends without a run."""
        return [Arrival(member.latch, member.number, ArrivalKind.SKIPPED) for member in self.envelope.ends_at]


def current_record(job: CarriedJob, now: float) -> ResultRecord | None:
    """The record as a reader sees it now."""
    if job.over:
        return job.record if job.keep_until > now else None
    running = job.reported and job.is_held(now)
    return msgspec.structs.replace(
        job.record if job.record is not None else ResultRecord(envelope=job.envelope),
        status=TaskStatus.RUNNING if running else TaskStatus.READY,
        attempts=job.attempts,
        crashes=job.crashes,
        next_at=job.due_at if job.due_at is not None and job.due_at > now else None,
    )


class Note(msgspec.Struct, gc=False, eq=False):
    """What is to be sent, or (with nothing left to send) that a message has ended which may come again."""

    key: str
    at: float  # since when it is unsent, or when somebody took it to send it
    id: str | None  # of the job whose message has ended
    messages: list[Timed]
    letter: DeadLetter | None
    forget_at: float


def message_key(id: str, sent: int) -> str:
    """The key of the note on the end of the message of this job that carries this epoch."""
    return f"{id}/{sent}"


class CarriedJobs:
    """All jobs and notes. A job that is over goes when its record's time is over and no note is left of it."""

    def __init__(self) -> None:
        self.paused: set[str] = set()
        self._jobs: dict[str, CarriedJob] = {}
        self._notes: dict[str, Note] = {}
        self._notes_of: dict[str, int] = {}  # by job, how many
        self._forgetting: list[tuple[float, str]] = []  # jobs that are over

    def get(self, id: str) -> CarriedJob | None:
        return self._jobs.get(id)

    def add(self, job: CarriedJob) -> CarriedJob:
        self._jobs[job.envelope.id] = job
        return job

    def end(self, job: CarriedJob, record: ResultRecord | None, now: float) -> None:
        """The job is over; its record, or an id that a caller gave, is kept for its time."""
        envelope = job.envelope
        job.over = True
        job.begun = job.reported = False
        job.record = record if envelope.keeps_result else None
        kept = job.record is not None or envelope.fingerprint
        job.keep_until = now + envelope.keep if kept else 0.0

    def note(self, key: str, messages: list[Timed], letter: DeadLetter | None, now: float, job: CarriedJob) -> Unsent:
        """Take down that a message of the job has ended, and what has to be sent because of that."""
        later = max(now, job.due_at or 0.0)
        if key not in self._notes:
            self._notes_of[job.envelope.id] = self._notes_of.get(job.envelope.id, 0) + 1
        self._notes[key] = Note(key, now, job.envelope.id, messages, letter, later + UNACKNOWLEDGED_KEPT)
        return self.unsent(key, now)

    def note_publication(self, key: str, messages: list[Timed], now: float) -> Unsent:
        self._notes[key] = Note(key, now, None, messages, None, now + UNACKNOWLEDGED_KEPT)
        return self.unsent(key, now)

    def unsent(self, key: str, now: float) -> Unsent:
        """What is left to send of a note; nothing where it is cleared."""
        note = self._notes.get(key)
        if note is None:
            return Unsent(key)
        messages = [
            Outgoing(envelope, max(0.0, due_at - now) if due_at is not None else 0.0)
            for envelope, due_at in note.messages
            if self._is_awaited(envelope)
        ]
        return Unsent(key, tuple(messages), note.letter)

    def take_unsent(self, older_than: float, limit: int, now: float) -> list[Unsent]:
        """What nobody has sent for so long; the moment it was last taken counts."""
        notes = [
            note for note in self._notes.values() if note.at + older_than <= now and (note.messages or note.letter)
        ][:limit]
        for note in notes:
            note.at = now
        return [self.unsent(note.key, now) for note in notes]

    def clear(self, key: str, acknowledged: bool, now: float) -> None:
        note = self._notes.get(key)
        if note is None:
            return
        if note.id is None or acknowledged:
            self._drop_note(note, now)
        else:
            note.messages = []
            note.letter = None

    def forget(self, id: str, now: float) -> bool:
        """Drop the record of a job that is over; an id that a caller gave stays taken. Whether there was one."""
        job = self._jobs.get(id)
        if job is None or not job.over or job.record is None or job.keep_until <= now:
            return False
        job.record = None
        if not job.envelope.fingerprint:
            job.keep_until = 0.0
        return True

    def drop_job(self, id: str) -> None:
        self._jobs.pop(id, None)

    def prune(self, now: float, most: int) -> None:
        """Free up to `most` jobs whose time is over, and notes that nobody will ever clear."""
        while most > 0 and self._forgetting and self._forgetting[0][0] <= now:
            _, job_id = heapq.heappop(self._forgetting)
            most -= 1
            job = self._jobs.get(job_id)
            if job is not None and job.over and not self._notes_of.get(job_id):
                if job.keep_until <= now:
                    del self._jobs[job_id]
                else:
                    heapq.heappush(self._forgetting, (job.keep_until, job_id))
        for note in [note for note, _ in zip(self._notes.values(), range(most), strict=False) if note.forget_at <= now]:
            self._drop_note(note, now)

    def _drop_note(self, note: Note, now: float) -> None:
        del self._notes[note.key]
        if note.id is None:
            return
        left = self._notes_of[note.id] - 1
        if left:
            self._notes_of[note.id] = left
            return
        del self._notes_of[note.id]
        job = self._jobs.get(note.id)
        if job is not None and job.over:
            heapq.heappush(self._forgetting, (max(job.keep_until, now + ENDS_KEPT), note.id))

    def _is_awaited(self, envelope: Envelope) -> bool:
        """Whether the message is still the one that is to come."""
        job = self._jobs.get(envelope.id)
        return job is not None and not job.over and job.sent == envelope.epoch and not job.begun
