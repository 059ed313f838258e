"""Reads the expression of a schedule: cron, one of the aliases, or `@every` and an interval."""

from __future__ import annotations

from heeler.errors import ConfigurationError
from heeler.triggers.cron import CronTrigger
from heeler.triggers.interval import IntervalTrigger, interval_text, read_interval
from heeler.triggers.timetable import Trigger
from heeler.triggers.zones import zone_named

__all__ = ["checked_expression", "read_expression"]

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every"


def read_expression(expression: str, zone: str, anchor: float) -> Trigger:
    """The trigger of an expression in a zone; intervals count from `anchor` (epoch seconds).

    Raises ConfigurationError that shows where the expression is wrong.
    """
    word, _, rest = expression.partition(" ")
    if word.lower() == _EVERY:
        before = expression[: len(expression) - len(rest.lstrip())] if rest else f"{expression} "
        return IntervalTrigger(read_interval(rest.strip(), before), anchor)
    return CronTrigger(_ALIASES.get(expression.lower(), expression), zone_named(zone), expression)


def checked_expression(expression: str) -> str:
    """The expression without surplus blanks. Raises ConfigurationError as `read_expression` does."""
    if not isinstance(expression, str) or not expression.strip():
        raise ConfigurationError(
            f"a schedule needs an expression like '0 7 * * mon-fri', '@daily' or '@every 90s', got {expression!r}"
        )
    tidy = expression.strip()
    read_expression(tidy, "UTC", 0.0)
    words = tidy.split()
    if words[0].lower() == _EVERY:
        return f"{_EVERY} {interval_text(' '.join(words[1:]))}"
    return " ".join(words)
