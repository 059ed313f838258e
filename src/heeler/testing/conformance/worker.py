"""A worker in miniature, to try a broker by hand: it leases, extends and settles what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from heeler.clock import new_id
from heeler.contracts import Broker, QueueShare, Subscription
from heeler.model import (
    Action,
    CallId,
    Delivery,
    Envelope,
    Guard,
    Latch,
    Publication,
    PublishResult,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    RunReport,
    SettleAnswer,
    Settlement,
    SettleResult,
    TaskStatus,
)

__all__ = ["PATIENCE", "Worker", "make_envelope", "publish", "settlement", "success"]

PATIENCE = 10.0  # real seconds within which a push must arrive


def make_envelope(id: str | None = None, **fields: Any) -> Envelope:
    """An envelope for a job that no code has to run."""
    given: dict[str, Any] = {"task": "suite.work", "queue": "default", "body": b"\x90", "content_type": "x-msgpack"}
    return Envelope(id=id if id is not None else new_id(), **{**given, **fields})


async def publish(
    broker: Broker,
    *envelopes: Envelope,
    latches: Iterable[Latch] = (),
    guard: Guard | None = None,
    call: CallId | None = None,
) -> list[PublishResult]:
    return await broker.publish(Publication(envelopes=envelopes, latches=tuple(latches), guard=guard, call=call))


def success(envelope: Envelope, **fields: Any) -> ResultRecord:
    """The record of a run that returned."""
    given: dict[str, Any] = {"status": TaskStatus.SUCCESSFUL, "attempts": 1, "value": b"\x2a", "finished_at": 1.0}
    return ResultRecord(envelope=envelope, **{**given, **fields})


class Worker:
    """One subscription of one broker."""

    def __init__(self, broker: Broker, subscription: Subscription, lease: float) -> None:
        self.broker = broker
        self.subscription = subscription
        self.lease = lease

    @classmethod
    async def of(cls, broker: Broker, *queues: str, lease: float = 30.0, **weights: int) -> Worker:
        """Subscribe to the queues in strict order, or by weights; to `default` where none is named."""
        shares = [QueueShare(queue) for queue in queues] + [
            QueueShare(queue, share) for queue, share in weights.items()
        ]
        subscription = await broker.subscribe(shares or [QueueShare("default")], lease, f"worker-{new_id()}")
        return cls(broker, subscription, lease)

    async def fetch(self, limit: int = 1000, **options: Any) -> list[Delivery]:
        """What is there at this moment."""
        return await self.subscription.fetch(limit, **options)

    async def take(self, jobs: int = 1, **options: Any) -> list[Delivery]:
        """Exactly so many jobs, waiting for them as a worker does."""
        taken: list[Delivery] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while len(taken) < jobs:
                    await self.subscription.ready()
                    taken += await self.subscription.fetch(jobs - len(taken), **options)
        except TimeoutError:
            ids = [delivery.envelope.id for delivery in taken]
            raise AssertionError(f"waited {PATIENCE:g} s for {jobs} jobs, {len(ids)} came: {ids}") from None
        return taken

    async def take_one(self) -> Delivery:
        return (await self.take(1))[0]

    async def take_ids(self, jobs: int) -> list[str]:
        return [delivery.envelope.id for delivery in await self.take(jobs)]

    async def settle(self, *settlements: Settlement, call: CallId | None = None) -> list[SettleResult]:
        return await self.broker.settle(settlements, call)

    async def end(self, delivery: Delivery, action: Action = Action.ACK, **fields: Any) -> SettleAnswer:
        """Settle one delivery; the counters and the note stay as they came unless `fields` say otherwise."""
        [result] = await self.settle(settlement(delivery, action, **fields))
        return result.answer

    async def succeed(self, *deliveries: Delivery) -> None:
        """End jobs with a result; all must be accepted."""
        results = await self.settle(
            *(settlement(delivery, record=success(delivery.envelope)) for delivery in deliveries)
        )
        assert [result.answer for result in results] == [SettleAnswer.ACCEPTED] * len(deliveries)

    async def extend(
        self, *deliveries: Delivery, started: bool = False, report: RunReport | None = None
    ) -> RenewalAnswer:
        renewals = [Renewal(delivery=delivery, started=started, report=report) for delivery in deliveries]
        return await self.broker.extend(renewals, self.lease)


def settlement(delivery: Delivery, action: Action = Action.ACK, **fields: Any) -> Settlement:
    """A settlement that leaves the counters as the delivery has them, unless `fields` say otherwise."""
    kept: dict[str, Any] = {
        "attempts": delivery.attempts,
        "crashes": delivery.crashes,
        "suspect": delivery.suspect,
        "note": delivery.note,
    }
    return Settlement(delivery=delivery, action=action, **{**kept, **fields})
