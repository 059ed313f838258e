import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.model import Retry, class_path, seconds_of


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("exponential", [2, 4, 8, 16, 32, 64, 100, 100]),
        ("fibonacci", [2, 2, 4, 6, 10, 16, 26, 42]),
        ("linear", [2, 4, 6, 8, 10, 12, 14, 16]),
        ("constant", [2, 2, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_delays_grow_as_the_backoff_says_up_to_the_longest(backoff: Any, delays: list[float]) -> None:
    retry = Retry(max_attempts=None, delay=2, backoff=backoff, max_delay=100, jitter=False)
    assert [retry.delay_before(attempt, 0.7) for attempt in range(1, 9)] == delays


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 4.0), (0.5, 6.0), (0.999, 7.996)])
def test_jitter_draws_from_the_upper_half(chance: float, delay: float) -> None:
    assert Retry(delay=2, jitter=True).delay_before(3, chance) == pytest.approx(delay)


@pytest.mark.parametrize("backoff", ["exponential", "fibonacci", "linear", "constant"])
@given(
    attempt=st.integers(1, 10**9),
    delay=st.floats(0, 1e6),
    max_delay=st.floats(0, 1e6),
    jitter=st.booleans(),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_finite_and_never_longer_than_the_longest(
    backoff: Any, attempt: int, delay: float, max_delay: float, jitter: bool, chance: float
) -> None:
    retry = Retry(None, delay, backoff, max_delay, jitter)
    waited = retry.delay_before(attempt, chance)
    assert 0 <= waited <= max_delay
    assert math.isfinite(waited)
    assert retry.delay_before(attempt + 1, chance) >= waited or math.isclose(waited, max_delay)


@pytest.mark.parametrize(
    ("max_attempts", "attempts", "allowed"),
    [(1, 0, True), (1, 1, False), (3, 2, True), (3, 3, False), (None, 10**6, True)],
)
def test_max_attempts_counts_the_first_run(max_attempts: int | None, attempts: int, allowed: bool) -> None:
    assert Retry(max_attempts).allows(attempts) is allowed


class Flaky(ConnectionError):
    pass


FLAKY = [class_path(kind) for kind in Flaky.__mro__]


@pytest.mark.parametrize(
    ("on", "not_on", "covered"),
    [
        ((), (), True),
        (Flaky, (), True),
        ((OSError,), (), True),
        ("OSError", (), True),
        ("builtins.OSError", (), True),
        ([f"{__name__}.Flaky"], (), True),
        (ValueError, (), False),
        ((), OSError, False),
        (Flaky, OSError, False),
        ((ValueError, OSError), (KeyError,), True),
    ],
)
def test_on_and_not_on_match_subclasses_and_not_on_wins(on: Any, not_on: Any, covered: bool) -> None:
    assert Retry(on=on, not_on=not_on).covers(FLAKY) is covered


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"delay": -1},
        {"delay": math.inf},
        {"delay": math.nan},
        {"delay": "1"},
        {"delay": True},
        {"max_delay": -0.1},
        {"backoff": "quadratic"},
        {"on": [3]},
        {"not_on": int},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Retry(**arguments)


def test_durations_are_seconds_or_timedelta() -> None:
    assert Retry(delay=timedelta(minutes=1), max_delay=timedelta(hours=1)) == Retry(delay=60, max_delay=3600.0)
    assert seconds_of(timedelta(milliseconds=1500), "x") == 1.5
    with pytest.raises(TypeError, match="timeout must be seconds or a timedelta, got '5'"):
        seconds_of("5", "timeout")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be zero or more seconds, got -5"):
        seconds_of(-5, "timeout")


def test_a_policy_is_a_value() -> None:
    assert Retry(3) == Retry(3)
    assert hash(Retry(3)) == hash(Retry(3))
    with pytest.raises(AttributeError):
        Retry(3).max_attempts = 4  # type: ignore[misc]
