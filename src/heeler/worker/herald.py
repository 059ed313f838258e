"""Makes events of what happens in a worker, for those who follow; while nobody does it only finds that out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from heeler.clock import Clock
from heeler.event_teller import EventTeller
from heeler.middleware import sent_jobs
from heeler.model import (
    RELAY_TASK,
    Action,
    Delivery,
    Envelope,
    Event,
    Renewal,
    SettleAnswer,
    Settlement,
    SettleResult,
    TaskStatus,
    class_path,
)
from heeler.worker.decide import read_note
from heeler.worker.run import Interrupt, Run

__all__ = ["Herald"]


class Herald:
    """Lives on the I/O thread; only `fault` is called anywhere. `run_of` finds the run of a delivery."""

    def __init__(self, teller: EventTeller, worker_id: str, clock: Clock) -> None:
        self._teller = teller
        self._worker_id = worker_id
        self._clock = clock
        self.run_of: Callable[[Delivery], Run | None] = lambda delivery: None

    def started(self) -> None:
        """This worker takes jobs from now on. Told unasked: thereby it learns whether anybody follows."""
        self._teller.tell([Event("worker.started", self._clock.time(), worker=self._worker_id)], unasked=True)

    def entered(self, state: str) -> None:
        """This worker is quiet, stopping or stopped from now on."""
        if self._teller.is_followed:
            self._teller.tell([Event(f"worker.{state}", self._clock.time(), worker=self._worker_id)])

    def fault(self, error: BaseException, where: str) -> None:
        """A part of this worker failed, or the broker cannot be reached."""
        if self._teller.may_be_followed:
            text = f"{where}: {error}"
            event = Event("error", self._clock.time(), worker=self._worker_id, message=text)
            self._teller.tell([msgspec.structs.replace(event, error=class_path(type(error)))])

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[SettleResult]) -> None:
        """The broker has answered how runs ended."""
        if not self._teller.is_followed:
            return
        now = self._clock.time()
        events: list[Event] = []
        for settlement, result in zip(settlements, answers, strict=True):
            delivery = settlement.delivery
            run = self.run_of(delivery)
            if result.answer is SettleAnswer.INVALID:
                continue  # it comes again as a dead letter
            if delivery.envelope.task == RELAY_TASK and settlement.action is not Action.DEAD_LETTER:
                continue  # nobody's job
            has_run = run is not None and run.started_at is not None
            if run is not None and run.started_at is not None and not run.announced:
                events.append(self._of(delivery, "job.started", run.started_at))
            if result.answer is SettleAnswer.LOST:
                events.append(self._of(delivery, "job.lost", now, "its lease was lost, so its end does not count"))
                continue
            if settlement.action is not Action.RELEASE or has_run:
                events.append(self._ended(settlement, now))
            if settlement.follow_ups is not None:
                events += [
                    Event("job.enqueued", now, sent.queue, sent.task, sent.id, self._worker_id)
                    for sent in sent_jobs(settlement.follow_ups)
                ]
        self._teller.tell(events)

    def let_go(self, jobs: Sequence[Envelope]) -> None:
        """Latches have let these jobs go; they are fetched for the first time."""
        if self._teller.is_followed:
            now = self._clock.time()
            self._teller.tell(
                [Event("job.enqueued", now, job.queue, job.task, job.id, self._worker_id) for job in jobs]
            )

    def renewed(self, renewals: Sequence[Renewal], runs: Sequence[Run]) -> None:
        """The broker has taken in what runs report; those that are `announced` have reported before."""
        if not self._teller.is_followed:
            return
        events: list[Event] = []
        for renewal, run in zip(renewals, runs, strict=True):
            report = renewal.report
            if report is None:
                continue
            if not run.announced:
                events.append(self._of(renewal.delivery, "job.started", run.started_at or report.at))
            if report.fraction is not None or report.message is not None:
                event = self._of(renewal.delivery, "job.progress", report.at, report.message or "")
                events.append(msgspec.structs.replace(event, fraction=report.fraction))
        self._teller.tell(events)

    def before(self, interrupt: Callable[[Run, Interrupt], None]) -> Callable[[Run, Interrupt], None]:
        """`interrupt`, which also tells of runs whose lease is lost: nothing of theirs is settled."""

        def told(run: Run, why: Interrupt) -> None:
            if why is Interrupt.LOST and self._teller.is_followed:
                text = "its lease is lost, so its end will not count"
                self._teller.tell([self._of(run.delivery, "job.lost", self._clock.time(), text)])
            interrupt(run, why)

        return told

    def _of(self, delivery: Delivery, kind: str, at: float, message: str = "") -> Event:
        envelope = delivery.envelope
        return Event(
            kind, at, envelope.queue, envelope.task, envelope.id, self._worker_id, delivery.attempts + 1, message
        )

    def _ended(self, settlement: Settlement, now: float) -> Event:
        """What became of the job, read off its settlement."""
        delivery, action, record = settlement.delivery, settlement.action, settlement.record
        error = settlement.errors[-1] if settlement.errors else None
        message, next_at = "", None
        if action is Action.ACK:
            kind = "job.succeeded"
            if settlement.attempts == delivery.attempts:  # no run was counted
                expired = record is not None and record.status is TaskStatus.FAILED
                kind = "job.failed" if expired else "job.cancelled"
                error = record.errors[-1] if record is not None and record.errors else None
        elif action is Action.DEAD_LETTER:
            kind, message = "job.failed", settlement.reason
        elif action is Action.RELEASE:
            kind = "job.released"
        else:
            kind, next_at = "job.retrying", now + settlement.delay
            errors = read_note(msgspec.structs.replace(delivery, note=settlement.note)).errors
            error = errors[-1] if errors and errors[-1].attempt == delivery.attempts + 1 else None
        event = self._of(delivery, kind, now, message or (error.message if error is not None else ""))
        ran = None
        if record is not None and record.finished_at is not None and record.last_attempted_at is not None:
            ran = max(0.0, record.finished_at - record.last_attempted_at)
        path = error.exception_class_path if error is not None else ""
        return msgspec.structs.replace(event, error=path, next_at=next_at, ran=ran)
