"""Every so many seconds, counted from one moment, in whole microseconds so that all schedulers count alike."""

from __future__ import annotations

import re
from datetime import timedelta

from heeler.errors import ConfigurationError

__all__ = ["IntervalTrigger", "interval_text", "read_interval"]

_MICRO = 1_000_000
_UNITS = {
    "w": 7 * 86400 * _MICRO,
    "d": 86400 * _MICRO,
    "h": 3600 * _MICRO,
    "m": 60 * _MICRO,
    "s": _MICRO,
    "ms": 1000,
    "us": 1,
}
_WORDS = {"w": "week", "d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond", "us": "microsecond"}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_LEAST = _MICRO // 10
_MOST = 100 * 366 * 86400 * _MICRO


class IntervalTrigger:
    """`step` microseconds apart; the first time is `anchor` (epoch seconds)."""

    def __init__(self, step: int, anchor: float) -> None:
        self._step = step
        self._anchor = round(anchor * _MICRO)

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`."""
        count = max(0, (round(moment * _MICRO) - self._anchor) // self._step)
        while (at := (self._anchor + count * self._step) / _MICRO) <= moment:
            count += 1
        return at

    def explain(self) -> str:
        return f"Every {_in_words(self._step)}"


def read_interval(text: str, before: str = "") -> int:
    """The microseconds that `90s` or `1h30m` mean. Raises ConfigurationError that shows where it is wrong.

    `before` is what stands before it in the expression.
    """
    total, end = 0, 0

    def refuse(what: str) -> ConfigurationError:
        return ConfigurationError(
            f"interval {before + text!r}, at column {len(before) + end + 1}: {what}; an interval is like 90s, 15m, "
            f"1h30m or 1d (units w, d, h, m, s, ms)"
        )

    while end < len(text):
        part = _PART.match(text, end)
        if part is None:
            raise refuse(f"{text[end:]!r} begins with no number")
        number, unit = part[1], part[2].lower()
        if unit not in _UNITS:
            end = part.start(2)
            raise refuse(f"{part[2]!r} is no unit" if unit else f"the unit of {number} is missing")
        total += round(float(number) * _UNITS[unit])
        end = part.end()
    if not text:
        raise refuse("there is nothing")
    if not _LEAST <= total <= _MOST:
        end = 0
        raise refuse(f"{text} is {'less than 100ms' if total < _LEAST else 'more than a century'}")
    return total


def interval_text(interval: timedelta | float | str) -> str:
    """The text that an expression has for it: `1h30m`. Raises ConfigurationError for what is no interval."""
    if isinstance(interval, str):
        return _text(read_interval(interval.strip()))
    if isinstance(interval, timedelta):
        step = interval // timedelta(microseconds=1)
    elif isinstance(interval, (int, float)) and not isinstance(interval, bool) and abs(interval) < _MOST:
        step = round(interval * _MICRO)
    else:
        raise ConfigurationError(f"every takes a timedelta, a number of seconds or a text like 1h30m, got {interval!r}")
    if not _LEAST <= step <= _MOST:
        raise ConfigurationError(f"every must be from 100 milliseconds to a century, got {interval!r}")
    return _text(step)


def _parts(step: int) -> list[tuple[int, str]]:
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS.items():
        if unit != "w" or step % size == 0:  # 8 days are 8d, 14 days are 2w
            count, step = divmod(step, size)
            if count:
                parts.append((count, unit))
    return parts


def _text(step: int) -> str:
    return "".join(f"{count}{unit}" for count, unit in _parts(step))


def _in_words(step: int) -> str:
    parts = _parts(step)
    if len(parts) == 1 and parts[0][0] == 1:
        return _WORDS[parts[0][1]]
    return " ".join(f"{count} {_WORDS[unit]}{'' if count == 1 else 's'}" for count, unit in parts)
