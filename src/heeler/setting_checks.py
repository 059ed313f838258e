"""What settings of an app, a task or a worker may be: each check refuses with whose setting it is and what would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from heeler.contracts import Executor, Queue
from heeler.errors import ConfigurationError
from heeler.model import Retry, seconds_of
from heeler.task_spec import moment_or_delay

__all__ = ["callable_of", "check_callable", "check_name", "check_options", "is_whole", "list_of", "queue_of", "seconds"]

Duration = float | timedelta


def check_options(whose: str, values: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for an option that makes no sense, naming whose it is and what would."""

    def refuse(option: str, wanted: str) -> None:
        raise ConfigurationError(f"{whose}: {option} must be {wanted}, got {values[option]!r}")

    check_name(values["queue_name"], f"{whose}: queue_name")
    if not is_whole(values["priority"]) or not -100 <= values["priority"] <= 100:
        refuse("priority", "a whole number from -100 to 100")
    if not isinstance(values["retry"], Retry):
        refuse("retry", "a Retry")
    if values["timeout"] is not None and values["timeout"] <= 0:
        refuse("timeout", "more than 0 seconds")
    if values["soft_timeout"] is not None and values["soft_timeout"] <= 0:
        refuse("soft_timeout", "more than 0 seconds")
    if values["executor"] not in ("thread", "process") and not isinstance(values["executor"], Executor):
        refuse("executor", '"thread", "process" or an Executor')
    if values["concurrency"] is not None and (not is_whole(values["concurrency"]) or values["concurrency"] < 1):
        refuse("concurrency", "1 or more, or None")
    if not is_whole(values["max_crashes"]) or values["max_crashes"] < 0:
        refuse("max_crashes", "0 or more")
    if values["reports"] not in ("final", "all"):
        refuse("reports", '"final" or "all"')
    if values["expires"] is not None:
        try:
            moment_or_delay(values["expires"], f"{whose}: expires")
        except (TypeError, ValueError) as error:
            raise ConfigurationError(str(error)) from error


def queue_of(queue: str | Queue) -> Queue:
    if isinstance(queue, Queue):
        return queue
    check_name(queue, "queues: a queue")
    return Queue(queue)


def check_name(value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} must be a name, got {value!r}")


def list_of(option: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigurationError(f"Heeler: {option} takes a list, for example [{values!r}]")
    return tuple(values)


def callable_of(value: Any, what: str) -> Callable[[], str]:
    check_callable(value, what)
    return value  # type: ignore[no-any-return]


def check_callable(value: object, what: str) -> None:
    if not callable(value):
        raise ConfigurationError(f"{what} must be callable, got {value!r}")


def seconds(duration: Duration, what: str) -> float:
    """A duration of a setting in seconds; what is wrong with it is a ConfigurationError."""
    try:
        return seconds_of(duration, what)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
