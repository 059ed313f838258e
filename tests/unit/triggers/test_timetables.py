"""Times go forward, none comes twice, and who asks for the latest gets what walking would have found."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from heeler.triggers import IntervalTrigger, Timetable, read_expression

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
YEAR = 366 * 86400.0


@st.composite
def fields(draw: st.DrawFn, first: int, last: int) -> str:
    kind = draw(st.sampled_from(["*", "*/", "one", "some", "range", "range/"]))
    low = draw(st.integers(first, last))
    high = draw(st.integers(low, last))
    return {
        "*": "*",
        "*/": f"*/{draw(st.integers(1, last))}",
        "one": f"{low}",
        "some": f"{low},{high}",
        "range": f"{low}-{high}",
        "range/": f"{low}-{high}/{draw(st.integers(1, 5))}",
    }[kind]


crons = st.builds(
    lambda *parts: " ".join(part for part in parts if part),
    st.just("") | fields(0, 59),
    fields(0, 59),
    fields(0, 23),
    st.sampled_from(["*", "*/3", "1-15", "L", "28", "10,20"]),
    st.sampled_from(["*", "*/2", "1-6", "3", "10"]),
    st.sampled_from(["*", "*", "1-5", "0", "5L", "mon#1"]),
)
zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Sydney",
        "America/Santiago",
        "Africa/Cairo",
        "America/Havana",
        "Asia/Kathmandu",
    ]
)
moments = st.floats(START, START + 2 * YEAR, allow_nan=False)


@given(crons, zones | st.just("Australia/Lord_Howe"), moments)
@settings(max_examples=300, deadline=None)
def test_times_go_forward_and_none_comes_twice(expression: str, zone: str, moment: float) -> None:
    trigger = read_expression(expression, zone, START)
    for _ in range(20):
        following = trigger.next_after(moment)
        if following is None:
            return
        assert following > moment
        moment = following


@given(crons, zones, moments, st.floats(0.0, 1.0))
@settings(max_examples=300, deadline=None)
def test_who_asks_later_but_before_the_next_time_gets_the_same(
    expression: str, zone: str, moment: float, share: float
) -> None:
    trigger = read_expression(expression, zone, START)
    following = trigger.next_after(moment)
    if following is not None:
        later = min(moment + (following - moment) * share, following)
        if later < following:
            assert trigger.next_after(later) == following


@given(st.integers(100_000, 10**12), st.floats(0, 2e9), st.floats(0, 2e9))
def test_an_interval_has_one_time_in_each_of_its_steps(step: int, anchor: float, moment: float) -> None:
    trigger = IntervalTrigger(step, anchor)
    following = trigger.next_after(moment)
    assert following is not None
    assert following > moment
    assert following <= max(anchor, moment) + step / 1e6 + 1e-6
    after = trigger.next_after(following)
    assert after is not None
    assert round((after - following) * 1e6) in range(step - 1, step + 2)


@given(
    st.sampled_from(["* * * * * *", "@every 7s", "*/5 * * * *", "30 2 * * *", "0 0 1 1 *"]),
    moments,
    st.floats(0.0, 40 * 86400.0),
    st.integers(1, 30),
)
@settings(max_examples=60, deadline=None)
def test_the_latest_times_are_the_last_of_all(expression: str, moment: float, span: float, most: int) -> None:
    timetable = Timetable(read_expression(expression, "Europe/Berlin", START))
    first = timetable.next_after(moment)
    assert first is not None
    until = first + span
    walked = [first]
    for _ in range(4000):
        following = timetable.next_after(walked[-1])
        if following is None or following > until:
            assert timetable.latest(first, until, most) == walked[-most:]
            return
        walked.append(following)
    latest = timetable.latest(first, until, most)
    assert len(latest) == most
    assert latest == sorted(set(latest))
    following = timetable.next_after(latest[-1])
    assert following is not None
    assert following > until
    assert timetable.following(latest[0], most)[:-1] == latest[1:]


def test_start_and_end_belong_to_it() -> None:
    hours = Timetable(read_expression("0 * * * *", "UTC", 0.0), START, START + 7200)
    assert hours.following(0.0, 10) == [START, START + 3600, START + 7200]
    assert hours.following(START, 1) == [START + 3600]
    assert hours.next_after(START + 7200) is None


def test_an_interval_with_a_start_begins_there() -> None:
    times = Timetable(read_expression("@every 10s", "UTC", START), START, START + 25)
    assert times.following(START - 100, 10) == [START, START + 10, START + 20]
    assert times.following(START + 3, 1) == [START + 10]
