"""One solo worker per process (ten threads for jobs that sleep; prefork and gevent were slower), JSON, `acks_late`
with `reject_on_worker_lost`, so that a killed worker's jobs return after the visibility timeout; prefetch 64;
events, gossip, mingle and heartbeats off. No bulk call: one kept producer, one job after the other. Joins by
`chord`."""

# /// script
# dependencies = ["celery[redis]", "hiredis"]
# ///

import sys

from celery import Celery, chord
from redis import Redis

from benchmarks.compare.jobs import ARGUMENTS, BROKER, PLAIN, RESULTS

PACKAGES = ("celery", "kombu", "redis", "hiredis")
CRASH_SAFE = True

app = Celery("compare", broker=BROKER, backend=RESULTS)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
tasks = {name: app.task(function, name=f"compare.{name}") for name, function in PLAIN.items()}


def workers(processes: int, job: str) -> list[list[str]]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    pool = ["-P", "threads", "-c", "10"] if job == "sleep" else ["-P", "solo"]
    command = [sys.executable, "-m", "celery", "-A", __name__, "worker", *pool, *quiet]
    return [[*command, "-n", f"worker-{number}"] for number in range(processes)]


def enqueue(job: str) -> object:
    return tasks[job].apply_async(ARGUMENTS[job])


def enqueue_in_bulk(job: str, count: int) -> None:
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            tasks[job].apply_async(ARGUMENTS[job], producer=producer)


def result_of(sent: object) -> object:
    return sent.get(timeout=10)


def join(count: int) -> object:
    return chord([tasks["noop"].s(1, number) for number in range(count)])(tasks["size"].s())


def result_of_join(sent: object) -> object:
    return sent.get(timeout=300)


def unfinished(sent: int, broker: Redis, results: Redis) -> int:
    return sent - results.dbsize()


def close() -> None:
    app.close()
