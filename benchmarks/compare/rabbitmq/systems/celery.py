"""One solo worker (prefork, threads and gevent were slower), JSON, `acks_late` with `reject_on_worker_lost`, prefetch
64, publisher confirms; events, gossip, mingle and heartbeats off. No bulk call: one kept producer, one job after the
other, each confirmed."""

# /// script
# dependencies = ["celery[redis]", "hiredis"]
# ///

import sys

from celery import Celery
from kombu import Queue

from benchmarks.compare.rabbitmq.jobs import BROKER, QUEUE, QUEUE_TYPE, RESULTS
from benchmarks.compare.rabbitmq.jobs import noop as function

PACKAGES = ("celery", "kombu", "amqp", "redis")
QUEUE_TYPES = ("quorum", "classic")

app = Celery("compare", broker=BROKER, backend=RESULTS or None)
app.conf.update(
    task_queues=[Queue(QUEUE, routing_key=QUEUE, queue_arguments={"x-queue-type": QUEUE_TYPE})],
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=not RESULTS,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
noop = app.task(function, name="compare.noop")


def worker() -> list[str]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    return [sys.executable, "-m", "celery", "-A", __name__, "worker", "-P", "solo", *quiet]


def enqueue() -> object:
    return noop.apply_async((1, 2))


def enqueue_in_bulk(count: int) -> None:
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            noop.apply_async((1, 2), producer=producer)


def result_is_kept() -> bool:
    return bool(RESULTS) and noop.apply_async((1, 2)).get(timeout=10) == 3


def close() -> None:
    app.close()
