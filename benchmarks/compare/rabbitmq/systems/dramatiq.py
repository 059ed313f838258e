"""One process with 8 threads, its default, JSON, publisher confirms, and of the middleware only that which stores
results. A message is acknowledged after its run. It declares no quorum queues. No bulk call: one after the other, each
confirmed."""

# /// script
# dependencies = ["dramatiq[rabbitmq,redis]", "hiredis"]
# ///

import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.compare.rabbitmq.jobs import BROKER, QUEUE, RESULTS
from benchmarks.compare.rabbitmq.jobs import noop as function

PACKAGES = ("dramatiq", "pika", "redis")
QUEUE_TYPES = ("classic",)

middleware = [Results(backend=RedisBackend(url=RESULTS), store_results=True)] if RESULTS else []
broker = RabbitmqBroker(url=BROKER, confirm_delivery=True, middleware=middleware)
dramatiq.set_broker(broker)
noop = dramatiq.actor(function, actor_name="noop", queue_name=QUEUE)


def worker() -> list[str]:
    return [sys.executable, "-m", "dramatiq", __name__, "--processes", "1", "--threads", "8"]


def enqueue() -> object:
    return noop.send(1, 2)


def enqueue_in_bulk(count: int) -> None:
    for _ in range(count):
        noop.send(1, 2)


def result_is_kept() -> bool:
    return bool(RESULTS) and noop.send(1, 2).get_result(block=True, timeout=10_000) == 3


def close() -> None:
    broker.close()
