"""Coroutine tasks on uvloop; read-ahead, batches, confirms and all else as they come, but 100 jobs at once instead of
20. Always crash-safe."""

# /// script
# dependencies = [".[rabbitmq,redis,fast]"]
# ///

import sys

from benchmarks.compare.rabbitmq.jobs import BROKER, QUEUE, QUEUE_TYPE, RESULTS, async_noop
from heeler import Heeler

PACKAGES = ("heeler", "msgspec", "pika", "uvloop")
QUEUE_TYPES = ("quorum", "classic")

app = Heeler(
    f"{BROKER}?queue_type={QUEUE_TYPE}&prefix=", results=RESULTS or "none://", default_queue=QUEUE, namespace=QUEUE
)
noop = app.task(async_noop, name="compare.noop")


def worker() -> list[str]:
    """The command that starts one worker process, set up as is best for such jobs."""
    where = ["--app", "benchmarks.compare.rabbitmq.systems.heeler:app", "--log-level", "warning"]
    return [sys.executable, "-m", "heeler", "worker", *where, "--concurrency", "100"]


def enqueue() -> object:
    """Send one, and return when the server has confirmed it."""
    return noop.enqueue(1, 2)


def enqueue_in_bulk(count: int) -> None:
    """Send many in whatever way is fastest here, and return when all are confirmed."""
    noop.enqueue_many([(1, 2)] * count)


def result_is_kept() -> bool:
    """Whether who asks for a result gets it."""
    return bool(RESULTS) and noop.enqueue(1, 2).get(timeout=10) == 3


def close() -> None:
    app.close()
