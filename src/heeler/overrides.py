"""What `using(…)` asks for in place of a task's own options: checked once, where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from heeler.errors import InvalidOption
from heeler.model import Reports, Retry, seconds_of
from heeler.task_spec import moment_or_delay

__all__ = ["NO_OVERRIDES", "Overrides", "checked_id", "with_options"]


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one enqueue, durations in seconds; None leaves the task's own option."""

    queue_name: str | None = None
    priority: int | None = None
    run_at: float | None = None
    delay: float = 0.0
    expires_at: float | None = None
    expires_in: float | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    retry: Retry | None = None
    headers: dict[str, str] | None = None
    id: str | None = None
    ignore_result: bool | None = None
    result_ttl: float | None = None
    codec: Any = None
    reports: Reports | None = None
    routing_key: str | None = None


NO_OVERRIDES = Overrides()


def with_options(ask: Overrides, options: Mapping[str, Any]) -> Overrides:
    """The overrides with those of `options` that are not None put in.

    Raises TypeError for an unknown option, naming the known ones, and InvalidOption for a wrong value.
    """
    unknown = options.keys() - _CHECKS.keys()
    if unknown:
        raise TypeError(f"using() has no option {', '.join(sorted(unknown))}; it takes {', '.join(_CHECKS)}")
    asked: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            try:
                asked |= _CHECKS[name](value, name)
            except (TypeError, ValueError) as error:
                raise InvalidOption(str(error)) from None
    return msgspec.structs.replace(ask, **asked)


def checked_id(value: Any, what: str) -> str:
    """A job's id that was chosen by the user. Raises ValueError."""
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ValueError(f"{what} must be a text of 1 to 255 characters, got {value!r}")
    return value


def _run_after(value: Any, name: str) -> dict[str, Any]:
    moment, delay = moment_or_delay(value, name)
    return {"run_at": moment, "delay": delay}


def _expires(value: Any, name: str) -> dict[str, Any]:
    moment, delay = moment_or_delay(value, name)
    return {"expires_at": moment, "expires_in": None if moment is not None else delay}


def _text(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a name, got {value!r}")
    return {name: value}


def _priority(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or not -100 <= value <= 100:
        raise ValueError(f"{name} goes from -100 to 100, got {value!r}")
    return {name: value}


def _limit(value: Any, name: str) -> dict[str, Any]:
    seconds = seconds_of(value, name)
    if not seconds:
        raise ValueError(f"{name} must be more than 0 seconds")
    return {name: seconds}


def _seconds(value: Any, name: str) -> dict[str, Any]:
    return {name: seconds_of(value, name)}


def _retry(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Retry):
        raise TypeError(f"{name} must be a Retry, got {value!r}")
    return {name: value}


def _headers(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} map text to text, got {value!r}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"{name} map text to text, got {key!r}: {text!r}")
    return {name: dict(value)}


def _id(value: Any, name: str) -> dict[str, Any]:
    return {name: checked_id(value, name)}


def _flag(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, got {value!r}")
    return {name: value}


def _reports(value: Any, name: str) -> dict[str, Any]:
    if value not in ("final", "all"):
        raise ValueError(f'{name} is "final" or "all", got {value!r}')
    return {name: value}


def _as_given(value: Any, name: str) -> dict[str, Any]:
    return {name: value}


_CHECKS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "queue_name": _text,
    "priority": _priority,
    "run_after": _run_after,
    "expires": _expires,
    "timeout": _limit,
    "soft_timeout": _limit,
    "retry": _retry,
    "headers": _headers,
    "id": _id,
    "ignore_result": _flag,
    "result_ttl": _seconds,
    "codec": _as_given,  # the app's codecs check it
    "reports": _reports,
    "routing_key": _text,
}
