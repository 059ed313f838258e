"""What the tests of the RabbitMQ broker share: brokers in a namespace of their own, whose queues end with the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from heeler.brokers.rabbitmq import from_url
from heeler.brokers.rabbitmq.broker import RabbitmqBroker
from heeler.clock import SystemClock, new_id
from heeler.contracts import Outgoing, PlainDelivery, PlainSubscription, Queue
from heeler.io_thread import IoThread
from heeler.model import Envelope
from heeler.url import BrokerUrl
from rabbitmq_server import rabbitmq_url, remove_all

__all__ = ["PATIENCE", "envelope", "fetch", "make", "opened", "remove_all", "send", "take"]

PATIENCE = 20.0


def envelope(**fields: Any) -> Envelope:
    return Envelope(**{"id": new_id(), "task": "t", "queue": "q", "body": b"body", "content_type": "m", **fields})


def make(
    options: str = "", *, namespace: str, queues: tuple[Queue, ...] = (), url: str | None = None
) -> RabbitmqBroker:
    url = url or f"{rabbitmq_url()}?connect_timeout=20s&publish_timeout=20s{options}"
    broker = from_url(BrokerUrl.parse(url), io=IoThread(), clock=SystemClock(), namespace=namespace)
    broker.declare(queues)
    return broker


@contextlib.asynccontextmanager
async def opened(
    options: str = "&queue_type=classic", *, namespace: str | None = None, queues: tuple[Queue, ...] = ()
) -> AsyncIterator[RabbitmqBroker]:
    broker = make(options, namespace=namespace or f"test-{new_id()}", queues=queues)
    await broker.open()
    try:
        yield broker
    finally:
        if namespace is None:
            await remove_all(broker)
        await broker.close()


async def send(broker: RabbitmqBroker, *envelopes: Envelope, delay: float = 0.0) -> list[str]:
    return await broker.publish([Outgoing(one, delay) for one in envelopes])


async def fetch(subscription: PlainSubscription, limit: int = 100) -> list[PlainDelivery]:
    return await subscription.fetch(limit, 1 << 20, frozenset(), frozenset())


async def take(subscription: PlainSubscription, count: int) -> list[PlainDelivery]:
    """Exactly so many, waiting for them as a worker does."""
    taken: list[PlainDelivery] = []
    async with asyncio.timeout(PATIENCE):
        while True:
            taken += await fetch(subscription, max(1, count - len(taken)))
            if len(taken) >= count:
                return taken
            await subscription.ready()
