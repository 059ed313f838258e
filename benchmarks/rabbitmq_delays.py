"""How late delayed messages are in RabbitMQ, when many of all lengths are under way."""

import asyncio
import random
import time

from benchmarks.measure import percentile
from benchmarks.rabbitmq_server import private_rabbitmq
from heeler.brokers.rabbitmq import from_url
from heeler.clock import SystemClock
from heeler.contracts import Outgoing, QueueShare
from heeler.io_thread import IoThread
from heeler.model import Envelope
from heeler.url import BrokerUrl

AT_ONCE = 500


def measure(queue_type: str, count: int, longest: float) -> dict[str, float]:
    """Send `count` messages with delays up to `longest` seconds, evenly mixed; how late they come, counted from before
    they were sent, and how many came early."""
    with private_rabbitmq() as url:
        return asyncio.run(_measure(f"{url}?queue_type={queue_type}&publish_timeout=1m", count, longest))


async def _measure(url: str, count: int, longest: float) -> dict[str, float]:
    broker = from_url(BrokerUrl.parse(url), io=IoThread(), clock=SystemClock(), namespace="bench")
    await broker.open()
    subscription = await broker.subscribe([QueueShare("work")], 30.0, "bench")
    await broker.publish([Outgoing(_envelope("first"), 0.05)])  # makes the queues for delays
    due: dict[str, float] = {}
    late: list[float] = []

    async def take() -> None:
        while len(late) < count:
            await subscription.ready()
            fetched = await subscription.fetch(AT_ONCE, 1 << 24, frozenset(), frozenset())
            now = time.monotonic()
            late.extend(now - due[one.envelope.id] for one in fetched if one.envelope.id in due)
            await broker.acknowledge([one.tag for one in fetched])

    taking = asyncio.create_task(take())
    chance = random.Random(7)
    begin = time.monotonic()
    for start in range(0, count, AT_ONCE):
        now = time.monotonic()
        messages = [Outgoing(_envelope(f"{start + n}"), chance.uniform(0.0, longest) or 0.05) for n in range(AT_ONCE)]
        due.update((message.envelope.id, now + message.delay) for message in messages)
        await broker.publish(messages)
    rate = count / (time.monotonic() - begin)
    await taking
    await broker.close()
    return {
        "published/s": rate,
        "early": sum(seconds < 0 for seconds in late),
        "p50 ms": percentile(late, 0.5) * 1e3,
        "p99 ms": percentile(late, 0.99) * 1e3,
        "max ms": max(late) * 1e3,
    }


def _envelope(id: str) -> Envelope:
    return Envelope(id=id, task="bench", queue="work", body=b"x" * 50, content_type="x-msgpack")
