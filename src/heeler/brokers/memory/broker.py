"""The memory broker: the contract's verbs as thin shells around steps over one shared state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from heeler.brokers.memory.admin import MemoryQueueAdmin
from heeler.brokers.memory.control import MemoryControlChannel
from heeler.brokers.memory.lease import Shares, extend, fetch
from heeler.brokers.memory.news import Bell
from heeler.brokers.memory.publish import publish
from heeler.brokers.memory.schedules import MemoryScheduleStore
from heeler.brokers.memory.settle import settle
from heeler.brokers.memory.state import MemoryState, shared_state
from heeler.brokers.memory.store import MemoryResultStore
from heeler.brokers.memory.wakeups import Alarm
from heeler.clock import Clock
from heeler.contracts import Broker, Features, QueueShare, Subscription
from heeler.io_thread import IoThread
from heeler.model import CallId, Delivery, Publication, PublishResult, Renewal, RenewalAnswer, Settlement, SettleResult

__all__ = ["MemoryBroker"]


class MemorySubscription(Subscription):
    """What one worker takes from its queues. `queues` and `skipped` are for those who wake it."""

    def __init__(self, state: MemoryState, shares: Shares, lease: float) -> None:
        self.queues = shares.queues
        self.skipped: frozenset[str] = frozenset()
        self._state = state
        self._shares = shares
        self._lease = lease
        self._bell = Bell()
        self._quiet = False

    def wake(self) -> bool:
        return self._bell.ring()

    async def ready(self) -> None:
        state = self._state
        with state.lock:
            self._bell.reset()
            if not self._quiet:
                state.bring_back(self.queues, state.clock.time())
                state.finish()
                if any(queue.has_work(self.skipped) for queue in self.queues):
                    return
                state.idle.add(self)
        try:
            await self._bell.wait()
        except asyncio.CancelledError:
            self._leave()
            raise

    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        if self._quiet:
            return []
        self.skipped = skip_tasks
        with self._state.lock:
            return fetch(self._state, self._shares, self._lease, limit, max_bytes, skip_tasks)

    async def quiet(self) -> None:
        self._quiet = True
        self._leave()

    def _leave(self) -> None:
        """Wait no more. If it was woken meanwhile, the wake is passed on: this one will not fetch."""
        state = self._state
        with state.lock:
            if not state.idle.remove(self):
                for queue in self.queues:
                    state.idle.wake(queue, 1)


class MemoryBroker(Broker):
    """Jobs in the memory of this process: as fast as it gets, and gone with the process.

    Brokers of the same `name` share their jobs, from whatever thread or loop they are used, as long as one of them
    exists; without a name the jobs are this object's own.
    """

    features = Features(shared=False, durable=False)
    store: MemoryResultStore
    admin: MemoryQueueAdmin
    schedules: MemoryScheduleStore
    control: MemoryControlChannel

    def __init__(
        self,
        *,
        io: IoThread,
        clock: Clock,
        namespace: str,
        name: str | None = None,
        max_payload: int = Broker.max_payload,
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        self.name = name
        self.max_payload = max_payload
        self._state = shared_state(namespace, name, clock, self.max_payload)
        self._alarm: Alarm | None = None
        self.store = MemoryResultStore(self._state)
        self.admin = MemoryQueueAdmin(self._state)
        self.schedules = MemoryScheduleStore(self._state)
        self.control = MemoryControlChannel(self._state)

    async def open(self) -> None:
        self._alarm = Alarm(self._state.clock, self._state.ring)
        with self._state.lock:
            self._state.alarms.append(self._alarm)
        self._alarm.set(self._state.clock.time())  # what waits from earlier may be due

    async def close(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            with self._state.lock:
                self._state.alarms = [other for other in self._state.alarms if other is not alarm]
            await alarm.close()

    async def publish(self, publication: Publication) -> list[PublishResult]:
        with self._state.lock:
            return publish(self._state, publication)

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        """`publish` in the calling thread: there is nothing to wait for but the lock."""
        with self._state.lock:
            return publish(self._state, publication)

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        with self._state.lock:
            known = [self._state.queue(share.queue) for share in queues]
        return MemorySubscription(self._state, Shares(known, [share.weight for share in queues]), lease)

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self._state.lock:
            return extend(self._state, renewals, lease)

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        with self._state.lock:
            return settle(self._state, settlements, call)

    async def doctor(self) -> list[tuple[str, str, str]]:
        return [("warning", "durability", "memory:// keeps jobs in this process only: they end with it")]
