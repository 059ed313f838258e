"""The whole policy by table: each way a run can end, and what becomes of the job."""

import msgspec
import pytest

from heeler.errors import RetryLater
from heeler.model import (
    Action,
    ArrivalKind,
    Delivery,
    Envelope,
    ErrorRecord,
    Member,
    Receipt,
    ResultRecord,
    Retry,
    RunNote,
    TaskStatus,
    expired_record,
)
from heeler.worker.decide import KEPT_ERRORS, UNKNOWN_TASK_TRIES, Facts, Policy, as_dead_letter, decide, read_note
from heeler.worker.outcome import (
    Cancelled,
    Crashed,
    Expired,
    Raised,
    RejectedByTask,
    Released,
    RetryRequested,
    Returned,
    Unknown,
    Unreadable,
)

THREE_TIMES = Policy(retry=Retry(max_attempts=3, delay=2.0, jitter=False), content_type="application/msgpack")


def an_envelope(**changes) -> Envelope:
    return Envelope(**({"id": "1", "task": "t", "queue": "q", "body": b"", "content_type": "x"} | changes))


def a_delivery(envelope: Envelope | None = None, **changes) -> Delivery:
    return Delivery(envelope=envelope or an_envelope(), receipt=Receipt("1", 1), leased_at=0.0, **changes)


def an_error(path="builtins.ValueError", message="no", bases=("builtins.Exception",), attempt=1) -> ErrorRecord:
    return ErrorRecord(path, message, "the traceback", attempt, 50.0, bases=bases)


def facts(delivery: Delivery | None = None, policy: Policy = THREE_TIMES, **changes) -> Facts:
    known = {"worker_id": "w1", "now": 100.0, "started_at": 99.0, "chance": 0.5}
    return Facts(delivery=delivery or a_delivery(), policy=policy, **(known | changes))


def a_note(**fields) -> bytes:
    return msgspec.msgpack.encode(RunNote(**fields))


def latch_kinds(settlement) -> list[ArrivalKind]:
    return [arrival.kind for arrival in settlement.arrivals]


LATCHED = an_envelope(ends_at=(Member("latch", 4),))


@pytest.mark.parametrize(
    ("outcome", "action", "status", "arrival"),
    [
        (Returned(b"v"), Action.ACK, TaskStatus.SUCCESSFUL, ArrivalKind.OK),
        (Raised(an_error()), Action.RETRY, TaskStatus.READY, None),
        (RetryRequested(3.0, True, an_error()), Action.RETRY, TaskStatus.READY, None),
        (RejectedByTask(an_error()), Action.DEAD_LETTER, TaskStatus.FAILED, ArrivalKind.FAILED),
        (Unreadable(an_error()), Action.DEAD_LETTER, TaskStatus.FAILED, ArrivalKind.FAILED),
        (Cancelled(), Action.ACK, TaskStatus.CANCELLED, ArrivalKind.SKIPPED),
        (Expired(), Action.ACK, TaskStatus.FAILED, ArrivalKind.FAILED),
        (Released(), Action.RELEASE, None, None),
        (Crashed("signal 9"), Action.RETRY, TaskStatus.READY, None),
        (Unknown((), elsewhere=False), Action.RETRY, None, None),
        (Unknown((), elsewhere=True), Action.RELEASE, None, None),
    ],
)
def test_every_outcome_has_its_action_its_status_and_its_arrival(outcome, action, status, arrival):
    settlement = decide(outcome, facts(a_delivery(LATCHED)))
    assert settlement.action is action
    assert (settlement.record.status if settlement.record else None) is status
    assert latch_kinds(settlement) == ([arrival] if arrival else [])


def test_a_success_carries_value_attempts_worker_and_times():
    settlement = decide(Returned(b"v"), facts(a_delivery(attempts=1)))
    record = settlement.record
    assert (settlement.attempts, record.attempts) == (2, 2)
    assert (record.value, record.content_type) == (b"v", "application/msgpack")
    assert (record.started_at, record.finished_at, record.worker_ids) == (99.0, 100.0, ("w1",))


def test_a_success_after_failures_tells_of_them_and_of_the_first_start():
    note = a_note(errors=(an_error(),), started_at=10.0, worker_ids=("w0",))
    record = decide(Returned(None), facts(a_delivery(attempts=1, note=note))).record
    assert (record.errors, record.started_at, record.worker_ids) == ((an_error(),), 10.0, ("w0", "w1"))


@pytest.mark.parametrize(
    ("value", "saved_now", "saved_before", "result"),
    [
        (b"v", b"s", None, b"v"),
        (None, b"s", None, b"s"),
        (None, None, b"old", b"old"),
        (None, b"s", b"old", b"s"),
        (None, None, None, None),
    ],
)
def test_a_saved_value_is_the_result_of_a_function_that_returns_none(value, saved_now, saved_before, result):
    note = a_note(saved=saved_before) if saved_before else b""
    assert decide(Returned(value), facts(a_delivery(note=note), saved=saved_now)).record.value == result


def test_follow_ups_ride_only_with_a_success():
    follow_up = an_envelope(id="2")
    assert decide(Returned(None), facts(follow_ups=(follow_up,))).follow_ups.envelopes == (follow_up,)
    for outcome in (Raised(an_error()), RejectedByTask(an_error()), Cancelled(), Released(), Crashed("")):
        assert decide(outcome, facts(follow_ups=(follow_up,))).follow_ups is None


@pytest.mark.parametrize(("attempts", "delay"), [(0, 2.0), (1, 4.0)])
def test_a_failed_attempt_is_retried_after_the_policy_s_delay(attempts, delay):
    settlement = decide(Raised(an_error()), facts(a_delivery(attempts=attempts)))
    assert (settlement.action, settlement.delay, settlement.attempts) == (Action.RETRY, delay, attempts + 1)
    assert settlement.record.next_at == 100.0 + delay


def test_the_last_attempt_goes_to_the_dead_letters_with_the_errors_of_all():
    note = a_note(errors=(an_error(attempt=1), an_error(attempt=2)))
    settlement = decide(Raised(an_error(attempt=3, message="enough")), facts(a_delivery(attempts=2, note=note)))
    assert settlement.action is Action.DEAD_LETTER
    assert [error.attempt for error in settlement.errors] == [1, 2, 3]
    assert settlement.errors == settlement.record.errors
    assert settlement.reason == "ValueError: enough"


@pytest.mark.parametrize(
    ("retry", "action"),
    [
        (Retry(3, on=(ValueError,)), Action.RETRY),
        (Retry(3, on=(Exception,)), Action.RETRY),
        (Retry(3, on=(KeyError,)), Action.DEAD_LETTER),
        (Retry(3, not_on=(ValueError,)), Action.DEAD_LETTER),
        (Retry(3, not_on=(Exception,)), Action.DEAD_LETTER),
        (Retry(None), Action.RETRY),
        (Retry(1), Action.DEAD_LETTER),
    ],
)
def test_the_policy_chooses_by_the_error_and_its_base_classes(retry, action):
    assert decide(Raised(an_error()), facts(policy=Policy(retry=retry))).action is action


def test_the_note_of_a_retry_keeps_the_last_errors_only():
    note = a_note(errors=tuple(an_error(attempt=n) for n in range(1, KEPT_ERRORS + 1)))
    policy = Policy(retry=Retry(None))
    settlement = decide(Raised(an_error(attempt=11)), facts(a_delivery(attempts=10, note=note), policy))
    kept = msgspec.msgpack.decode(settlement.note, type=RunNote).errors
    assert [error.attempt for error in kept] == list(range(2, 12))


@pytest.mark.parametrize(("count", "attempts"), [(True, 1), (False, 0)])
def test_retry_later_counts_only_if_asked_to(count, attempts):
    settlement = decide(RetryRequested(7.5, count, an_error()), facts())
    assert (settlement.delay, settlement.attempts) == (7.5, attempts)
    assert read_note(a_delivery(note=settlement.note)).errors == ()


def test_a_counted_retry_later_uses_up_the_attempts_and_says_so():
    signal = RetryLater(5)
    outcome = RetryRequested(5, True, an_error("heeler.errors.RetryLater", str(signal)))
    settlement = decide(outcome, facts(policy=Policy(retry=Retry(1))))
    assert settlement.action is Action.DEAD_LETTER
    assert "max_attempts=1" in settlement.reason
    assert decide(RetryRequested(5, False, an_error()), facts(policy=Policy(retry=Retry(1)))).action is Action.RETRY


def test_a_release_changes_no_counter_and_no_note():
    delivery = a_delivery(attempts=2, crashes=1, suspect=True, note=a_note(started_at=1.0))
    settlement = decide(Released(0.5), facts(delivery, started_at=None))
    assert (settlement.attempts, settlement.crashes, settlement.suspect) == (2, 1, True)
    assert (settlement.note, settlement.delay, settlement.record) == (delivery.note, 0.5, None)


def test_a_release_of_a_run_that_others_saw_running_makes_it_ready_again_and_keeps_what_it_saved():
    settlement = decide(Released(), facts(announced=True, saved=b"half"))
    assert settlement.record.status is TaskStatus.READY
    assert read_note(a_delivery(note=settlement.note)).saved == b"half"


@pytest.mark.parametrize(
    ("crashes", "max_crashes", "action"),
    [(0, 3, Action.RETRY), (2, 3, Action.RETRY), (3, 3, Action.DEAD_LETTER), (0, 0, Action.DEAD_LETTER)],
)
def test_a_dead_child_is_one_crash_and_too_many_are_the_end(crashes, max_crashes, action):
    settlement = decide(Crashed("signal 9"), facts(a_delivery(crashes=crashes), Policy(max_crashes=max_crashes)))
    assert (settlement.action, settlement.crashes, settlement.attempts) == (action, crashes + 1, 0)
    assert settlement.suspect is (action is Action.RETRY)
    assert settlement.record.errors[-1].exception_class_path == "heeler.errors.WorkerCrashed"


def test_crashes_that_the_broker_counted_are_not_counted_again():
    settlement = decide(Crashed("its worker died", counted=True), facts(a_delivery(crashes=4)))
    assert (settlement.action, settlement.crashes) == (Action.DEAD_LETTER, 4)


def test_an_expired_job_fails_without_a_dead_letter():
    settlement = decide(Expired(), facts(started_at=None))
    assert settlement.record.errors[-1].exception_class_path == "heeler.errors.Expired"
    assert (settlement.reason, settlement.attempts, settlement.record.worker_ids) == ("", 0, ())


def test_an_expired_job_ended_at_its_moment_as_readers_saw_it_before():
    delivery = a_delivery(attempts=1, expires_at=120.0)
    settlement = decide(Expired(), facts(delivery, started_at=None))
    assert settlement.record.finished_at == settlement.record.errors[-1].at == 120.0
    seen = expired_record(ResultRecord(envelope=delivery.envelope, attempts=1), 120.0)
    assert (seen.status, seen.finished_at, seen.errors) == (
        settlement.record.status,
        settlement.record.finished_at,
        settlement.record.errors,
    )


def test_an_unknown_task_is_asked_for_with_growing_delays_and_then_given_up():
    delays, note = [], b""
    for _ in range(UNKNOWN_TASK_TRIES):
        settlement = decide(Unknown(("a", "b"), elsewhere=False), facts(a_delivery(note=note), started_at=None))
        delays.append(settlement.delay)
        note = settlement.note
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0]
    last = decide(Unknown(("a", "b"), elsewhere=False), facts(a_delivery(note=note), started_at=None))
    assert last.action is Action.DEAD_LETTER
    assert "'t'" in last.reason
    assert "this worker knows: a, b" in last.reason


def test_an_unknown_task_that_a_live_worker_has_is_given_back_for_a_moment():
    settlement = decide(Unknown(("a",), elsewhere=True), facts(a_delivery(attempts=1), started_at=None))
    assert (settlement.action, settlement.attempts) == (Action.RELEASE, 1)
    assert 0 < settlement.delay <= 1


def test_a_job_without_a_result_record_still_goes_to_the_dead_letters():
    delivery = a_delivery(an_envelope(keeps_result=False))
    assert decide(Returned(b"v"), facts(delivery)).record is None
    dead = decide(RejectedByTask(an_error()), facts(delivery))
    assert (dead.action, dead.record, dead.errors) == (Action.DEAD_LETTER, None, (an_error(),))


def test_a_note_that_cannot_be_read_loses_the_history_and_not_the_job():
    record = decide(Returned(b"v"), facts(a_delivery(note=b"\xc1"))).record
    assert (record.status, record.errors) == (TaskStatus.SUCCESSFUL, ())


def test_what_the_broker_cannot_store_becomes_a_dead_letter_without_its_value():
    refused = decide(Returned(b"v" * 99), facts(a_delivery(LATCHED), follow_ups=(an_envelope(),)))
    dead = as_dead_letter(refused, "too large")
    assert (dead.action, dead.record.status, dead.record.value, dead.follow_ups) == (
        Action.DEAD_LETTER,
        TaskStatus.FAILED,
        None,
        None,
    )
    assert "too large" in dead.reason
    assert latch_kinds(dead) == [ArrivalKind.FAILED]


def test_a_dead_letter_that_cannot_be_stored_is_tried_again_without_its_record():
    dead = as_dead_letter(decide(RejectedByTask(an_error()), facts()), "too many errors")
    assert (dead.action, dead.record) == (Action.DEAD_LETTER, None)
