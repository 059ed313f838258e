"""Tells the middleware which runs start, and how they ended: made only where somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from heeler.clock import Clock
from heeler.middleware import sent_jobs, tell_all
from heeler.model import (
    Action,
    Delivery,
    EndedRun,
    ErrorRecord,
    RunEnd,
    SettleAnswer,
    Settlement,
    SettleResult,
    StartedRun,
    TaskStatus,
)
from heeler.worker.outcome import Cancelled, Crashed, Expired, PassedOn, Skipped, Unfinished
from heeler.worker.run import Interrupt, Run

__all__ = ["Witness", "started_run"]


class Witness:
    """Lives on the I/O thread. `run_of` finds the run of a delivery whose lease is still kept."""

    def __init__(self, hooks: Sequence[Callable[..., Any]], worker_id: str, clock: Clock) -> None:
        self._hooks = hooks
        self._worker_id = worker_id
        self._clock = clock
        self.run_of: Callable[[Delivery], Run | None] = lambda delivery: None

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[SettleResult], began: float) -> None:
        """The broker has answered; what it could not store comes again as a dead letter."""
        now = self._clock.time()
        ended = []
        for settlement, result in zip(settlements, answers, strict=True):
            run = self.run_of(settlement.delivery)
            if run is not None and result.answer is not SettleAnswer.INVALID:
                lost = result.answer is SettleAnswer.LOST
                end = RunEnd.LOST if lost else _end(settlement, run)
                if end is not None:
                    ended.append(self._ended(run, end, settlement, began, now))
        if ended:
            tell_all(self._hooks, ended)

    def before(self, interrupt: Callable[[Run, Interrupt], None]) -> Callable[[Run, Interrupt], None]:
        """`interrupt`, which also tells of runs whose lease is lost: nothing of theirs is settled."""

        def told(run: Run, why: Interrupt) -> None:
            if why is Interrupt.LOST and run.started_at is not None:
                now = self._clock.time()
                run.ended_mono = self._clock.monotonic()
                tell_all(self._hooks, [self._ended(run, RunEnd.LOST, None, now, now)])
            interrupt(run, why)

        return told

    def _ended(self, run: Run, end: RunEnd, settlement: Settlement | None, began: float, now: float) -> EndedRun:
        delivery = run.delivery
        envelope = delivery.envelope
        follow_ups = settlement.follow_ups if settlement is not None and end is not RunEnd.LOST else None
        return EndedRun(
            id=envelope.id,
            task=envelope.task,
            queue=envelope.queue,
            attempt=delivery.attempts + 1,
            end=end,
            worker_id=self._worker_id,
            enqueued_at=envelope.enqueued_at,
            headers=envelope.headers,
            started_at=run.started_at,
            waited=_waited(run),
            ran=None if run.started_at is None else (run.ended_mono or self._clock.monotonic()) - run.started_mono,
            settling_at=began,
            settled_at=now,
            error=_error(run, settlement),
            follow_ups=() if follow_ups is None else sent_jobs(follow_ups),
        )


def started_run(run: Run, worker_id: str) -> StartedRun:
    """What is told of a run when it starts."""
    delivery = run.delivery
    envelope = delivery.envelope
    return StartedRun(
        id=envelope.id,
        task=envelope.task,
        queue=envelope.queue,
        attempt=delivery.attempts + 1,
        worker_id=worker_id,
        started_at=run.started_at or 0.0,
        waited=_waited(run),
    )


def _end(settlement: Settlement, run: Run) -> RunEnd | None:
    """What became of the job; None where it only passed through this worker without a run."""
    action, outcome = settlement.action, run.outcome
    if action is Action.ACK:
        if isinstance(outcome, (Cancelled, Skipped)):
            return RunEnd.CANCELLED
        if isinstance(outcome, (PassedOn, Unfinished)):
            return None  # there was no run
        return RunEnd.EXPIRED if isinstance(outcome, Expired) else RunEnd.SUCCEEDED
    if action is Action.DEAD_LETTER:
        return RunEnd.FAILED
    if run.started_at is None:
        return None
    if action is Action.RELEASE:
        return RunEnd.RELEASED
    return RunEnd.CRASHED if isinstance(outcome, Crashed) else RunEnd.RETRIED


def _waited(run: Run) -> float | None:
    """From when the job might have started until it did; clocks of two machines may differ, so never below 0."""
    delivery = run.delivery
    if (
        run.started_at is None
        or run.follows
        or delivery.attempts
        or delivery.crashes
        or delivery.suspect
        or delivery.note
    ):
        return None
    envelope = delivery.envelope
    due = envelope.enqueued_at + envelope.delay if envelope.run_at is None else envelope.run_at
    return max(0.0, run.started_at - due)


def _error(run: Run, settlement: Settlement | None) -> ErrorRecord | None:
    error: ErrorRecord | None = getattr(run.outcome, "error", None)
    if error is not None or settlement is None:
        return error
    errors = settlement.errors
    if not errors and settlement.record is not None and settlement.record.status is not TaskStatus.SUCCESSFUL:
        errors = settlement.record.errors
    return errors[-1] if errors else None
