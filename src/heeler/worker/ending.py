"""What the end of a run means: from a value, an exception or an interrupt to an outcome, and on to the settler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from heeler.clock import Clock
from heeler.error_records import record_error
from heeler.errors import InvalidArguments, Reject, Rejected, RetryLater, TaskTimedOut
from heeler.model import Action, ErrorRecord, Settlement
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.job_log import JobLog
from heeler.worker.outcome import (
    Cancelled,
    Outcome,
    Raised,
    RejectedByTask,
    Released,
    RetryRequested,
    Returned,
    Unreadable,
)
from heeler.worker.run import Interrupt, Run
from heeler.worker.travelling import Travelling

__all__ = ["Ending"]

_NO_POLICY = Policy()


class Ending:
    """Lives on the task loop. Every run ends here, once.

    `settle` takes the settlement of each run that ended; `on_ended` the run itself, whose slot is free again; `drop`
    tells the I/O thread of an end without a settlement. `travelling` knows what came with a job to follow it.
    `witnessed`: somebody is told afterwards how runs ended.
    """

    def __init__(
        self,
        clock: Clock,
        logger: logging.Logger,
        worker_id: str,
        *,
        settle: Callable[[Settlement], None],
        drop: Callable[[], None],
        travelling: Travelling,
        witnessed: bool = False,
    ) -> None:
        self._time = clock.time
        self._random = clock.random
        self._logger = logger
        self._worker_id = worker_id
        self._settle = settle
        self._drop = drop
        self._travelling = travelling
        self._monotonic = clock.monotonic
        self._witnessed = witnessed
        self._log = JobLog(logger)
        self._debug = logger.isEnabledFor(logging.DEBUG)
        self.on_ended: Callable[[Run], None] = lambda run: None

    def returned(self, run: Run, value: Any) -> None:
        """The function returned; what cannot be encoded is a failed attempt."""
        if value is None:
            self.finish(run, Returned(None))
            return
        recipe = run.recipe
        assert recipe is not None
        try:
            encoded = recipe.encode(value, recipe.result_codec)
        except Exception as error:
            self.finish(run, Raised(self.record(run, error)))
        else:
            self.finish(run, Returned(encoded))

    def raised(self, run: Run, error: BaseException) -> None:
        """The function, or what stands around it, raised."""
        self.finish(run, self.failure(run, error))

    def unreadable(self, run: Run, error: Exception) -> None:
        """It can never run as it is."""
        if not isinstance(error, InvalidArguments):
            error = InvalidArguments(str(error))
        self.end(run, Unreadable(self.record(run, error)))

    def failure(self, run: Run, error: BaseException) -> Outcome:
        """What an exception that came out of a run means."""
        if run.told is not None and error is run.told[0]:
            return run.told[1]
        if isinstance(error, RetryLater):
            return RetryRequested(error.after, error.count, self.record(run, error))
        if isinstance(error, Reject):
            rejected = Rejected(error.reason).with_traceback(error.__traceback__)
            return RejectedByTask(self.record(run, rejected))
        if isinstance(error, KeyboardInterrupt) and run.executor is None:
            return Released()  # it was meant for the program that runs this loop
        return Raised(self.record(run, error))

    def finish(self, run: Run, outcome: Outcome) -> None:
        """It ended by itself. If the worker wanted it to end, that is how it ended, unless it was just in time."""
        if run.ended:
            return  # it was abandoned: its late return is discarded
        if run.interrupt is None or (run.interrupt is Interrupt.RELEASED and type(outcome) is Returned):
            self.end(run, outcome)
        else:
            self.end(run, self.interrupted(run))

    def interrupted(self, run: Run) -> Outcome | None:
        """How a run ended that the worker itself ended; None: nobody wants to know."""
        why = run.interrupt
        if why is Interrupt.CANCELLED:
            return Cancelled()
        if why is Interrupt.RELEASED:
            return Released()
        if why is Interrupt.LOST:
            envelope = run.delivery.envelope
            self._logger.info(
                "%s %s: its lease is lost, so its end does not count; it runs elsewhere", envelope.task, envelope.id
            )
            return None
        return Raised(self.record(run, self.time_is_up(run)))

    def time_is_up(self, run: Run) -> TaskTimedOut:
        """The error of a run that took longer than its timeout."""
        assert run.recipe is not None
        return TaskTimedOut(f"the run took longer than its timeout of {run.recipe.timeout:g} s")

    def preview(self, run: Run, outcome: Outcome) -> Action:
        """What will become of the job if its run ends like this."""
        run.chance = self._random()
        return decide(outcome, self._facts(run)).action

    def end(self, run: Run, outcome: Outcome | None) -> None:
        """Its outcome is known; None: nobody wants to know it."""
        if run.ended:
            return
        run.ended = True
        if outcome is None:
            self._drop()
        else:
            if type(outcome) is not Returned and run.chance == 0.0:
                run.chance = self._random()
            if type(outcome) is Returned and run.delivery.envelope.place:
                outcome = self._travel_on(run, outcome)
            if self._witnessed:
                run.outcome = outcome
                run.ended_mono = self._monotonic()
            settlement = decide(outcome, self._facts(run))
            if self._debug or type(outcome) is not Returned:
                self._log.ended(run, outcome, settlement)
            self._settle(settlement)
        # These refer back to the run: without them it goes when its last user lets go of it.
        run.task = run.context = run.told = None
        self.on_ended(run)

    def record(self, run: Run, error: BaseException) -> ErrorRecord:
        """What is kept of an error of this run."""
        return record_error(error, run.delivery.attempts + 1, self._time())

    def _facts(self, run: Run) -> Facts:
        recipe = run.recipe
        return Facts(
            run.delivery,
            _NO_POLICY if recipe is None else recipe.policy,
            self._worker_id,
            self._time(),
            run.started_at,
            run.saved,
            run.follow_ups,
            run.follow_latches,
            run.announced,
            run.chance,
            partial(self._travelling.after_failure, run.delivery.envelope) if run.delivery.envelope.place else None,
        )

    def _travel_on(self, run: Run, outcome: Returned) -> Outcome:
        """Take up what travelled with the job and follows its success; what cannot be made of it is a failure."""
        recipe = run.recipe
        assert recipe is not None
        value = outcome.value if outcome.value is not None else run.saved
        try:
            following = self._travelling.after_success(run.delivery.envelope, value, recipe.policy.content_type)
        except Exception as error:
            return Raised(self.record(run, error))
        run.follow_ups = (*run.follow_ups, *following)
        return outcome
