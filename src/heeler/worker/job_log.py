"""A line for each run that failed; for every other one at DEBUG only."""

from __future__ import annotations

import logging

from heeler.model import Action, Settlement
from heeler.worker.outcome import Cancelled, Crashed, Expired, Outcome, Released, RetryRequested, Returned
from heeler.worker.run import Run

__all__ = ["JobLog"]

_OTHERWISE: dict[type, str] = {
    RetryRequested: "asked to be run again",
    Cancelled: "cancelled",
    Expired: "expired before it could start",
    Released: "given back",
}


class JobLog:
    """Lives on the task loop."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def ended(self, run: Run, outcome: Outcome, settlement: Settlement) -> None:
        """How a run ended, and what becomes of its job."""
        if type(outcome) is Returned:
            self._say(logging.DEBUG, run, "succeeded")
            return
        action = settlement.action
        error = getattr(outcome, "error", None)
        if error is None and settlement.errors:
            error = settlement.errors[-1]
        said = "" if error is None else f": {error.line}"
        if action is Action.DEAD_LETTER:
            attempts = "1 attempt" if settlement.attempts == 1 else f"{settlement.attempts} attempts"
            self._say(logging.ERROR, run, f"failed after {attempts}{said}", "" if error is None else error.traceback)
        elif action is Action.RETRY and not isinstance(outcome, RetryRequested):
            when = f"again in {settlement.delay:.1f} s" if settlement.delay else "again at once"
            how = f": its process died ({outcome.how})" if isinstance(outcome, Crashed) else said
            self._say(logging.WARNING, run, f"failed, {when}{how}")
        else:
            self._say(logging.DEBUG, run, _OTHERWISE.get(type(outcome), "ended"))

    def _say(self, level: int, run: Run, what: str, traceback: str = "") -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        delivery = run.delivery
        envelope = delivery.envelope
        message = ("%s %s %s", (envelope.task, envelope.id, what))
        record = logger.makeRecord(logger.name, level, __file__, 0, *message, None, "ended")
        record.task_id = envelope.id
        record.task_name = envelope.task
        record.task_attempt = delivery.attempts + 1
        record.exc_text = traceback.rstrip() or None
        logger.handle(record)
