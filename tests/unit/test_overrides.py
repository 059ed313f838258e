"""What `using(…)` takes: checked where it is written, in seconds from then on."""

from datetime import UTC, datetime, timedelta

import pytest

from heeler import ConfigurationError, InvalidOption, Retry
from heeler.overrides import NO_OVERRIDES, Overrides, with_options


def test_what_is_not_asked_for_is_left_alone() -> None:
    asked = with_options(with_options(NO_OVERRIDES, {"priority": 5, "timeout": timedelta(minutes=1)}), {"priority": 6})

    assert asked == Overrides(priority=6, timeout=60.0)
    assert with_options(asked, {"priority": None}) == asked


def test_a_moment_replaces_a_delay_and_the_other_way_round() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    late = with_options(NO_OVERRIDES, {"run_after": 5, "expires": 9})
    fixed = with_options(late, {"run_after": moment, "expires": moment})

    assert (late.delay, late.run_at, late.expires_in, late.expires_at) == (5.0, None, 9.0, None)
    assert (fixed.delay, fixed.run_at) == (0.0, moment.timestamp())
    assert (fixed.expires_in, fixed.expires_at) == (None, moment.timestamp())


def test_headers_are_copied() -> None:
    headers = {"a": "b"}
    asked = with_options(NO_OVERRIDES, {"headers": headers})
    headers["a"] = "c"

    assert asked.headers == {"a": "b"}


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"no option delay; it takes queue_name, priority, run_after"):
        with_options(NO_OVERRIDES, {"delay": 5})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue_name", ""),
        ("queue_name", 5),
        ("priority", 101),
        ("priority", True),
        ("run_after", -1),
        ("run_after", datetime(2030, 1, 1)),
        ("expires", "tomorrow"),
        ("timeout", 0),
        ("soft_timeout", -1),
        ("retry", 3),
        ("headers", {"a": 1}),
        ("headers", ["a"]),
        ("id", ""),
        ("id", "x" * 256),
        ("ignore_result", "no"),
        ("result_ttl", -1),
        ("reports", "some"),
    ],
)
def test_a_wrong_value_names_its_option(option: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=option) as caught:
        with_options(NO_OVERRIDES, {option: value})
    for kind in (ConfigurationError, ValueError, TypeError):
        assert isinstance(caught.value, kind)


def test_a_retry_is_taken_as_it_is() -> None:
    assert with_options(NO_OVERRIDES, {"retry": Retry(3)}).retry == Retry(3)
