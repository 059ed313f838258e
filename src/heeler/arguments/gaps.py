"""Arguments that are not known yet: left open when a job is enqueued, and filled in before it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from heeler.model import FailedRun, Failure

__all__ = ["Gap", "Mend", "Way", "fill", "mended", "take_gaps"]

Way = tuple[str | int, ...]
"""From the arguments to a value in them: a parameter, then keys and numbers."""

Mend = tuple[Way, str]
"""Where there is a Failure or FailedRun (which of them is the text) that plain values have as a dict."""

_KINDS: dict[str, Any] = {"Failure": Failure, "FailedRun": FailedRun}


class Gap:
    """Stands for an argument that is not known yet; `source` says what it will be."""

    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        self.source = source


def take_gaps(value: Any, way: Way, found: list[tuple[Way, Gap]]) -> Any:
    """The value with None in its gaps, which are added to `found`; lists, tuples and dicts are looked into."""
    if isinstance(value, Gap):
        found.append((way, value))
        return None
    if type(value) in (list, tuple):
        return type(value)([take_gaps(item, (*way, number), found) for number, item in enumerate(value)])
    if type(value) is dict:
        return {
            key: take_gaps(item, (*way, key), found) if isinstance(key, str) else item for key, item in value.items()
        }
    return value


def fill(plain: Any, way: Way, value: Any) -> None:
    """Put a value into plain arguments, where there is a gap."""
    for step in way[:-1]:
        plain = plain[step]
    plain[way[-1]] = value


def mended(value: Any, mends: Iterable[Way], kind: str) -> Any:
    """The decoded value with the failures in it made objects, as far as its type has left them dicts."""
    for way in mends:
        value = _mend_one(value, way, kind)
    return value


def _mend_one(value: Any, way: Way, kind: str) -> Any:
    if not way:
        return msgspec.convert(value, _KINDS[kind]) if type(value) is dict else value
    step, rest = way[0], way[1:]
    if isinstance(value, dict) and step in value:
        value[step] = _mend_one(value[step], rest, kind)
    elif isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value):
        item = _mend_one(value[step], rest, kind)
        if isinstance(value, list):
            value[step] = item
        else:
            value = (*value[:step], item, *value[step + 1 :])
    return value
