"""What becomes of a job, given how its run ended: the whole policy of retries, crashes and dead letters.

Pure functions, tested by table: no clock, no I/O, and chance comes in as a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from heeler.model import (
    Action,
    ArrivalKind,
    Delivery,
    Envelope,
    ErrorRecord,
    Latch,
    Publication,
    ResultRecord,
    Retry,
    RunNote,
    Settlement,
    TaskStatus,
    arrivals_of,
    ended_by_expiry,
    expiry_error,
    own_error,
)
from heeler.worker.outcome import (
    Cancelled,
    Crashed,
    Expired,
    Outcome,
    PassedOn,
    Raised,
    RejectedByTask,
    Released,
    RetryRequested,
    Returned,
    Skipped,
    Unfinished,
    Unknown,
    Unreadable,
)

__all__ = [
    "CANNOT_STORE",
    "KEPT_ERRORS",
    "UNKNOWN_TASK_TRIES",
    "Facts",
    "Policy",
    "as_dead_letter",
    "decide",
    "read_note",
]

KEPT_ERRORS = 10
KEPT_WORKERS = 10
UNKNOWN_TASK_TRIES = 5
UNKNOWN_TASK_DELAY = 1.0
ELSEWHERE_DELAY = 0.2
CANNOT_STORE = "the broker cannot store how the job ended"

_note_decoder = msgspec.msgpack.Decoder(RunNote)
_note_encoder = msgspec.msgpack.Encoder()
_NO_NOTE = RunNote()


class Policy(msgspec.Struct, frozen=True):
    """What the task and the message ask for; one object for all runs with the same options."""

    retry: Retry = Retry()
    max_crashes: int = 3
    content_type: str = ""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a run besides its outcome. `started_at` is None for what never started; `chance` in [0, 1)."""

    delivery: Delivery
    policy: Policy
    worker_id: str
    now: float
    started_at: float | None = None
    saved: bytes | None = None  # by this run
    follow_ups: tuple[Envelope, ...] = ()
    follow_latches: tuple[Latch, ...] = ()
    announced: bool = False  # others were told that it runs
    chance: float = 0.0
    on_failure: Callable[[ErrorRecord], tuple[Envelope, ...]] | None = None  # what follows a final failure


def read_note(delivery: Delivery) -> RunNote:
    """What earlier runs of the job left behind."""
    if not delivery.note:
        return _NO_NOTE
    try:
        return _note_decoder.decode(delivery.note)
    except msgspec.DecodeError:  # written by another version: the history is lost, the job is not
        return _NO_NOTE


def decide(outcome: Outcome, facts: Facts) -> Settlement:
    """The settlement of a delivery whose run ended like this."""
    if type(outcome) is Returned:
        return _returned(outcome, facts)
    return _DECISIONS[type(outcome)](outcome, facts)


def _returned(outcome: Returned, facts: Facts) -> Settlement:
    delivery = facts.delivery
    envelope = delivery.envelope
    attempts = delivery.attempts + 1
    record = None
    if envelope.keeps_result:
        started_at = facts.started_at
        if delivery.note:
            note = read_note(delivery)
            first_start = note.started_at or started_at
            workers = _with_worker(note, facts)
            errors = note.errors
            saved = facts.saved if facts.saved is not None else note.saved
        else:
            first_start = started_at
            workers = (facts.worker_id,)
            errors = ()
            saved = facts.saved
        record = ResultRecord(
            envelope=envelope,
            status=TaskStatus.SUCCESSFUL,
            attempts=attempts,
            crashes=delivery.crashes,
            max_attempts=facts.policy.retry.max_attempts,
            started_at=first_start,
            last_attempted_at=started_at,
            finished_at=facts.now,
            worker_ids=workers,
            errors=errors,
            content_type=facts.policy.content_type,
            value=saved if outcome.value is None else outcome.value,
            saved=saved,
        )
    return Settlement(
        delivery=delivery,
        action=Action.ACK,
        attempts=attempts,
        crashes=delivery.crashes,
        record=record,
        follow_ups=Publication(envelopes=facts.follow_ups, latches=facts.follow_latches)
        if facts.follow_ups or facts.follow_latches
        else None,
        arrivals=arrivals_of(envelope, ArrivalKind.OK) if envelope.ends_at else (),
    )


def _raised(outcome: Raised, facts: Facts) -> Settlement:
    error = outcome.error
    attempts = facts.delivery.attempts + 1
    retry = facts.policy.retry
    if retry.allows(attempts) and retry.covers((error.exception_class_path, *error.bases)):
        return _again(facts, error, attempts, retry.delay_before(attempts, facts.chance))
    return _dead(facts, error, attempts=attempts)


def _retry_requested(outcome: RetryRequested, facts: Facts) -> Settlement:
    attempts = facts.delivery.attempts + (1 if outcome.count else 0)
    retry = facts.policy.retry
    if outcome.count and not retry.allows(attempts):
        text = (
            f"{outcome.error.message}, but all attempts are used up (max_attempts={retry.max_attempts}): "
            "raise max_attempts in the task's Retry, or use RetryLater(…, count=False)"
        )
        return _dead(facts, msgspec.structs.replace(outcome.error, message=text), attempts=attempts)
    return _again(facts, None, attempts, outcome.after)


def _rejected(outcome: RejectedByTask, facts: Facts) -> Settlement:
    return _dead(facts, outcome.error, attempts=facts.delivery.attempts + 1)


def _unreadable(outcome: Unreadable, facts: Facts) -> Settlement:
    return _dead(facts, outcome.error, attempts=facts.delivery.attempts)


def _cancelled(outcome: Cancelled, facts: Facts) -> Settlement:
    error = _error("TaskCancelled", "the job was cancelled", facts)
    return _over(facts, TaskStatus.CANCELLED, error, ArrivalKind.SKIPPED)


def _skipped(outcome: Skipped, facts: Facts) -> Settlement:
    error = _error("Skipped", "it was not run, because something in its workflow failed before it could start", facts)
    return _over(facts, TaskStatus.CANCELLED, error, ArrivalKind.SKIPPED)


def _passed_on(outcome: PassedOn, facts: Facts) -> Settlement:
    envelope = facts.delivery.envelope
    if outcome.skipped_by is None:
        arrivals = arrivals_of(envelope, ArrivalKind.OK)
    else:
        arrivals = tuple(
            msgspec.structs.replace(arrival, job=outcome.skipped_by)
            for arrival in arrivals_of(envelope, ArrivalKind.SKIPPED)
        )
    return Settlement(
        delivery=facts.delivery,
        action=Action.ACK,
        attempts=facts.delivery.attempts,
        crashes=facts.delivery.crashes,
        follow_ups=Publication(envelopes=outcome.jobs) if outcome.jobs else None,
        arrivals=arrivals,
    )


def _unfinished(outcome: Unfinished, facts: Facts) -> Settlement:
    delivery = facts.delivery
    error = None
    if not read_note(delivery).errors and (outcome.given_up or outcome.look_again is None):
        text = "the workflow was not sent to its end: the process that sent it has not been heard of for too long"
        error = _error("WorkflowUnfinished", text, facts)
    if outcome.look_again is not None:
        return Settlement(
            delivery=delivery,
            action=Action.RETRY,
            delay=outcome.look_again,
            attempts=delivery.attempts,
            crashes=delivery.crashes,
            note=delivery.note if error is None else _note(facts, error),
            record=None
            if error is None
            else _record(facts, TaskStatus.READY, delivery.attempts, delivery.crashes, error, next_at=facts.now),
        )
    return _over(facts, TaskStatus.FAILED, error, None)


def _expired(outcome: Expired, facts: Facts) -> Settlement:
    delivery = facts.delivery
    if delivery.expires_at is not None:  # readers may have seen that end before
        facts = msgspec.structs.replace(facts, now=ended_by_expiry(delivery.envelope, delivery.expires_at))
    error = expiry_error(delivery.attempts, facts.now)
    return _over(facts, TaskStatus.FAILED, error, ArrivalKind.FAILED, _after_failure(facts, error))


def _released(outcome: Released, facts: Facts) -> Settlement:
    delivery = facts.delivery
    started = facts.started_at is not None
    return Settlement(
        delivery=delivery,
        action=Action.RELEASE,
        delay=outcome.delay,
        attempts=delivery.attempts,
        crashes=delivery.crashes,
        suspect=delivery.suspect,
        note=_note(facts, None) if started else delivery.note,
        record=_record(facts, TaskStatus.READY, delivery.attempts, delivery.crashes, None) if facts.announced else None,
    )


def _crashed(outcome: Crashed, facts: Facts) -> Settlement:
    delivery = facts.delivery
    limit = facts.policy.max_crashes
    crashes = delivery.crashes + (0 if outcome.counted else 1)
    times = "once" if crashes == 1 else f"{crashes} times"
    error = _error(
        "WorkerCrashed",
        f"the process that ran the job died {times}, more than max_crashes={limit} allows (last: {outcome.how})"
        if crashes > limit
        else f"the process that ran the job died ({outcome.how})",
        facts,
    )
    if crashes > limit:
        return _dead(facts, error, attempts=delivery.attempts, crashes=crashes)
    return Settlement(
        delivery=delivery,
        action=Action.RETRY,
        attempts=delivery.attempts,
        crashes=crashes,
        suspect=True,
        note=_note(facts, error),
        record=_record(facts, TaskStatus.READY, delivery.attempts, crashes, error),
    )


def _unknown(outcome: Unknown, facts: Facts) -> Settlement:
    delivery = facts.delivery
    if outcome.elsewhere:
        return _released(Released(ELSEWHERE_DELAY * (1 + facts.chance)), facts)
    note = read_note(delivery)
    if note.unknown >= UNKNOWN_TASK_TRIES:
        known = ", ".join(outcome.known) or "none"
        text = (
            f"no task {delivery.envelope.task!r} is registered in any live worker of the queue "
            f"{delivery.envelope.queue!r} (asked {note.unknown + 1} times); this worker knows: {known}. "
            "Import the module that defines it in the worker (imports=[…]), then redrive the dead letter"
        )
        return _dead(facts, _error("UnknownTask", text, facts), attempts=delivery.attempts)
    return Settlement(
        delivery=delivery,
        action=Action.RETRY,
        delay=UNKNOWN_TASK_DELAY * 2.0**note.unknown,
        attempts=delivery.attempts,
        crashes=delivery.crashes,
        suspect=delivery.suspect,
        note=_note_encoder.encode(msgspec.structs.replace(note, unknown=note.unknown + 1)),
    )


_DECISIONS: dict[type, Callable[[Any, Facts], Settlement]] = {
    Raised: _raised,
    RetryRequested: _retry_requested,
    RejectedByTask: _rejected,
    Unreadable: _unreadable,
    Cancelled: _cancelled,
    Expired: _expired,
    Released: _released,
    Crashed: _crashed,
    Unknown: _unknown,
    Skipped: _skipped,
    PassedOn: _passed_on,
    Unfinished: _unfinished,
}


def as_dead_letter(settlement: Settlement, reason: str) -> Settlement:
    """In place of a settlement that the broker cannot store as it is: the job fails, and nothing of it is lost.

    The refused value, note and follow-ups are what may be wrong, so they are left out.
    """
    delivery = settlement.delivery
    refused = settlement.record
    at = (refused.finished_at or 0.0) if refused is not None else 0.0
    error = own_error("ResultLost", f"{CANNOT_STORE}: {reason}", attempt=settlement.attempts, at=at)
    record = None
    if refused is not None and settlement.action is not Action.DEAD_LETTER:
        record = msgspec.structs.replace(
            refused, status=TaskStatus.FAILED, value=None, saved=None, errors=(error,), next_at=None
        )
    return Settlement(
        delivery=delivery,
        action=Action.DEAD_LETTER,
        attempts=settlement.attempts,
        crashes=settlement.crashes,
        record=record,
        arrivals=arrivals_of(delivery.envelope, ArrivalKind.FAILED),
        reason=error.message,
        errors=(error,),
    )


def _again(facts: Facts, error: ErrorRecord | None, attempts: int, delay: float) -> Settlement:
    crashes = facts.delivery.crashes
    return Settlement(
        delivery=facts.delivery,
        action=Action.RETRY,
        delay=delay,
        attempts=attempts,
        crashes=crashes,
        note=_note(facts, error),
        record=_record(facts, TaskStatus.READY, attempts, crashes, error, next_at=facts.now + delay),
    )


def _dead(facts: Facts, error: ErrorRecord, *, attempts: int, crashes: int | None = None) -> Settlement:
    delivery = facts.delivery
    if crashes is None:
        crashes = delivery.crashes
    return Settlement(
        delivery=delivery,
        action=Action.DEAD_LETTER,
        attempts=attempts,
        crashes=crashes,
        record=_record(facts, TaskStatus.FAILED, attempts, crashes, error),
        follow_ups=_after_failure(facts, error),
        arrivals=arrivals_of(delivery.envelope, ArrivalKind.FAILED),
        reason=f"{error.exception_class_path.rpartition('.')[2]}: {error.message}",
        errors=_errors(read_note(delivery), error),
    )


def _over(
    facts: Facts,
    status: TaskStatus,
    error: ErrorRecord | None,
    told: ArrivalKind | None,
    follow_ups: Publication | None = None,
) -> Settlement:
    """The end of a job that is no dead letter, without a run that counts; `told`: what its latches are."""
    delivery = facts.delivery
    return Settlement(
        delivery=delivery,
        action=Action.ACK,
        attempts=delivery.attempts,
        crashes=delivery.crashes,
        record=_record(facts, status, delivery.attempts, delivery.crashes, error),
        follow_ups=follow_ups,
        arrivals=() if told is None else arrivals_of(delivery.envelope, told),
    )


def _after_failure(facts: Facts, error: ErrorRecord) -> Publication | None:
    following = facts.on_failure(error) if facts.on_failure is not None else ()
    return Publication(envelopes=following) if following else None


def _record(
    facts: Facts,
    status: TaskStatus,
    attempts: int,
    crashes: int,
    error: ErrorRecord | None,
    next_at: float | None = None,
) -> ResultRecord | None:
    delivery = facts.delivery
    if not delivery.envelope.keeps_result:
        return None
    note = read_note(delivery)
    started = facts.started_at is not None
    return ResultRecord(
        envelope=delivery.envelope,
        status=status,
        attempts=attempts,
        crashes=crashes,
        max_attempts=facts.policy.retry.max_attempts,
        started_at=note.started_at or facts.started_at,
        last_attempted_at=facts.started_at,
        finished_at=facts.now if status.is_finished else None,
        next_at=next_at,
        worker_ids=_with_worker(note, facts) if started else note.worker_ids,
        errors=_errors(note, error),
        content_type=facts.policy.content_type,
        saved=facts.saved if facts.saved is not None else note.saved,
    )


def _note(facts: Facts, error: ErrorRecord | None) -> bytes:
    """What the next run shall know of this one and those before."""
    note = read_note(facts.delivery)
    return _note_encoder.encode(
        RunNote(
            errors=_errors(note, error),
            started_at=note.started_at or facts.started_at,
            worker_ids=_with_worker(note, facts),
            saved=facts.saved if facts.saved is not None else note.saved,
            unknown=0,
        )
    )


def _errors(note: RunNote, error: ErrorRecord | None) -> tuple[ErrorRecord, ...]:
    """All errors so far, the last ones only where they are many."""
    return note.errors if error is None else (*note.errors[1 - KEPT_ERRORS :], error)


def _with_worker(note: RunNote, facts: Facts) -> tuple[str, ...]:
    earlier = note.worker_ids
    if facts.worker_id in earlier:
        return earlier
    return (*earlier[1 - KEPT_WORKERS :], facts.worker_id)


def _error(name: str, text: str, facts: Facts) -> ErrorRecord:
    """An error of our own making: there is no exception and no traceback behind it."""
    attempt = facts.delivery.attempts + (1 if facts.started_at is not None else 0)
    return own_error(name, text, attempt=attempt, at=facts.now)
