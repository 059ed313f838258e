"""Runs what is due in the calling thread, through all the parts of a real worker, until nothing due is left.

Tests use it as `heeler.testing.drain`, and `eager://` after each publication.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Protocol

from heeler.connections import Connections
from heeler.contracts import Broker, QueueShare, Subscription
from heeler.errors import HeelerError
from heeler.model import (
    Action,
    CallId,
    Delivery,
    Publication,
    PublishResult,
    Renewal,
    RenewalAnswer,
    SettleAnswer,
    Settlement,
    SettleResult,
)
from heeler.worker.worker import Worker

__all__ = ["Drain", "InHand", "WorkerMaker", "in_event_loop"]


class WorkerMaker(Protocol):
    """Makes a worker that works through these connections, takes one job at a time, and ends when nothing is left.

    It takes from `queues`; None: from the app's usual ones, and then from those that are `known` besides.
    """

    def __call__(self, connections: Connections, queues: Sequence[str] | None, known: Sequence[str] = ()) -> Worker: ...


class InHand:
    """The jobs that drains have in hand just now; shared by those that may take each other's jobs."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._put_back: set[str] = set()
        self._changed = threading.Condition()

    def take(self, id: str) -> None:
        with self._changed:
            self._ids.add(id)
            self._put_back.discard(id)

    def let_go(self, id: str, *, over: bool) -> None:
        """The job has ended, or (not `over`) is to run again."""
        with self._changed:
            self._ids.discard(id)
            if not over:
                self._put_back.add(id)
            self._changed.notify_all()

    def wait_without(self, ids: set[str]) -> bool:
        """Wait until none of these is in hand. True if one was, or was put back since this was asked: it may be due."""
        with self._changed:
            met = not self._ids.isdisjoint(ids) or not self._put_back.isdisjoint(ids)
            self._changed.wait_for(lambda: self._ids.isdisjoint(ids))
            self._put_back -= ids
            return met


class _OneByOne(Broker):
    """Another broker, as one drain sees it: hands out a job when the one before is settled, at most `limit` in all.

    So a job that enqueues in eager mode, and blocks its loop until that has run, does not find it fetched behind it.
    """

    def __init__(self, broker: Broker, in_hand: InHand, limit: int | None) -> None:
        super().__init__(io=broker.io, clock=broker.clock, namespace=broker.namespace)
        self.features = broker.features
        self.store = broker.store
        self.max_payload = broker.max_payload
        self.runs = 0
        self._broker = broker
        self._in_hand = in_hand
        self._limit = limit
        self._taken: str | None = None

    async def open(self) -> None:
        """The broker behind it is open."""

    async def close(self) -> None:
        """The broker behind it is the app's to close."""

    async def publish(self, publication: Publication) -> list[PublishResult]:
        return await self._broker.publish(publication)

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        return _OneByOneSubscription(self, await self._broker.subscribe(queues, lease, worker_id))

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        return await self._broker.extend(renewals, lease)

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        answers = await self._broker.settle(settlements, call)
        for settlement, result in zip(settlements, answers, strict=True):
            if result.answer is not SettleAnswer.INVALID:  # that one is settled again
                self.runs += settlement.action is not Action.RELEASE
                self.let_go(over=settlement.action in (Action.ACK, Action.DEAD_LETTER))
        return answers

    @property
    def may_hand_out(self) -> bool:
        return self._taken is None and (self._limit is None or self.runs < self._limit)

    def take(self, delivery: Delivery) -> None:
        self._taken = delivery.receipt.id
        self._in_hand.take(self._taken)

    def let_go(self, *, over: bool) -> None:
        if self._taken is not None:
            self._in_hand.let_go(self._taken, over=over)
            self._taken = None


class _OneByOneSubscription(Subscription):
    def __init__(self, broker: _OneByOne, subscription: Subscription) -> None:
        self._broker = broker
        self._subscription = subscription

    async def ready(self) -> None:
        await self._subscription.ready()

    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        if not self._broker.may_hand_out:
            return []
        deliveries = await self._subscription.fetch(min(limit, 1), max_bytes, skip_tasks)
        for delivery in deliveries:
            self._broker.take(delivery)
        return deliveries

    async def quiet(self) -> None:
        await self._subscription.quiet()


class Drain:
    """Runs what is due in the calling thread, job after job in the order of their queues.

    Delayed jobs, and retries with a delay, wait for their time and for the next drain.
    """

    def __init__(self, connections: Connections, make_worker: WorkerMaker, in_hand: InHand | None = None) -> None:
        self._connections = connections
        self._make_worker = make_worker
        self._in_hand = in_hand or InHand()

    def run(self, queues: Sequence[str] | None = None, limit: int | None = None) -> int:
        """Drain in an event loop of its own; how many runs ended, `limit` at most. None means all queues."""
        if in_event_loop():
            raise HeelerError("drain(app) blocks, and this thread runs an event loop: write `await adrain(app)`")
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(self.arun(queues, limit))

    async def arun(self, queues: Sequence[str] | None = None, limit: int | None = None) -> int:
        """Drain in the caller's event loop."""
        opened = await self._connections.io.arun(self._connections.opened())
        broker = _OneByOne(opened, self._in_hand, limit)
        connections = Connections(
            broker,
            None,
            clock=self._connections.clock,
            namespace=self._connections.namespace,
            logger=self._connections.logger,
        )
        drained: list[str] | None = None
        try:
            # Again if a job has used a queue that was not there before.
            while (known := await self._connections.io.arun(_known_queues(opened))) != drained:
                await self._make_worker(connections, queues, known).arun()
                drained = known
        finally:
            broker.let_go(over=False)
        return broker.runs


async def _known_queues(broker: Broker) -> list[str]:
    return [] if broker.admin is None else [size.queue for size in await broker.admin.sizes()]


def in_event_loop() -> bool:
    """Whether this thread turns an event loop just now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
