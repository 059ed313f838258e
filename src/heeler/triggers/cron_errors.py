"""What is wrong with a cron expression, and where: cronsim says only which field it does not like."""

from __future__ import annotations

import re
from typing import NamedTuple

from heeler.errors import ConfigurationError

__all__ = ["check_fields", "impossible"]


class _Field(NamedTuple):
    """A field: its values, and the names that stand for some of them."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    first_named: int = 0

    def wants(self) -> str:
        named = f", or a name from {self.names[0]} to {self.names[-1]}" if self.names else ""
        article = "an" if self.name == "hour" else "a"
        return f"{article} {self.name} is a number from {self.first} to {self.last}{named}"


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of week", 0, 7, _DAYS, 0),
)
_WORD = re.compile(r"\S+")
_FORM = "minute hour day-of-month month day-of-week, with seconds before them if there are six"


class _Wrong(Exception):
    """Something at a place of a field."""

    def __init__(self, place: int, text: str, why: str) -> None:
        self.place = place
        self.text = text
        self.why = why


def check_fields(expression: str, shown: str) -> None:
    """Raise ConfigurationError, which says where, for a field that cannot be read.

    `shown` is the expression as it was given, where that was an alias.
    """
    words = list(_WORD.finditer(expression))
    if len(words) not in (5, 6):
        if words and words[0][0].startswith("@"):
            raise ConfigurationError(
                f"schedule expression {shown!r}: {words[0][0]} is not known; there are @yearly, @monthly, @weekly, "
                f"@daily, @hourly, and @every with an interval, as in @every 1h30m"
            )
        raise ConfigurationError(
            f"cron expression {shown!r} has {len(words)} field{'' if len(words) == 1 else 's'}, "
            f"it takes 5 or 6: {_FORM}"
        )
    for word, field in zip(words, _FIELDS[-len(words) :], strict=True):
        try:
            _check_list(field, word[0].upper())
        except _Wrong as wrong:
            column = word.start() + wrong.place + 1
            there = expression[column - 1 : column - 1 + len(wrong.text)]
            raise ConfigurationError(
                f"cron expression {shown!r}, at column {column}: {there or word[0]!r}: {wrong.why}"
            ) from None


def impossible(shown: str, why: str) -> ConfigurationError:
    """The error for an expression whose fields are right and never come together."""
    if "day-of-month" in why:
        why = "the month has no such day"
    return ConfigurationError(f"cron expression {shown!r} is never due: {why}")


def _check_list(field: _Field, text: str) -> None:
    place = 0
    for item in text.split(","):
        if not item:
            raise _Wrong(place, text[place:], "something is missing before or after a comma")
        _check_item(field, item, place)
        place += len(item) + 1


def _check_item(field: _Field, item: str, place: int) -> None:
    if field.name == "day of month" and item in ("L", "LW"):
        return
    term, slash, step = item.partition("/")
    if slash:
        if not _is_number(step) or int(step) == 0:
            raise _Wrong(place + len(term) + 1, step, "what follows the slash is a number from 1")
        if term == "*" or (field.name == "day of month" and term in ("L", "LW")):
            return
    elif term == "*":
        return
    if field.name == "day of week" and not slash and _is_special_day(field, term, place):
        return
    first, dash, last = term.partition("-")
    begin = _check_value(field, first, place)
    if dash:
        end = _check_value(field, last, place + len(first) + 1)
        if end < begin:
            raise _Wrong(
                place,
                term,
                f"a range goes upwards; for one over the end write two: {first}-{field.last},{field.first}-{last}",
            )


def _is_special_day(field: _Field, term: str, place: int) -> bool:
    """`5L` is the last Friday of a month, `MON#2` its second Monday."""
    if term.endswith("L") and _is_number(term[:-1]):
        _check_value(field, term[:-1], place)
        return True
    day, sharp, which = term.partition("#")
    if not sharp:
        return False
    _check_value(field, day, place)
    if not _is_number(which) or not 1 <= int(which) <= 5:
        raise _Wrong(place + len(day) + 1, which, "what follows # is a number from 1 to 5")
    return True


def _check_value(field: _Field, text: str, place: int) -> int:
    if text in field.names:
        return field.names.index(text) + field.first_named
    if not _is_number(text) or not field.first <= int(text) <= field.last:
        raise _Wrong(place, text, field.wants())
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
