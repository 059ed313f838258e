"""The steps that begin and keep runs."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.carried.apply import end_unrun
from heeler.brokers.carried.job import CarriedJob, message_key
from heeler.brokers.carried.tables import CarriedTables
from heeler.contracts import BeginAnswer, Begun, Candidate
from heeler.model import Envelope, Renewal, RenewalAnswer, ResultRecord, TaskStatus, with_report

__all__ = ["begin", "begin_unwritten", "renew"]


def begin(tables: CarriedTables, candidate: Candidate, lease: float) -> Begun:
    known = begin_unwritten(tables, candidate)
    if known is not None:
        return known
    now = tables.now
    envelope = candidate.envelope
    job = tables.known_or_added(envelope, envelope.epoch)
    if envelope.epoch > job.sent:  # the store has lost that this one was sent
        job.send_again(envelope, None)
        if job.over:
            job.over = job.cancelled = False
            job.record = None
    if job.is_held(now):
        return Begun(answer=BeginAnswer.HELD, wait=job.lease_until - now)
    if job.cancelled:
        end_unrun(tables, job, "cancelled while it ran on a worker that was lost")
        return _ended(tables, envelope)
    job.epoch += 1
    job.crashes += job.started
    job.started = job.reported = False
    job.begun = True
    job.lease_until = now + lease
    tables.save(job)
    return Begun(
        answer=BeginAnswer.RUN,
        at=now,
        epoch=job.epoch,
        crashes=job.crashes,
        suspect=True,
        expires_at=job.expires_at,
    )


def begin_unwritten(tables: CarriedTables, candidate: Candidate) -> Begun | None:
    """The answer to which nothing has to be written; None if there is none."""
    envelope = candidate.envelope
    if tables.is_paused(envelope.queue):
        return Begun(answer=BeginAnswer.PAUSED)
    job = tables.job(envelope.id)
    if job is not None and (envelope.epoch < job.sent or (job.over and envelope.epoch == job.sent)):
        return _ended(tables, envelope)
    if candidate.redelivered or (job is not None and (job.begun or envelope.epoch > job.sent)):
        return None
    return Begun(
        answer=BeginAnswer.RUN,
        at=tables.now,
        epoch=envelope.epoch,
        crashes=envelope.crashes,
        suspect=envelope.suspect,
        expires_at=job.expires_at if job is not None else envelope.expires_at,
    )


def renew(tables: CarriedTables, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
    lost: set[str] = set()
    cancelled: set[str] = set()
    for renewal in renewals:
        delivery = renewal.delivery
        receipt = delivery.receipt
        job = tables.known_or_added(delivery.envelope, receipt.epoch)
        if job.is_lost(receipt.epoch):
            lost.add(receipt.id)
            continue
        job.begun = True
        job.crashes = delivery.crashes
        job.lease_until = tables.now + lease
        job.started = job.started or renewal.started
        if job.cancelled:
            cancelled.add(receipt.id)
        if renewal.report is not None:
            job.reported = True
            job.record = with_report(_record(job), renewal.report)
            tables.tell(job, TaskStatus.RUNNING, report=renewal.report)
        tables.save(job)
    return RenewalAnswer(frozenset(lost), frozenset(cancelled))


def _record(job: CarriedJob) -> ResultRecord:
    return job.record if job.record is not None else ResultRecord(envelope=job.envelope)


def _ended(tables: CarriedTables, envelope: Envelope) -> Begun:
    return Begun(answer=BeginAnswer.ENDED, unsent=tables.unsent(message_key(envelope.id, envelope.epoch)))
