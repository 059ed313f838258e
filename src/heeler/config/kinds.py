"""Kinds of settings: how what stands in the environment (texts) or in a file (TOML) becomes a value."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heeler.durations import parse_duration
from heeler.model import Retry

__all__ = [
    "Kind",
    "choice",
    "codec",
    "duration",
    "flag",
    "logger",
    "names",
    "object_path",
    "object_paths",
    "queue_shares",
    "retry",
    "text",
    "whole",
]

_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` makes the value, and raises ValueError or TypeError for what is not as `expected`.

    `write` makes of a value what people read; None where it is the value itself.
    """

    expected: str
    read: Callable[[Any], Any]
    write: Callable[[Any], str | None] = lambda value: None


def text(expected: str = "a text") -> Kind:
    def read(given: Any) -> str:
        if not isinstance(given, str) or not given:
            raise ValueError
        return given

    return Kind(expected, read)


def whole(minimum: int, maximum: int | None = None) -> Kind:
    """A whole number."""
    expected = f"a whole number from {minimum} to {maximum}" if maximum else f"a whole number, {minimum} or more"

    def read(given: Any) -> int:
        number = int(given) if isinstance(given, str) else given
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError
        return number

    return Kind(expected, read)


def duration(*, optional: bool = False, positive: bool = False) -> Kind:
    """Seconds; `optional` ones may be "none"."""

    def read(given: Any) -> float | None:
        if optional and isinstance(given, str) and given.strip().lower() == "none":
            return None
        if isinstance(given, bool) or not isinstance(given, (str, int, float)):
            raise ValueError
        seconds = parse_duration(given) if isinstance(given, str) else float(given)
        if not 0 <= seconds < float("inf") or (positive and seconds == 0):
            raise ValueError
        return seconds

    expected = "a time like 30, 45s, 5m, 2h or 1h30m" + (", more than 0" if positive else "")
    return Kind(f"{expected}, or none" if optional else expected, read, _duration_text)


def _duration_text(value: Any) -> str | None:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return f"{seconds:g}s" if isinstance(seconds, (int, float)) else None


def flag() -> Kind:
    """True or false."""

    def read(given: Any) -> bool:
        if isinstance(given, bool):
            return given
        return _FLAGS[given.strip().lower()] if isinstance(given, str) else _refuse()

    return Kind("true or false", read)


def choice(*choices: str) -> Kind:
    """One of these words, in any case."""

    def read(given: Any) -> str:
        if given.lower() not in choices:
            raise ValueError
        return str(given).lower()

    return Kind(f"one of {', '.join(choices)}", read)


def names(expected: str = "names like images,default, or a list of them") -> Kind:
    """Several names; in the environment with commas between."""

    def read(given: Any) -> list[str]:
        parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
            raise ValueError
        return list(dict.fromkeys(parts))

    return Kind(expected, read)


def queue_shares() -> Kind:
    """Queues in strict order, or with a weight each."""
    listed = names()

    def read(given: Any) -> list[str] | dict[str, int]:
        if isinstance(given, str) and "=" in given:
            pairs = [part.partition("=") for part in given.split(",")]
            given = {name.strip(): int(weight) for name, _, weight in pairs}
        if not isinstance(given, Mapping):
            return listed.read(given)  # type: ignore[no-any-return]
        if not given or not all(name and isinstance(weight, int) and weight > 0 for name, weight in given.items()):
            raise ValueError
        return dict(given)

    return Kind("names like images,default, or each with a weight like images=3,default=1", read)


def retry() -> Kind:
    """A retry policy: how many attempts, or the arguments of `Retry`."""

    def read(given: Any) -> Retry:
        if isinstance(given, str) and "=" in given:
            given = {
                name.strip(): value.strip() for name, _, value in (part.partition("=") for part in given.split(","))
            }
        if not isinstance(given, Mapping):
            given = {"max_attempts": given}
        return Retry(**{name: _RETRY[name](value) for name, value in given.items()})

    return Kind("attempts like 5, or arguments of Retry like max_attempts=5,delay=2s,backoff=linear", read, _retry_text)


def _retry_text(value: Any) -> str | None:
    """What differs from no retries at all."""
    if not isinstance(value, Retry):
        return None
    said = []
    for name in _RETRY:
        given = getattr(value, name)
        if given != getattr(Retry(), name):
            text = _duration_text(given) if name.endswith("delay") else None
            said.append(f"{name}={text or (','.join(given) if isinstance(given, tuple) else given)}")
    return ", ".join(said) or "none"


def _max_attempts(given: Any) -> int | None:
    return None if isinstance(given, str) and given.lower() == "none" else whole(1).read(given)


_RETRY: dict[str, Callable[[Any], Any]] = {
    "max_attempts": _max_attempts,
    "delay": duration().read,
    "max_delay": duration().read,
    "backoff": choice("exponential", "fibonacci", "linear", "constant").read,
    "jitter": flag().read,
    "on": names().read,
    "not_on": names().read,
}


def object_path() -> Kind:
    """Something that a module has: imported, and called if it is a class."""
    return Kind("the import path of an object or a class, module:name", _load)


def object_paths() -> Kind:
    """Several of them."""
    listed = names()
    return Kind("import paths like shop.tracing:Timing", lambda given: [_load(path) for path in listed.read(given)])


def codec() -> Kind:
    """The name of a codec that comes with Heeler, or the import path of another one."""
    return Kind(
        "msgpack, json, or an import path like shop.codecs:ZippedJson",
        lambda given: given if given in ("msgpack", "json") else _load(given),
    )


def logger() -> Kind:
    """A logger by its name."""
    return Kind("the name of a logger", lambda given: logging.getLogger(text().read(given)))


def _load(path: Any) -> Any:
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ValueError
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found() if isinstance(found, type) else found
    except Exception as error:  # of a module of the user's
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _refuse() -> bool:
    raise ValueError
