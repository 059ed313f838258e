"""A schedule as users see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from heeler.contracts import ScheduleEntry
from heeler.errors import ConfigurationError
from heeler.model import CatchUp, Overlap, ScheduleState, TaskStatus
from heeler.schedules.definition import timetable_of
from heeler.schedules.stored import known_of
from heeler.triggers import zone_named

__all__ = ["Schedule", "last_id_of", "schedule_of"]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a schedule when it was read. Moments are in its own time zone."""

    name: str
    expression: str = ""
    timezone: str = "UTC"
    description: str = ""  # the expression in words
    starts: str = ""  # the call, or the workflow in a line
    overlap: Overlap = "allow"
    catch_up: CatchUp = "one"
    catch_up_limit: int = 100
    start: datetime | None = None
    end: datetime | None = None
    paused: bool = False
    disabled: bool = False  # the code that declared it declares it no more
    declared_by: str = ""  # the module whose code declares it; empty: it was added at run time
    next_run: datetime | None = None  # None: paused, disabled, or no time is left
    last_run: datetime | None = None  # the time for which its last job or workflow was started
    last_id: str | None = None  # of that job or workflow
    last_outcome: str = ""  # its status; or `skipped` or `missed`, where the time that came last started none
    runs: int = 0  # how many jobs it has started
    problem: str = ""  # why it cannot be read here; then most else is not known

    @property
    def state(self) -> str:
        """`active`, `paused`, `disabled`, `over` or `unreadable`."""
        if self.problem:
            return "unreadable"
        if self.disabled:
            return "disabled"
        if self.paused:
            return "paused"
        return "over" if self.next_run is None else "active"


def last_id_of(entry: ScheduleEntry) -> str:
    """The id of the job that it has started last; empty if there is none."""
    try:
        return known_of(entry).state.last_id
    except ValueError:
        return ""


def schedule_of(entry: ScheduleEntry, statuses: Mapping[str, TaskStatus]) -> Schedule:
    """`statuses` are those of last jobs or workflows, as far as they are known."""
    try:
        known = known_of(entry)
        words = timetable_of(known.definition, known.state.anchor).explain()
        zone = zone_named(known.definition.timezone)
    except (ValueError, ConfigurationError) as error:
        return _unreadable(entry, str(error))
    definition, state = known.definition, known.state

    def moment(at: float | None) -> datetime | None:
        return None if at is None else datetime.fromtimestamp(at, zone)

    return Schedule(
        name=known.name,
        expression=definition.expression,
        timezone=definition.timezone,
        description=words,
        starts=definition.shown,
        overlap=definition.overlap,
        catch_up=definition.catch_up,
        catch_up_limit=definition.catch_up_limit,
        start=moment(definition.start),
        end=moment(definition.end),
        paused=state.paused,
        disabled=state.disabled,
        declared_by=known.entry.origin,
        next_run=moment(known.entry.due_at),
        last_run=moment(state.last_at),
        last_id=state.last_id or None,
        last_outcome=_outcome(state, statuses),
        runs=state.started,
    )


def _unreadable(entry: ScheduleEntry, problem: str) -> Schedule:
    next_run = None if entry.due_at is None else datetime.fromtimestamp(entry.due_at, UTC)
    return Schedule(name=entry.name, declared_by=entry.origin, next_run=next_run, problem=problem)


def _outcome(state: ScheduleState, statuses: Mapping[str, TaskStatus]) -> str:
    if state.outcome in ("skipped", "missed") or not state.last_id:
        return state.outcome
    status = statuses.get(state.last_id)
    if state.queued == state.last_id and status in (None, TaskStatus.READY):
        return "queued"
    return "unknown" if status is None else str(status)
