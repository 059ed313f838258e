"""How often and how soon a failed run is tried again: a value, and the arithmetic of its delays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from heeler.main_module import importable_module

__all__ = ["Backoff", "Retry", "class_path", "seconds_of"]

Backoff = Literal["exponential", "fibonacci", "linear", "constant"]
ExceptionNames = str | type[BaseException] | Iterable[str | type[BaseException]]
_BACKOFFS = ("exponential", "fibonacci", "linear", "constant")


def seconds_of(duration: float | timedelta, what: str) -> float:
    """A duration given as seconds or timedelta, in seconds. `what` names it in the errors.

    Raises TypeError for anything else and ValueError for a negative or not finite one.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        seconds = float(duration)
    else:
        raise TypeError(f"{what} must be seconds or a timedelta, got {duration!r}")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{what} must be zero or more seconds, got {seconds:g}")
    return seconds


def class_path(kind: type) -> str:
    """The dotted path of a class as errors are named in records, the same in all processes: `builtins.ValueError`."""
    return f"{importable_module(kind.__module__) or kind.__module__}.{kind.__qualname__}"


def _short(path: str) -> str:
    """What a user would write: `ValueError`."""
    return path.removeprefix("builtins.")


def _paths(names: ExceptionNames) -> tuple[str, ...]:
    if isinstance(names, (str, type)):
        names = (names,)
    paths = []
    for name in names:
        if isinstance(name, type) and issubclass(name, BaseException):
            paths.append(_short(class_path(name)))
        elif isinstance(name, str):
            paths.append(_short(name))
        else:
            raise TypeError(f"Retry: on and not_on take exception classes or their dotted paths, got {name!r}")
    return tuple(paths)


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """The retry policy of a task.

    `max_attempts` counts the first run; None means for ever. `delay` and `max_delay` are seconds or timedelta.
    The n-th delay is delay·2ⁿ⁻¹ (exponential), delay·Fₙ (fibonacci: 1, 1, 2, 3, 5, …), delay·n (linear) or delay
    (constant), cut at `max_delay`. With `jitter` it is drawn evenly from the upper half of that ("equal jitter":
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). `on` names the only exceptions
    that are retried, `not_on` those that never are; both take classes or dotted paths and match subclasses.

    Raises ValueError or TypeError for a value that makes no sense.
    """

    max_attempts: int | None
    delay: float
    backoff: Backoff
    max_delay: float
    jitter: bool
    on: tuple[str, ...]
    not_on: tuple[str, ...]

    def __init__(
        self,
        max_attempts: int | None = 1,
        delay: float | timedelta = 1.0,
        backoff: Backoff = "exponential",
        max_delay: float | timedelta = 3600.0,
        jitter: bool = True,
        on: ExceptionNames = (),
        not_on: ExceptionNames = (),
    ) -> None:
        if max_attempts is not None and (
            isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1
        ):
            raise ValueError(f"Retry: max_attempts counts the first run: 1 or more, or None, got {max_attempts!r}")
        if backoff not in _BACKOFFS:
            raise ValueError(f"Retry: backoff is one of {', '.join(_BACKOFFS)}, got {backoff!r}")
        put = object.__setattr__
        put(self, "max_attempts", max_attempts)
        put(self, "delay", seconds_of(delay, "Retry: delay"))
        put(self, "backoff", backoff)
        put(self, "max_delay", seconds_of(max_delay, "Retry: max_delay"))
        put(self, "jitter", bool(jitter))
        put(self, "on", _paths(on))
        put(self, "not_on", _paths(not_on))

    def allows(self, attempts: int) -> bool:
        """Whether another run may follow when `attempts` runs have been counted."""
        return self.max_attempts is None or attempts < self.max_attempts

    def covers(self, error_paths: Iterable[str]) -> bool:
        """Whether an error is retried at all, given the dotted paths of its class and all its base classes."""
        paths = frozenset(map(_short, error_paths))
        if not paths.isdisjoint(self.not_on):
            return False
        return not self.on or not paths.isdisjoint(self.on)

    def delay_before(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the failed run number `attempt` (the first is 1); `chance` in [0, 1) is the jitter."""
        full = min(self.delay * _factor(self.backoff, attempt), self.max_delay)
        return full * (0.5 + chance / 2) if self.jitter else full


def _factor(backoff: Backoff, attempt: int) -> float:
    if backoff == "constant":
        return 1.0
    if backoff == "linear":
        return float(attempt)
    if backoff == "exponential":
        return 2.0 ** min(attempt - 1, 1000)
    earlier, current = 0.0, 1.0
    for _ in range(min(attempt, 1000) - 1):
        earlier, current = current, earlier + current
    return current
