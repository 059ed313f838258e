"""What becomes of times of day when clocks are put forward or back: each transition of two years in five zones."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from heeler.triggers import read_expression

ZONES = {
    "Europe/Berlin": (2, 2),
    "America/New_York": (2, 2),
    "Australia/Sydney": (2, 2),
    "America/Santiago": (2, 2),  # at midnight: a day there begins at 01:00
    "Australia/Lord_Howe": (2, 2),  # by half an hour
}
YEARS = (2026, 2027)
DAY = timedelta(days=1)


class Change(NamedTuple):
    """At `at` the clock of `zone` goes from `before` to `after` (both naive)."""

    zone: str
    at: datetime
    before: datetime
    after: datetime


def changes() -> list[Change]:
    found = []
    for name in ZONES:
        zone = ZoneInfo(name)
        at = datetime(YEARS[0], 1, 1, tzinfo=UTC)
        while at.year <= YEARS[-1]:
            following = at + timedelta(minutes=30)
            step = following.astimezone(zone).utcoffset() - at.astimezone(zone).utcoffset()  # type: ignore[operator]
            if step:
                after = following.astimezone(zone).replace(tzinfo=None)
                found.append(Change(name, following, after - step, after))
            at = following
    return found


CHANGES = changes()
FORWARD = [change for change in CHANGES if change.after > change.before]
BACK = [change for change in CHANGES if change.after < change.before]


def name_of(change: Change) -> str:
    return f"{change.zone} {change.at:%Y-%m-%d}"


def due(expression: str, change: Change, around: timedelta = DAY) -> list[datetime]:
    """All times from a day before the change to a day after it."""
    trigger = read_expression(expression, change.zone, 0.0)
    until = (change.at + around).timestamp()
    times = []
    moment = trigger.next_after((change.at - around).timestamp())
    while moment is not None and moment <= until:
        times.append(datetime.fromtimestamp(moment, UTC))
        moment = trigger.next_after(moment)
    return times


def at_local(time: datetime) -> str:
    return f"{time.minute} {time.hour} * * *"


def test_each_zone_changes_twice_a_year() -> None:
    assert len(FORWARD) == len(BACK) == len(ZONES) * len(YEARS)


@pytest.mark.parametrize("change", FORWARD, ids=name_of)
def test_a_time_that_does_not_exist_comes_when_the_clocks_have_been_put_forward(change: Change) -> None:
    missing = change.before + (change.after - change.before) / 2
    times = due(at_local(missing), change, timedelta(hours=20))
    assert times == [change.at]


@pytest.mark.parametrize("change", FORWARD, ids=name_of)
def test_a_job_at_both_ends_of_the_gap_comes_once(change: Change) -> None:
    first, last = change.before, change.after
    minutes = sorted({first.minute, last.minute})
    expression = f"{','.join(map(str, minutes))} {first.hour},{last.hour} * * *"
    assert due(expression, change, timedelta(hours=20)).count(change.at) == 1


@pytest.mark.parametrize("change", BACK, ids=name_of)
def test_a_time_that_exists_twice_comes_the_first_time_only(change: Change) -> None:
    twice = change.after + (change.before - change.after) / 2
    times = due(at_local(twice), change, timedelta(hours=20))
    assert times == [change.at - (change.before - twice)]


@pytest.mark.parametrize("change", CHANGES, ids=name_of)
def test_a_job_every_few_minutes_goes_on_at_its_pace(change: Change) -> None:
    times = due("*/10 * * * *", change)
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(minutes=10)}
    assert len(times) == 2 * 144


@pytest.mark.parametrize("change", CHANGES, ids=name_of)
def test_seconds_go_by_what_the_clock_shows(change: Change) -> None:
    hour = (change.before - timedelta(minutes=1)).hour
    times = due(f"0 */10 {hour} * * *", change, timedelta(hours=3))
    shown = [time.astimezone(ZoneInfo(change.zone)) for time in times]
    assert {time.hour for time in shown} == {hour}
    assert times == sorted(set(times))


@pytest.mark.parametrize("change", CHANGES, ids=name_of)
def test_an_interval_does_not_notice(change: Change) -> None:
    times = due("@every 15m", change, timedelta(hours=2))
    assert len(times) == 16
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(minutes=15)}


@pytest.mark.parametrize(
    ("change", "expression"),
    [
        (change, expression)
        for change in CHANGES
        for expression in ("30 2 * * *", "15 0,1,2,3 * * *", "0 * * * *", "*/7 1-3 * * *", "5 */2 * * *")
        # cronsim goes from hour to hour, so it misses a time where clocks are put back by half an hour
        if not (change.zone == "Australia/Lord_Howe" and change in BACK and expression == "5 */2 * * *")
    ],
)
def test_it_does_not_matter_from_when_one_asks(change: Change, expression: str) -> None:
    """The next time is the same for all who ask between two times, so all schedulers see the same times."""
    times = due(expression, change, timedelta(hours=30))
    trigger = read_expression(expression, change.zone, 0.0)
    moment = times[0]
    while moment < times[-1]:
        following = next(time for time in times if time > moment)
        assert trigger.next_after(moment.timestamp()) == following.timestamp(), moment
        moment += timedelta(minutes=5)


def test_the_rules_in_numbers() -> None:
    """Berlin 2026: 29 March 02:00 → 03:00, 25 October 03:00 → 02:00."""
    [spring, autumn] = [change for change in CHANGES if change.zone == "Europe/Berlin" and change.at.year == 2026]
    assert [time.isoformat() for time in due("30 2 * * *", spring, DAY)] == [
        "2026-03-28T01:30:00+00:00",
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]
    assert [time.isoformat() for time in due("30 2 * * *", autumn, DAY)] == ["2026-10-25T00:30:00+00:00"]
    assert [time.isoformat() for time in due("*/30 2 * * *", spring, timedelta(hours=12))] == []
    assert len(due("*/30 2 * * *", autumn, timedelta(hours=12))) == 4
