"""RabbitMQ with a store beside it, as the suites want it: delays pass by the manual clock, everything else for real."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from composed_brokers import redis_store
from pika import spec

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.ordered import OrderedBroker
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
from heeler.brokers.rabbitmq.options import options_of
from heeler.brokers.sqlite.ordered_store import store_from_url
from heeler.contracts import Broker, OrderedStore, Outgoing, Queue
from heeler.testing.conformance import Harness
from heeler.url import BrokerUrl
from rabbitmq_server import rabbitmq_url
from services import forget_namespace, redis_url

__all__ = ["RabbitmqMemoryHarness", "RabbitmqRedisHarness", "RabbitmqSqliteHarness"]

_SETTLES = 0.05  # real seconds that the server needs at most to hand on what was just published
_CLEARS = 0.02  # real seconds after which an errand that is done is cleared; until then a lease later others repeat it


class RabbitmqMemoryHarness(Harness):
    denials: ClassVar[frozenset[str]] = frozenset(
        {
            *("shared", "durable"),  # of the memory store
            *("one_step_settle", "lists_waiting"),
            *("exact_priorities", "exact_weights", "keeps_place_on_release", "skips_tasks"),
        }
    )

    queue_type = "classic"

    def __init__(self) -> None:
        super().__init__()
        self._later: list[tuple[float, int, DelayingBroker, Outgoing]] = []
        self._numbers = itertools.count()
        self._plain: list[DelayingBroker] = []

    def store(self) -> OrderedStore:
        return MemoryOrderedStore(clock=self.clock, namespace=self.namespace, name="conformance")

    def make(self) -> Broker:
        options = options_of(BrokerUrl.parse(f"{rabbitmq_url()}?queue_type={self.queue_type}&heartbeat=10s"))
        plain = DelayingBroker(options, io=self.io, clock=self.clock, namespace=self.namespace)
        plain.harness = self
        plain.declare([Queue("default", binding_keys=("a.b",))])  # the routing key of a test
        self._plain.append(plain)
        return OrderedBroker(plain, self.store())

    def keep(self, broker: DelayingBroker, message: Outgoing) -> None:
        due = self.clock.monotonic() + message.delay
        heapq.heappush(self._later, (due, next(self._numbers), broker, message))

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(_CLEARS)
        await super().advance(seconds)
        while self._later and self._later[0][0] <= self.clock.monotonic():
            _, _, broker, message = heapq.heappop(self._later)
            await broker.publish([Outgoing(message.envelope)])
        await asyncio.sleep(_SETTLES)

    async def close(self) -> None:
        for plain in self._plain:
            topology = plain._topology
            if plain._link.current is not None:
                channel = await plain._link.current.channel()
                names = [topology.on_server(queue) for queue in topology.known] + [topology.dead_queue]
                await channel.call_all([spec.Queue.Delete(queue=name) for name in names])
                await channel.close()
        await super().close()


class RabbitmqSqliteHarness(RabbitmqMemoryHarness):
    denials = RabbitmqMemoryHarness.denials - {"shared", "durable"}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "results.db"

    def store(self) -> OrderedStore:
        url = BrokerUrl.parse(f"sqlite:///{self.path}")
        return store_from_url(url, io=self.io, clock=self.clock, namespace=self.namespace)


class RabbitmqRedisHarness(RabbitmqMemoryHarness):
    queue_type = "quorum"
    denials = RabbitmqMemoryHarness.denials - {"shared", "durable"}

    def store(self) -> OrderedStore:
        return redis_store(self, redis_url())

    async def close(self) -> None:
        await super().close()
        forget_namespace(redis_url(), self.namespace)


class DelayingBroker(RabbitmqBroker):
    """Keeps what is delayed in the harness, until its clock says that it is due."""

    harness: RabbitmqMemoryHarness

    async def publish(self, messages: Sequence[Outgoing]) -> list[str]:
        for message in messages:
            if message.delay > 0.0:
                self.harness.keep(self, message)
        now = [message for message in messages if message.delay <= 0.0]
        answers = iter(await super().publish(now) if now else ())
        return ["" if message.delay > 0.0 else next(answers) for message in messages]
