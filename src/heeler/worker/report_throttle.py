"""Progress of a run in a pool child, thinned out: a task that reports in a tight loop must not keep its worker busy."""

from __future__ import annotations

import threading
from collections.abc import Callable

from heeler.clock import SystemClock
from heeler.worker.remote_messages import RemoteReport

__all__ = ["ReportThrottle"]

GAP = 0.02  # seconds between two reports


class ReportThrottle:
    """Sends the first report at once, and of those that follow closely the newest, as soon as `GAP` has passed."""

    def __init__(self, send: Callable[[RemoteReport], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._held: RemoteReport | None = None
        self._timer: threading.Timer | None = None

    def report(self, fraction: float | None, message: str | None) -> None:
        """None leaves what an earlier report said."""
        with self._lock:
            if self._held is not None:
                fraction = self._held.fraction if fraction is None else fraction
                message = self._held.message if message is None else message
            self._held = RemoteReport(fraction, message)
            wait = self._free_at - SystemClock.monotonic()
            if wait <= 0:
                self._send_held()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Send what is held back; called by the timer, and at the end of the run."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._held is not None:
                self._send_held()

    def _send_held(self) -> None:
        held, self._held = self._held, None
        assert held is not None
        self._free_at = SystemClock.monotonic() + GAP
        self._send(held)
