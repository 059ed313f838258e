"""What is read as the expression of a schedule, and what is said of one that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from heeler.errors import ConfigurationError
from heeler.triggers import checked_expression, checked_zone, interval_text, read_expression

NOON = datetime(2026, 7, 15, 12, 0, 0, tzinfo=UTC).timestamp()  # a Wednesday


def times(expression: str, count: int = 3, zone: str = "UTC", after: float = NOON) -> list[str]:
    trigger = read_expression(expression, zone, after)
    found = []
    for _ in range(count):
        following = trigger.next_after(after)
        assert following is not None
        after = following
        found.append(datetime.fromtimestamp(after, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", ["2026-07-15 12:05:00", "2026-07-15 12:10:00", "2026-07-15 12:15:00"]),
        ("0 7 * * mon-fri", ["2026-07-16 07:00:00", "2026-07-17 07:00:00", "2026-07-20 07:00:00"]),
        ("*/20 * * * * *", ["2026-07-15 12:00:20", "2026-07-15 12:00:40", "2026-07-15 12:01:00"]),
        ("0 0 L * *", ["2026-07-31 00:00:00", "2026-08-31 00:00:00", "2026-09-30 00:00:00"]),
        ("0 0 * * 5L", ["2026-07-31 00:00:00", "2026-08-28 00:00:00", "2026-09-25 00:00:00"]),
        ("0 0 * * MON#2", ["2026-08-10 00:00:00", "2026-09-14 00:00:00", "2026-10-12 00:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ("0 0 13 * 5", ["2026-07-17 00:00:00", "2026-07-24 00:00:00", "2026-07-31 00:00:00"]),  # the 13th or a Friday
        ("@yearly", ["2027-01-01 00:00:00", "2028-01-01 00:00:00", "2029-01-01 00:00:00"]),
        ("@annually", ["2027-01-01 00:00:00", "2028-01-01 00:00:00", "2029-01-01 00:00:00"]),
        ("@monthly", ["2026-08-01 00:00:00", "2026-09-01 00:00:00", "2026-10-01 00:00:00"]),
        ("@weekly", ["2026-07-19 00:00:00", "2026-07-26 00:00:00", "2026-08-02 00:00:00"]),
        ("@daily", ["2026-07-16 00:00:00", "2026-07-17 00:00:00", "2026-07-18 00:00:00"]),
        ("@midnight", ["2026-07-16 00:00:00", "2026-07-17 00:00:00", "2026-07-18 00:00:00"]),
        ("@HOURLY", ["2026-07-15 13:00:00", "2026-07-15 14:00:00", "2026-07-15 15:00:00"]),
        ("@every 1h30m", ["2026-07-15 13:30:00", "2026-07-15 15:00:00", "2026-07-15 16:30:00"]),
        ("@every 90s", ["2026-07-15 12:01:30", "2026-07-15 12:03:00", "2026-07-15 12:04:30"]),
    ],
)
def test_an_expression_is_due_at_these_times(expression: str, expected: list[str]) -> None:
    assert times(expression) == expected


def test_a_time_of_day_is_that_of_its_zone() -> None:
    assert times("0 7 * * *", 1, "America/New_York") == ["2026-07-16 07:00:00"]
    trigger = read_expression("0 7 * * *", "America/New_York", 0.0)
    assert trigger.next_after(NOON) == datetime(2026, 7, 16, 11, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 7 * * mon-fri", "At 07:00 on Monday through Friday"),
        ("*/5 * * * *", "Every fifth minute of every hour"),
        ("* * * * * *", "Every second"),
        ("0 0 31 * *", "At 00:00 on the 31st day of every month"),
        ("0 0 22,23 * *", "At 00:00 on the 22nd and the 23rd day of month"),
        ("0 0 12 * *", "At 00:00 on the 12th day of every month"),
        ("@daily", "At 00:00 every day"),
        ("@hourly", "At the start of every hour"),
        ("@every 1h30m", "Every 1 hour 30 minutes"),
        ("@every 1d", "Every day"),
        ("@every 2w", "Every 2 weeks"),
        ("@every 500ms", "Every 500 milliseconds"),
    ],
)
def test_an_expression_is_explained_in_words(expression: str, words: str) -> None:
    assert read_expression(expression, "UTC", 0.0).explain() == words


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("61 * * * *", "at column 1: '61': a minute is a number from 0 to 59"),
        ("0 25 * * *", "at column 3: '25': an hour is a number from 0 to 23"),
        ("0 7 * * mon,foo", "at column 13: 'foo': a day of week is a number from 0 to 7, or a name from SUN to SAT"),
        ("0 7 1 JANUARY *", "at column 7: 'JANUARY': a month is a number from 1 to 12, or a name from JAN to DEC"),
        ("0 7 0 * *", "at column 5: '0': a day of month is a number from 1 to 31"),
        ("0 7 ? * *", "at column 5: '?'"),
        ("*/0 * * * *", "at column 3: '0': what follows the slash is a number from 1"),
        ("*/x * * * *", "at column 3: 'x'"),
        ("0 22-2 * * *", "at column 3: '22-2': a range goes upwards; .* 22-23,0-2"),
        ("1,,2 * * * *", "at column 3: .*: something is missing before or after a comma"),
        ("1, * * * *", "something is missing before or after a comma"),
        ("0 0 * * 1#6", "at column 11: '6': what follows # is a number from 1 to 5"),
        ("0 0 * * MONL", "at column 9: 'MONL'"),
        ("70 * * * * *", "at column 1: '70': a second is a number from 0 to 59"),
        ("* * *", "has 3 fields, it takes 5 or 6: minute hour day-of-month"),
        ("* * * * * * *", "has 7 fields"),
        ("hourly", "has 1 field, it takes 5 or 6"),
        ("@fortnightly", "@fortnightly is not known; there are @yearly"),
        ("@reboot", "@reboot is not known"),
        ("@every", "at column 8: there is nothing"),
        ("@every 5x", "at column 9: 'x' is no unit; an interval is like 90s"),
        ("@every 1h30", "at column 12: the unit of 30 is missing"),
        ("@every h", "at column 8: 'h' begins with no number"),
        ("@every 0s", "at column 8: 0s is less than 100ms"),
        ("@every 10ms", "less than 100ms"),
        ("@every 9999w", "more than a century"),
        ("0 0 31 2 *", "is never due: the month has no such day"),
        ("0 0 31 4,6,9,11 *", "is never due: the month has no such day"),
        ("0 0 30-31 2 */2", "is never due"),
        ("", "a schedule needs an expression like"),
        ("   ", "a schedule needs an expression like"),
    ],
)
def test_a_wrong_expression_is_an_error_that_shows_where(expression: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")) as caught:
        checked_expression(expression)
    if expression.strip():
        assert expression in str(caught.value)


@pytest.mark.parametrize("expression", ["0  7\t* * mon-fri ", "@every 1h 30m", "@EVERY 90m", "@daily"])
def test_an_expression_is_kept_tidily(expression: str) -> None:
    expected = {"0": "0 7 * * mon-fri", "@every": "@every 1h30m", "@daily": "@daily"}
    assert checked_expression(expression) == expected[expression.split()[0].lower()]


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (timedelta(seconds=10), "10s"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=8), "8d"),
        (timedelta(days=14), "2w"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(microseconds=100_001), "100ms1us"),
        (90, "1m30s"),
        (0.25, "250ms"),
        ("90s", "1m30s"),
    ],
)
def test_an_interval_is_a_timedelta_seconds_or_a_text(interval: object, text: str) -> None:
    assert interval_text(interval) == text  # type: ignore[arg-type]
    assert interval_text(text) == text


@pytest.mark.parametrize("interval", [0, -1, timedelta(0), 1e12, float("nan"), float("inf"), True, None, "soon"])
def test_what_is_no_interval_is_an_error(interval: object) -> None:
    with pytest.raises(ConfigurationError, match=r"every|interval"):
        interval_text(interval)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Berln", 'did you mean "Europe/Berlin"'),
        ("europe/berlin", 'did you mean "Europe/Berlin"'),
        ("Berlin", 'did you mean "Europe/Berlin"'),
        ("New York", 'did you mean "America/New_York"'),
        ("Mars/Olympus", "unknown time zone 'Mars/Olympus'; zones have IANA names"),
        ("../etc/passwd", "unknown time zone"),
        ("", "timezone must be"),
        (timezone(timedelta(hours=2)), "got a fixed offset"),
        (None, "timezone must be"),
    ],
)
def test_an_unknown_zone_is_an_error_that_names_the_near_one(zone: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        checked_zone(zone)


def test_a_zone_is_given_by_name_or_as_an_object() -> None:
    assert checked_zone("Europe/Berlin") == checked_zone(ZoneInfo("Europe/Berlin")) == "Europe/Berlin"
