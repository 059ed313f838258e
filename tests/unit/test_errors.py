import pickle
from datetime import timedelta

import pytest

from heeler import errors
from heeler.errors import (
    BrokerUnavailable,
    EnqueueManyError,
    HeelerError,
    InvalidArguments,
    Reject,
    ResultExpired,
    ResultNotFound,
    ResultTimeout,
    RetryLater,
    TaskFailed,
)

SIGNALS = {"RetryLater", "Reject"}


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - SIGNALS))
def test_every_error_is_a_heeler_error(name: str) -> None:
    assert issubclass(getattr(errors, name), HeelerError)


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_the_signals_are_not_so_that_a_task_that_catches_ours_lets_them_pass(name: str) -> None:
    assert getattr(errors, name).__bases__ == (Exception,)


def test_all_names_every_exception_of_the_module() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)


def test_a_result_timeout_is_an_ordinary_timeout_too() -> None:
    assert issubclass(ResultTimeout, TimeoutError)
    assert issubclass(ResultExpired, ResultNotFound)


def test_invalid_arguments_carries_where_and_why() -> None:
    error = InvalidArguments("said", task="t", parameter="p", expected="int", given="str")
    assert (str(error), error.task, error.parameter, error.expected, error.given) == ("said", "t", "p", "int", "str")
    assert InvalidArguments("said").parameter is None


def test_enqueue_many_error_tells_the_first_failure_and_keeps_all() -> None:
    error = EnqueueManyError(["r0", None, "r2", None], {3: ValueError("later"), 1: TypeError("early")})
    assert str(error) == "2 of 4 items were not enqueued; item 1: TypeError: early"
    assert error.results == ["r0", None, "r2", None]
    assert sorted(error.errors) == [1, 3]


def test_broker_unavailable_says_whether_the_outcome_is_unknown() -> None:
    assert str(BrokerUnavailable("no answer")) == "no answer"
    unsure = BrokerUnavailable("no answer", outcome_unknown=True)
    assert unsure.outcome_unknown
    assert "whether it was carried out is unknown" in str(unsure)


@pytest.mark.parametrize(("attempts", "runs"), [(0, "0 attempts"), (1, "1 attempt"), (2, "2 attempts")])
def test_task_failed_tells_the_class_the_message_and_the_attempts(attempts: int, runs: str) -> None:
    error = TaskFailed("pkg.Boom", "it broke", "Traceback…", attempts, task="resize", id="0190")
    assert str(error) == f"resize (0190) failed after {runs}: pkg.Boom: it broke"
    assert (error.exception_class_path, error.message, error.traceback, error.attempts) == (
        "pkg.Boom",
        "it broke",
        "Traceback…",
        attempts,
    )


@pytest.mark.parametrize(("after", "seconds"), [(5, 5.0), (0.5, 0.5), (timedelta(minutes=1), 60.0), (0, 0.0)])
def test_retry_later_takes_seconds_or_a_timedelta(after: float | timedelta, seconds: float) -> None:
    assert RetryLater(after).after == seconds
    assert RetryLater(after).count is True


@pytest.mark.parametrize("after", [-1, timedelta(seconds=-1)])
def test_retry_later_refuses_the_past(after: float | timedelta) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        RetryLater(after)


def test_the_signals_cross_to_another_process() -> None:
    later = pickle.loads(pickle.dumps(RetryLater(2.5, count=False)))
    assert (later.after, later.count) == (2.5, False)
    assert pickle.loads(pickle.dumps(Reject("bad"))).reason == "bad"
