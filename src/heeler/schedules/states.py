"""How the state of a schedule changes when somebody changes the schedule. What happens when it is due: `scheduler/`."""

from __future__ import annotations

import msgspec

from heeler.clock import new_id
from heeler.model import ScheduleDefinition, ScheduleState
from heeler.schedules.definition import timetable_of

__all__ = ["disabled", "enabled", "fresh", "paused", "redefined", "resumed"]

_replace = msgspec.structs.replace


def fresh(definition: ScheduleDefinition, now: float) -> ScheduleState:
    """The state of a schedule that is added at `now`: its first time is after that."""
    return ScheduleState(revision=new_id(), anchor=now, next_at=timetable_of(definition, now).next_after(now))


def redefined(
    state: ScheduleState, old: ScheduleDefinition, definition: ScheduleDefinition, now: float
) -> ScheduleState:
    """Its next time stays, and may be one that was missed, unless its times are other ones now."""
    changed = _replace(state, revision=new_id())
    if _times_of(old) == _times_of(definition):
        return changed
    return _replace(changed, anchor=now, next_at=timetable_of(definition, now).next_after(now))


def paused(state: ScheduleState) -> ScheduleState:
    return _replace(state, revision=new_id(), paused=True)


def resumed(state: ScheduleState, definition: ScheduleDefinition, now: float) -> ScheduleState:
    """What would have been its times while it was paused is not made up for."""
    return _going_on(_replace(state, paused=False), definition, now)


def disabled(state: ScheduleState) -> ScheduleState:
    return _replace(state, revision=new_id(), disabled=True)


def enabled(state: ScheduleState, definition: ScheduleDefinition, now: float) -> ScheduleState:
    return _going_on(_replace(state, disabled=False), definition, now)


def _going_on(state: ScheduleState, definition: ScheduleDefinition, now: float) -> ScheduleState:
    return _replace(state, revision=new_id(), next_at=timetable_of(definition, state.anchor).next_after(now))


def _times_of(definition: ScheduleDefinition) -> tuple[object, ...]:
    return definition.expression, definition.timezone, definition.start, definition.end
