import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.model import LatchRule, LatchState, judge

ALL_OK, ANY_OK, ALL_ENDED = LatchRule.ALL_OK, LatchRule.ANY_OK, LatchRule.ALL_ENDED
OPEN, RELEASED, BROKEN = LatchState.OPEN, LatchState.RELEASED, LatchState.BROKEN


@pytest.mark.parametrize(
    ("rule", "total", "ok", "not_ok", "state"),
    [
        (ALL_OK, 3, 0, 0, OPEN),
        (ALL_OK, 3, 2, 0, OPEN),
        (ALL_OK, 3, 3, 0, RELEASED),
        (ALL_OK, 3, 0, 1, BROKEN),
        (ALL_OK, 3, 2, 1, BROKEN),
        (ALL_OK, None, 100, 0, OPEN),
        (ALL_OK, None, 100, 1, BROKEN),
        (ALL_OK, 0, 0, 0, RELEASED),
        (ANY_OK, 3, 0, 0, OPEN),
        (ANY_OK, 3, 1, 0, RELEASED),
        (ANY_OK, 3, 0, 2, OPEN),
        (ANY_OK, 3, 0, 3, BROKEN),
        (ANY_OK, 3, 1, 2, RELEASED),
        (ANY_OK, None, 1, 0, RELEASED),
        (ANY_OK, None, 0, 100, OPEN),
        (ANY_OK, 0, 0, 0, BROKEN),
        (ALL_ENDED, 3, 1, 1, OPEN),
        (ALL_ENDED, 3, 3, 0, RELEASED),
        (ALL_ENDED, 3, 1, 2, RELEASED),
        (ALL_ENDED, 3, 0, 3, RELEASED),
        (ALL_ENDED, None, 50, 50, OPEN),
        (ALL_ENDED, 0, 0, 0, RELEASED),
    ],
)
def test_a_latch_is_judged_by_its_rule(
    rule: LatchRule, total: int | None, ok: int, not_ok: int, state: LatchState
) -> None:
    assert judge(rule, total, ok, not_ok) is state


arrivals = st.lists(st.booleans(), min_size=1, max_size=20)


@given(rule=st.sampled_from(LatchRule), ends=arrivals)
def test_when_all_members_have_ended_no_latch_is_open(rule: LatchRule, ends: list[bool]) -> None:
    assert judge(rule, len(ends), sum(ends), len(ends) - sum(ends)) is not OPEN


@given(rule=st.sampled_from(LatchRule), ends=arrivals)
def test_once_released_or_broken_more_arrivals_of_the_same_run_of_events_change_nothing(
    rule: LatchRule, ends: list[bool]
) -> None:
    states = []
    for count in range(len(ends) + 1):
        ok = sum(ends[:count])
        states.append(judge(rule, len(ends), ok, count - ok))
    final = [state for state in states if state is not OPEN]
    assert len(set(final)) == 1
    assert states[: -len(final)] == [OPEN] * (len(states) - len(final))


@given(ok=st.integers(0, 50), not_ok=st.integers(1, 50))
def test_an_ok_in_place_of_the_only_failure_reopens_or_releases(ok: int, not_ok: int) -> None:
    total = ok + not_ok
    assert judge(ALL_OK, total, ok, not_ok) is BROKEN
    assert judge(ALL_OK, total, ok + 1, 0) is (RELEASED if not_ok == 1 else OPEN)
