"""The steps that lease jobs out and keep leases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from heeler.brokers.memory.job import Job, Phase, current_record, holds
from heeler.brokers.memory.publish import arrive
from heeler.brokers.memory.queue import MemoryQueue
from heeler.brokers.memory.state import MemoryState
from heeler.model import (
    Arrival,
    Delivery,
    Notice,
    Receipt,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    TaskStatus,
    with_report,
)

__all__ = ["Shares", "extend", "fetch"]


class Shares:
    """The queues of one subscription: in strict order, or by weight as nginx's smooth weighted round robin does.

    That spreads each queue's picks evenly: weights 3 and 1 give a a b a, not a a a b.
    """

    def __init__(self, queues: Sequence[MemoryQueue], weights: Sequence[int | None]) -> None:
        self.queues = tuple(queues)
        self._strict = all(weight is None for weight in weights)
        self._weights = [1 if weight is None else weight for weight in weights]
        self._credit = [0] * len(self.queues)

    def take(self, skip: frozenset[str]) -> Iterator[Job]:
        """Pop job after job, as far as the caller goes on."""
        if self._strict or len(self.queues) == 1:
            for queue in self.queues:
                if not queue.paused:
                    yield from queue.take(skip)
            return
        sources = {index: queue.take(skip) for index, queue in enumerate(self.queues) if queue.has_work(skip)}
        while sources:
            chosen = self._choose(sources)
            job = next(sources[chosen], None)
            if job is not None:
                self._charge(chosen, sources)
                yield job
            else:
                del sources[chosen]

    def _choose(self, open_: dict[int, Iterator[Job]]) -> int:
        return max(open_, key=lambda index: self._credit[index] + self._weights[index])

    def _charge(self, chosen: int, open_: dict[int, Iterator[Job]]) -> None:
        for index in open_:
            self._credit[index] += self._weights[index]
            self._credit[chosen] -= self._weights[index]


def fetch(
    state: MemoryState, shares: Shares, lease: float, limit: int, max_bytes: int, skip: frozenset[str]
) -> list[Delivery]:
    now = state.clock.time()
    state.bring_back(shares.queues, now)
    deliveries: list[Delivery] = []
    arrivals: list[Arrival] = []
    leased = state.leased
    until = now + lease
    if limit > 0:
        for job in shares.take(skip):
            if job.cancelled:
                arrivals += state.end_unrun(job, "cancelled while it ran on a worker that was lost", now)
                continue
            envelope = job.envelope
            if job.held:
                job.suspect = True
                job.crashes += job.started
                job.started = job.reported = False
            job.held = True
            job.epoch += 1
            job.lease_until = until
            job.phase = Phase.LEASED
            leased[envelope.id] = job
            deliveries.append(
                Delivery(
                    envelope=envelope,
                    receipt=Receipt(envelope.id, job.epoch, job.number),
                    leased_at=now,
                    expires_at=job.expires_at,
                    attempts=job.attempts,
                    crashes=job.crashes,
                    suspect=job.suspect,
                    note=job.note,
                )
            )
            max_bytes -= len(envelope.body)
            limit -= 1
            if not limit or max_bytes < 0:
                break
    if deliveries:
        _lease_ends(state, until)
    arrive(state, arrivals, now)
    if state.idle:
        for queue in shares.queues:  # what this one leaves is for the next that waits
            state.idle.wake(queue, 1)
    state.finish()
    return deliveries


def extend(state: MemoryState, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
    now = state.clock.time()
    lost: set[str] = set()
    cancelled: set[str] = set()
    for renewal in renewals:
        receipt = renewal.delivery.receipt
        job = state.jobs.get(receipt.id)
        if not holds(job, receipt):
            lost.add(receipt.id)
            continue
        if job.phase is not Phase.LEASED:
            state.withdraw(job)
            job.phase = Phase.LEASED
            state.leased[receipt.id] = job
        job.lease_until = now + lease
        job.started = job.started or renewal.started
        if job.cancelled:
            cancelled.add(receipt.id)
        if renewal.report is not None:
            job.reported = True
            known = job.record if job.record is not None else ResultRecord(envelope=job.envelope)
            job.record = with_report(known, renewal.report)
            if state.news.heard(job.envelope):
                record = current_record(job, now)
                state.news.tell(
                    job.envelope,
                    Notice(id=receipt.id, status=TaskStatus.RUNNING, record=record, report=renewal.report),
                )
    _lease_ends(state, now + lease)
    state.finish()
    return RenewalAnswer(frozenset(lost), frozenset(cancelled))


def _lease_ends(state: MemoryState, at: float) -> None:
    if at < state.first_lease_end:
        state.first_lease_end = at
        state.ring_at(at)
