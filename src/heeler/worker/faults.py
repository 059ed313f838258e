"""Faults of the broker and of the worker's own parts: said once, told to the middleware, waited out with backoff."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from heeler.clock import Clock
from heeler.errors import BrokerUnavailable

__all__ = ["Faults"]

FIRST_DELAY = 0.05
LONGEST_DELAY = 0.5  # short, because brokers pause between attempts to connect by themselves


class Faults:
    """Shared by the parts of one worker, so that five parts that miss the broker write one line, not five.

    Lives on the I/O thread; `tell` may be called anywhere.
    """

    def __init__(
        self, label: str, clock: Clock, logger: logging.Logger, on_error: Callable[[BaseException, str], None] | None
    ) -> None:
        self._label = label
        self._clock = clock
        self._logger = logger
        self._on_error = on_error
        self._failing: dict[str, int] = {}
        self._since: float | None = None  # the broker is known to be away
        self.on_recovery: Callable[[], None] | None = None
        """Called when no part misses the broker any more."""
        self.final: BrokerUnavailable | None = None
        """Why the broker was given up, if it was: as many attempts to reach it have failed as its URL allows."""
        self.gave_up = asyncio.Event()

    @property
    def unavailable(self) -> bool:
        """Whether some part cannot reach the broker just now."""
        return bool(self._failing)

    def failed(self, where: str, error: Exception) -> float:
        """Take note that `where` failed; how many seconds it should wait before it tries again."""
        tries = self._failing.get(where, 0)
        if not isinstance(error, BrokerUnavailable):
            self._logger.error("%s: %s failed; trying again", self._label, where, exc_info=error)
            self.tell(error, where)
        elif self._since is None:
            self._since = self._clock.monotonic()
            self._logger.warning(
                "%s: the broker is unavailable, what runs goes on and nothing is dropped: %s",
                self._label,
                error,
            )
            self.tell(error, where)
        if isinstance(error, BrokerUnavailable) and error.given_up and self.final is None:
            self.final = error
            self.gave_up.set()
        self._failing[where] = tries + 1
        full = min(FIRST_DELAY * 2.0 ** min(tries, 30), LONGEST_DELAY)
        return full * (0.5 + self._clock.random() / 2)

    def recovered(self, where: str) -> None:
        """Take note that `where` works (again)."""
        if self._failing or self._since is not None:
            self.gave_way(where)
            if not self._failing and self._since is not None:
                away, self._since = self._clock.monotonic() - self._since, None
                self._logger.info("%s: the broker is back after %.1f s", self._label, away)

    def gave_way(self, where: str) -> None:
        """Take note that `where` has nothing to do any more for which it would need the broker."""
        if self._failing.pop(where, None) is not None and not self._failing and self.on_recovery is not None:
            self.on_recovery()

    def tell(self, error: BaseException, where: str) -> None:
        """Hand a fault to the middleware's `on_error`."""
        if self._on_error is None:
            return
        try:
            self._on_error(error, where)
        except Exception:
            self._logger.exception("%s: a middleware's on_error failed itself", self._label)
