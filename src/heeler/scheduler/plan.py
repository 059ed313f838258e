"""What is to happen with a schedule whose time has come: a pure function of what is known of it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from heeler.model import ScheduleDefinition, ScheduleState
from heeler.triggers import Timetable

__all__ = ["LATE_AT_MOST", "Plan", "job_id", "plan", "undecided"]

LATE_AT_MOST = 10.0  # seconds after which a time has been missed, where missed times are not made up for
JOBS_AT_ONCE = 1000  # in one step, except where one start has more of them

_replace = msgspec.structs.replace


class Plan(NamedTuple):
    """`starts` are times whose jobs are published now, `queued` the time of one that waits for `behind` to end.

    `cancels` are jobs that are to be told to end first; `state` is what the schedule's state becomes with all that.
    """

    state: ScheduleState
    starts: tuple[float, ...] = ()
    queued: float | None = None
    behind: str = ""
    cancels: tuple[str, ...] = ()


def job_id(name: str, at: float) -> str:
    """The id of the job of a schedule for one of its times."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="auto").removesuffix("+00:00")
    return f"{name}@{moment}Z"


def undecided(definition: ScheduleDefinition, state: ScheduleState) -> tuple[str, ...]:
    """The jobs of which `plan` needs to know whether they have ended."""
    if definition.overlap == "allow":
        return ()
    return (*state.active, state.queued) if state.queued else state.active


def plan(
    name: str,
    definition: ScheduleDefinition,
    state: ScheduleState,
    timetable: Timetable,
    now: float,
    going_on: Collection[str],
) -> Plan | None:
    """None if it is not its time. `going_on` are those of `undecided` that have not ended."""
    if state.paused or state.disabled or state.next_at is None or state.next_at > now:
        return None
    most = definition.catch_up_limit if definition.catch_up == "all" else 1
    times = timetable.latest(state.next_at, now, most)
    last = times[-1]
    moved = _replace(state, next_at=timetable.next_after(now), outcome_at=last)
    if definition.catch_up == "none" and now - last > LATE_AT_MOST:
        return Plan(_replace(moved, outcome="missed"))
    if definition.overlap == "allow":
        room = max(1, JOBS_AT_ONCE // definition.jobs)
        if len(times) > room:  # the others are due at once, in a step of their own
            moved = _replace(moved, next_at=times[room], outcome_at=times[room - 1])
        return _start(name, moved, times[:room], active=(), linked=False)
    if definition.overlap == "queue_one":
        return _queue_one(name, moved, times, going_on)
    still = tuple(id for id in (*state.active, state.queued) if id in going_on)
    if definition.overlap == "cancel_running":
        return _start(name, moved, times[-1:], active=(job_id(name, last),))._replace(cancels=still)
    if still:
        return Plan(_replace(moved, outcome="skipped", active=still, queued=""))
    return _start(name, moved, times[:1], active=(job_id(name, times[0]),))


def _queue_one(name: str, state: ScheduleState, times: list[float], going_on: Collection[str]) -> Plan:
    """At most one goes on and one waits for it; all others are passed over."""
    active, queued = state.active, state.queued
    linked = state.linked
    if queued and not any(id in going_on for id in active):
        active, queued = (queued,), ""  # its turn has come
    if not any(id in going_on for id in active):
        first = job_id(name, times[0])
        started = _start(name, state, times[:1], active=(first,), linked=True)
        return _queue(name, started, times[1], first) if len(times) > 1 else started
    if queued or not linked:  # what is not linked was started before this was asked for: nothing would let another go
        return Plan(_replace(state, outcome="skipped", active=active, queued=queued, linked=linked))
    return _queue(name, Plan(_replace(state, active=active, queued="")), times[0], active[-1])


def _queue(name: str, so_far: Plan, at: float, behind: str) -> Plan:
    queued = job_id(name, at)
    state = _replace(_started(so_far.state, name, [at]), queued=queued)
    return so_far._replace(state=state, queued=at, behind=behind)


def _start(
    name: str, state: ScheduleState, times: list[float], *, active: tuple[str, ...], linked: bool = False
) -> Plan:
    following = _replace(_started(state, name, times), active=active, queued="", linked=linked)
    return Plan(following, starts=tuple(times))


def _started(state: ScheduleState, name: str, times: list[float]) -> ScheduleState:
    return _replace(
        state,
        started=state.started + len(times),
        last_at=times[-1],
        last_id=job_id(name, times[-1]),
        outcome="started",
    )
