"""What every end of a job writes, however it came."""

from __future__ import annotations

import msgspec

from heeler.brokers.sqlite.publishing import forget_job
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import DeadDetails, encode
from heeler.model import (
    Arrival,
    ArrivalKind,
    Envelope,
    ErrorRecord,
    ResultRecord,
    TaskStatus,
    arrivals_of,
    cancelled_record,
    decode_bare_record,
    encode_bare_record,
)

__all__ = ["bury", "end_unrun", "forget_old", "is_kept", "keep_end", "withdraw"]


def is_kept(envelope: Envelope, record: ResultRecord | None) -> bool:
    """Whether anything of an ended job stays: its record, or the id that its caller gave."""
    return envelope.keep > 0 and ((record is not None and envelope.keeps_result) or bool(envelope.fingerprint))


def keep_end(step: Step, seq: int, envelope: Envelope, record: ResultRecord | None) -> None:
    """Store how a job that waits nowhere ended, or drop it."""
    if is_kept(envelope, record):
        data = encode_bare_record(record) if record is not None and envelope.keeps_result else None
        step.run("keep_record", (seq, data, step.now + envelope.keep))
        step.run("drop_history", (seq,))
    else:
        forget_job(step, seq)


def end_unrun(step: Step, seq: int, envelope: Envelope, reason: str) -> tuple[Arrival, ...]:
    """End a job as CANCELLED that no worker has and that waits nowhere (any more).

    The answer is what its latches are to be told.
    """
    *_, attempts, crashes = step.row("place_of", (seq,))
    row = step.row("record", (seq,))
    record = ResultRecord(envelope=envelope) if row is None else decode_bare_record(row[0], envelope)
    record = msgspec.structs.replace(record, attempts=attempts, crashes=crashes)
    record = cancelled_record(record, reason, step.now)
    keep_end(step, seq, envelope, record)
    step.event(envelope, TaskStatus.CANCELLED)
    return arrivals_of(envelope, ArrivalKind.SKIPPED)


def withdraw(step: Step, seq: int) -> None:
    """Take a job out of where it waits, or end its lease."""
    if step.run("end_lease", (seq,)).rowcount:
        return
    queue, rank, _, place, at, *_ = step.row("place_of", (seq,))
    if not step.run("leave_ready", (queue, rank, place)).rowcount:
        step.run("unschedule", (queue, at, place))


def bury(
    step: Step,
    id: str,
    queue: int,
    task: str,
    epoch: int,
    content: bytes,
    *,
    reason: str,
    errors: tuple[ErrorRecord, ...] = (),
    attempts: int = 0,
    crashes: int = 0,
    raw: bool = False,
) -> None:
    """Put a dead letter aside; the oldest go when there are too many."""
    details = encode(DeadDetails(reason, errors, attempts, crashes, raw))
    step.run("bury", (id, queue, task, step.now, epoch, details, content))
    step.buried = True


def forget_old(step: Step, most: int) -> None:
    """Drop up to `most` jobs whose records' time is over: what a step does on the side, so that none has to do much."""
    seqs = step.run("forgettable", (step.now, most)).fetchall()
    if seqs:
        step.drop_jobs(seqs)
