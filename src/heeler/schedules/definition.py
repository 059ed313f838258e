"""From what a user says of a schedule to its definition, checked; and from that to its times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict, get_args
from zoneinfo import ZoneInfo

from heeler.errors import ConfigurationError
from heeler.model import CatchUp, Overlap, ScheduleDefinition
from heeler.startables import Packed
from heeler.triggers import Timetable, checked_expression, checked_zone, interval_text, read_expression

__all__ = ["ScheduleOptions", "TimingOptions", "checked_name", "define", "timetable_of"]


class TimingOptions(TypedDict, total=False):
    """The options of a schedule beside its cron expression."""

    every: timedelta | float | str | None
    timezone: str | ZoneInfo
    overlap: Overlap
    catch_up: CatchUp
    catch_up_limit: int
    start: datetime | None
    end: datetime | None


class ScheduleOptions(TimingOptions, total=False):
    """All options of a schedule."""

    cron: str | None


LONGEST_NAME = 200  # the id of a job is made of the name and the time
_MOST_CAUGHT_UP = 1000  # in one publication


def checked_name(name: Any) -> str:
    """Raises ConfigurationError."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise ConfigurationError(f"a schedule's name is a text of 1 to {LONGEST_NAME} characters, got {name!r}")
    return name


def define(
    name: str,
    packed: Packed,
    *,
    cron: str | None = None,
    every: timedelta | float | str | None = None,
    timezone: Any = "UTC",
    overlap: Overlap = "allow",
    catch_up: CatchUp = "one",
    catch_up_limit: int = 100,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ScheduleDefinition:
    """Raises ConfigurationError, which names the schedule and shows where its expression is wrong."""
    try:
        definition = ScheduleDefinition(
            expression=_expression(cron, every),
            starts=packed.content,
            shown=packed.shown,
            jobs=packed.jobs,
            timezone=checked_zone(timezone),
            overlap=_choice(overlap, "overlap", get_args(Overlap)),
            catch_up=_choice(catch_up, "catch_up", get_args(CatchUp)),
            catch_up_limit=_limit(catch_up_limit),
            start=_moment(start, "start"),
            end=_moment(end, "end"),
        )
        if definition.start is not None and definition.end is not None and definition.end < definition.start:
            raise ConfigurationError(f"its end {end} is before its start {start}")
    except ConfigurationError as error:
        raise ConfigurationError(f"schedule {name!r}: {error}") from None
    return definition


def timetable_of(definition: ScheduleDefinition, anchor: float) -> Timetable:
    """All times of a schedule. `anchor` is from where intervals count that have no start of their own."""
    begin = anchor if definition.start is None else definition.start
    trigger = read_expression(definition.expression, definition.timezone, begin)
    return Timetable(trigger, definition.start, definition.end)


def _expression(cron: str | None, every: timedelta | float | str | None) -> str:
    if (cron is None) == (every is None):
        both = "both" if cron is not None else "neither"
        raise ConfigurationError(f"give either a cron expression or an interval (every=…), not {both}")
    return checked_expression(cron) if cron is not None else f"@every {interval_text(every)}"  # type: ignore[arg-type]


def _choice(value: Any, what: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ConfigurationError(f"{what} is one of {', '.join(choices)}, got {value!r}")
    return value


def _limit(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_CAUGHT_UP:
        raise ConfigurationError(f"catch_up_limit is a whole number from 1 to {_MOST_CAUGHT_UP}, got {value!r}")
    return value


def _moment(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(
            f"{what} is a datetime with a time zone, for example datetime(2026, 1, 1, tzinfo=UTC), got {value!r}"
        )
    return value.timestamp()
