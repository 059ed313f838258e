"""Faults of the broker and of the worker's own parts: said once, told to the middleware, waited out with backoff."""

from __future__ import annotations

import logging
from collections.abc import Callable

from heeler.clock import Clock
from heeler.errors import BrokerUnavailable

__all__ = ["Faults"]

FIRST_DELAY = 0.05
LONGEST_DELAY = 1.5  # so that work goes on within two seconds of the broker's return


class Faults:
    """Shared by the parts of one worker, so that five parts that miss the broker write one line, not five.

    Lives on the I/O thread; `tell` may be called anywhere.
    """

    def __init__(
        self, worker: str, clock: Clock, logger: logging.Logger, on_error: Callable[[BaseException, str], None] | None
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._logger = logger
        self._on_error = on_error
        self._failing: dict[str, int] = {}
        self._since = 0.0

    @property
    def unavailable(self) -> bool:
        """Whether some part cannot reach the broker just now."""
        return bool(self._failing)

    def failed(self, where: str, error: Exception) -> float:
        """Take note that `where` failed; how many seconds it should wait before it tries again."""
        tries = self._failing.get(where, 0)
        if not isinstance(error, BrokerUnavailable):
            self._logger.error("worker %s: %s failed; trying again", self._worker, where, exc_info=error)
            self.tell(error, where)
        elif not self._failing:
            self._since = self._clock.monotonic()
            self._logger.warning(
                "worker %s: the broker is unavailable, what runs goes on and nothing is dropped: %s",
                self._worker,
                error,
            )
            self.tell(error, where)
        self._failing[where] = tries + 1
        full = min(FIRST_DELAY * 2.0 ** min(tries, 30), LONGEST_DELAY)
        return full * (0.5 + self._clock.random() / 2)

    def recovered(self, where: str) -> None:
        """Take note that `where` works (again)."""
        if self._failing and self._failing.pop(where, None) is not None and not self._failing:
            self._logger.info(
                "worker %s: the broker is back after %.1f s", self._worker, self._clock.monotonic() - self._since
            )

    def tell(self, error: BaseException, where: str) -> None:
        """Hand a fault to the middleware's `on_error`."""
        if self._on_error is None:
            return
        try:
            self._on_error(error, where)
        except Exception:
            self._logger.exception("worker %s: a middleware's on_error failed itself", self._worker)
