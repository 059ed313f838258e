"""The steps that begin and keep runs."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.memory.job import with_report
from heeler.brokers.memory.ordered.apply import end_unrun, known_job
from heeler.brokers.memory.ordered.jobs import CarriedJob, current_record, message_key
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import BeginAnswer, Begun, Candidate
from heeler.model import Envelope, Notice, Renewal, RenewalAnswer, ResultRecord, TaskStatus

__all__ = ["begin", "renew"]


def begin(state: MemoryState, candidate: Candidate, lease: float, now: float) -> Begun:
    envelope = candidate.envelope
    if envelope.queue in state.carried.paused:
        return Begun(answer=BeginAnswer.PAUSED)
    job = state.carried.get(envelope.id)
    if job is not None and _is_over(job, envelope):
        return _ended(state, envelope, now)
    if job is None or envelope.epoch > job.sent:  # the store has forgotten it, or the part of it that sent this
        if not candidate.redelivered:
            return _first_run(envelope, envelope.expires_at, now)
        job = state.carried.add(CarriedJob(envelope=envelope, sent=envelope.epoch, epoch=envelope.epoch))
        job.send_again(envelope, None)
    if not (candidate.redelivered or job.begun):
        return _first_run(envelope, job.expires_at, now)
    if job.is_held(now):
        return Begun(answer=BeginAnswer.HELD, wait=job.lease_until - now)
    if job.cancelled:
        end_unrun(state, job, "cancelled while it ran on a worker that was lost", now)
        return _ended(state, envelope, now)
    job.epoch += 1
    job.crashes += job.started
    job.started = job.reported = False
    job.begun = True
    job.lease_until = now + lease
    return Begun(
        answer=BeginAnswer.RUN,
        at=now,
        epoch=job.epoch,
        crashes=job.crashes,
        suspect=True,
        expires_at=job.expires_at,
    )


def renew(state: MemoryState, renewals: Sequence[Renewal], lease: float, now: float) -> RenewalAnswer:
    lost: set[str] = set()
    cancelled: set[str] = set()
    for renewal in renewals:
        delivery = renewal.delivery
        receipt = delivery.receipt
        job = known_job(state, delivery.envelope, receipt.epoch)
        if job.over or job.epoch != receipt.epoch:
            lost.add(receipt.id)
            continue
        job.begun = True
        job.crashes = delivery.crashes
        job.lease_until = now + lease
        job.started = job.started or renewal.started
        if job.cancelled:
            cancelled.add(receipt.id)
        if renewal.report is not None:
            job.reported = True
            record = job.record if job.record is not None else ResultRecord(envelope=job.envelope)
            job.record = with_report(record, renewal.report)
            if state.news.heard(job.envelope):
                notice = Notice(
                    id=receipt.id,
                    status=TaskStatus.RUNNING,
                    record=current_record(job, now),
                    report=renewal.report,
                )
                state.news.tell(job.envelope, notice)
    return RenewalAnswer(frozenset(lost), frozenset(cancelled))


def _is_over(job: CarriedJob, envelope: Envelope) -> bool:
    """Whether the message is one that has ended."""
    return envelope.epoch < job.sent or (job.over and envelope.epoch == job.sent)


def _first_run(envelope: Envelope, expires_at: float | None, now: float) -> Begun:
    return Begun(
        answer=BeginAnswer.RUN,
        at=now,
        epoch=envelope.epoch,
        crashes=envelope.crashes,
        suspect=envelope.suspect,
        expires_at=expires_at,
    )


def _ended(state: MemoryState, envelope: Envelope, now: float) -> Begun:
    unsent = state.carried.unsent(message_key(envelope.id, envelope.epoch), now)
    return Begun(answer=BeginAnswer.ENDED, unsent=unsent)
