"""What becomes of a schedule whose time has come, by table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.model import ScheduleDefinition, ScheduleState
from heeler.scheduler.plan import LATE_AT_MOST, Plan, job_id, plan, undecided
from heeler.schedules import timetable_of

NOON = datetime(2026, 7, 15, 12, tzinfo=UTC).timestamp()


def definition(**fields: Any) -> ScheduleDefinition:
    return ScheduleDefinition(**{"expression": "@every 10s", "starts": b"", **fields})


def state(**fields: Any) -> ScheduleState:
    return ScheduleState(**{"revision": "1", "anchor": NOON, "next_at": NOON + 10, **fields})


def planned(
    asked: ScheduleDefinition, now: float, before: ScheduleState | None = None, going_on: set[str] | None = None
) -> Plan:
    before = before or state()
    made = plan("s", asked, before, timetable_of(asked, NOON), now, going_on or set())
    assert made is not None
    assert made.state.next_at is None or made.state.next_at > now
    return made


def at(*seconds: float) -> tuple[float, ...]:
    return tuple(NOON + second for second in seconds)


def name(second: float) -> str:
    return job_id("s", NOON + second)


def test_the_id_of_a_job_is_made_of_name_and_time() -> None:
    assert job_id("report-42", NOON) == "report-42@2026-07-15T12:00:00Z"
    assert job_id("report-42", NOON + 0.25) == "report-42@2026-07-15T12:00:00.250000Z"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (state(), NOON + 9.99),
        (state(paused=True), NOON + 10),
        (state(disabled=True), NOON + 10),
        (state(next_at=None), NOON + 10),
    ],
)
def test_nothing_happens_before_its_time_or_while_it_rests(before: ScheduleState, now: float) -> None:
    assert plan("s", definition(), before, timetable_of(definition(), NOON), now, ()) is None


@pytest.mark.parametrize(
    ("catch_up", "now", "starts", "outcome"),
    [
        ("one", 10.0, (10,), "started"),
        ("one", 12.0, (10,), "started"),
        ("one", 35.0, (30,), "started"),
        ("one", 86400.0, (86400,), "started"),
        ("all", 10.0, (10,), "started"),
        ("all", 35.0, (10, 20, 30), "started"),
        ("none", 10.0, (10,), "started"),
        ("none", 12.0, (10,), "started"),
        ("none", 35.0, (30,), "started"),
    ],
)
def test_what_was_missed_is_made_up_for_as_asked(
    catch_up: Any, now: float, starts: tuple[float, ...], outcome: str
) -> None:
    made = planned(definition(catch_up=catch_up), NOON + now)
    assert made.starts == at(*starts)
    assert made.state.outcome == outcome
    assert made.state.last_id == name(starts[-1])
    assert made.state.started == len(starts)


def test_without_making_up_a_time_that_is_long_over_starts_nothing() -> None:
    hourly = definition(expression="@every 1h", catch_up="none")
    before = state(next_at=NOON + 3600)
    in_time = planned(hourly, NOON + 3600 + LATE_AT_MOST, before)
    too_late = planned(hourly, NOON + 3600 + LATE_AT_MOST + 0.1, before)
    assert in_time.starts == at(3600)
    assert (too_late.starts, too_late.state.outcome, too_late.state.next_at) == ((), "missed", NOON + 7200)
    assert too_late.state.started == 0


def test_making_up_for_all_is_bounded() -> None:
    made = planned(definition(catch_up="all", catch_up_limit=3), NOON + 86400)
    assert made.starts == at(86380, 86390, 86400)


def test_the_last_time_is_the_end() -> None:
    made = planned(definition(end=NOON + 15), NOON + 12)
    assert (made.starts, made.state.next_at) == (at(10), None)


class TestOverlap:
    def test_it_matters_only_where_it_is_not_allowed(self) -> None:
        before = state(active=("a",), queued="b")
        assert undecided(definition(), before) == ()
        assert undecided(definition(overlap="skip"), before) == ("a", "b")

    @pytest.mark.parametrize(
        ("going_on", "starts", "outcome", "active"),
        [((), (30,), "started", (name(30),)), (("a",), (), "skipped", ("a",))],
    )
    def test_skip(self, going_on: Any, starts: Any, outcome: str, active: Any) -> None:
        made = planned(definition(overlap="skip"), NOON + 30, state(active=("a",)), set(going_on))
        assert (made.starts, made.state.outcome, made.state.active) == (at(*starts), outcome, active)
        assert not made.state.linked

    def test_skip_among_several_that_were_missed_lets_the_first_go(self) -> None:
        made = planned(definition(overlap="skip", catch_up="all"), NOON + 30)
        assert made.starts == at(10)

    def test_cancel_running(self) -> None:
        asked = definition(overlap="cancel_running", catch_up="all")
        made = planned(asked, NOON + 30, state(active=("a", "b")), {"b"})
        assert (made.starts, made.cancels, made.state.active) == (at(30), ("b",), (name(30),))

    def test_queue_one_starts_where_nothing_goes_on(self) -> None:
        made = planned(definition(overlap="queue_one"), NOON + 10, state(active=("a",), linked=True))
        assert (made.starts, made.queued, made.state.active, made.state.linked) == (at(10), None, (name(10),), True)

    def test_queue_one_lets_one_wait_for_what_goes_on(self) -> None:
        made = planned(definition(overlap="queue_one"), NOON + 10, state(active=("a",), linked=True), {"a"})
        assert (made.starts, made.queued, made.behind) == ((), NOON + 10, "a")
        assert (made.state.active, made.state.queued, made.state.last_id) == (("a",), name(10), name(10))

    def test_queue_one_passes_over_what_comes_while_one_waits(self) -> None:
        before = state(active=("a",), queued="b", linked=True)
        made = planned(definition(overlap="queue_one"), NOON + 10, before, {"a"})
        assert (made.starts, made.queued, made.state.outcome) == ((), None, "skipped")
        assert (made.state.active, made.state.queued, made.state.linked) == (("a",), "b", True)

    def test_queue_one_knows_that_the_one_that_waited_has_its_turn(self) -> None:
        before = state(active=("a",), queued="b", linked=True)
        made = planned(definition(overlap="queue_one"), NOON + 10, before, {"b"})
        assert (made.queued, made.behind, made.state.active) == (NOON + 10, "b", ("b",))
        assert made.state.queued == name(10)

    def test_queue_one_goes_on_when_all_have_ended(self) -> None:
        before = state(active=("a",), queued="b", linked=True)
        made = planned(definition(overlap="queue_one"), NOON + 10, before)
        assert (made.starts, made.queued, made.state.queued) == (at(10), None, "")

    def test_queue_one_among_several_that_were_missed(self) -> None:
        made = planned(definition(overlap="queue_one", catch_up="all"), NOON + 40)
        assert (made.starts, made.queued, made.behind) == (at(10), NOON + 20, name(10))

    def test_queue_one_lets_none_wait_for_a_job_that_would_let_none_go(self) -> None:
        """One that was started before `queue_one` was asked for does not tell anybody that it has ended."""
        made = planned(definition(overlap="queue_one"), NOON + 10, state(active=("a",)), {"a"})
        assert (made.starts, made.queued, made.state.outcome) == ((), None, "skipped")


overlaps = st.sampled_from(["allow", "skip", "queue_one", "cancel_running"])
catch_ups = st.sampled_from(["none", "one", "all"])


@given(overlaps, catch_ups, st.lists(st.tuples(st.floats(0.1, 100.0), st.booleans(), st.booleans()), max_size=20))
def test_no_time_ever_comes_twice_and_at_most_one_goes_on(
    overlap: Any, catch_up: Any, story: list[tuple[float, bool, bool]]
) -> None:
    """Jobs of a story: those that go on are waited for by the rule; a queued one begins when that before it ends."""
    asked = definition(overlap=overlap, catch_up=catch_up, catch_up_limit=5)
    known = state()
    timetable = timetable_of(asked, NOON)
    now = NOON
    seen: list[float] = []
    running: set[str] = set()
    waiting: dict[str, str] = {}  # a job → the one it waits for
    states = [known]
    for seconds, ends_first, ends_second in story:
        now += seconds
        made = plan("s", asked, known, timetable, now, running | waiting.keys())
        if made is not None:
            seen += made.starts
            running -= set(made.cancels)
            running |= {job_id("s", time) for time in made.starts}
            if made.queued is not None:
                assert made.behind in running
                seen.append(made.queued)
                waiting[job_id("s", made.queued)] = made.behind
            known = made.state
            states.append(known)
        if overlap != "allow":
            assert len(running) <= 1
            assert len(waiting) <= 1
        for ends in (ends_first, ends_second):
            if ends and running:
                ended = running.pop()
                running |= {job for job, behind in waiting.items() if behind == ended}
                waiting = {job: behind for job, behind in waiting.items() if behind != ended}
    assert seen == sorted(set(seen))
    assert all((time - NOON) % 10 == pytest.approx(0) for time in seen)
    encoded = [msgspec.msgpack.encode(one) for one in states]
    assert len(set(encoded)) == len(encoded), "a guard could mistake one state for another"
