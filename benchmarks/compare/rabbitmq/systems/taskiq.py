"""taskiq-aio-pika: coroutine tasks on uvloop, acknowledged `when_saved`, publisher confirms (aio-pika's default),
prefetch and jobs at once 200, results as JSON by orjson. No bulk call: 100 `kiq` at a time side by side."""

# /// script
# dependencies = ["taskiq", "taskiq-aio-pika", "taskiq-redis", "hiredis", "uvloop", "orjson"]
# ///

import asyncio
import sys

from taskiq.serializers import ORJSONSerializer
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType
from taskiq_redis import RedisAsyncResultBackend

from benchmarks.compare.rabbitmq.jobs import BROKER, QUEUE, QUEUE_TYPE, RESULTS, async_noop

PACKAGES = ("taskiq", "taskiq-aio-pika", "aio-pika", "aiormq", "uvloop")
QUEUE_TYPES = ("quorum", "classic")
SIDE_BY_SIDE = 100

kind = QueueType(QUEUE_TYPE)
broker = AioPikaBroker(
    BROKER,
    qos=200,
    exchange=Exchange(name=f"{QUEUE}.taskiq"),
    task_queues=[Queue(name=QUEUE, type=kind)],
    dead_letter_queue=Queue(name=f"{QUEUE}.dead", type=kind),
)
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(RESULTS, serializer=ORJSONSerializer()))
noop = broker.register_task(async_noop, task_name="noop")
started = False


def worker() -> list[str]:
    options = ["--ack-type", "when_saved", "--max-async-tasks", "200", "--max-prefetch", "200", "--no-parse"]
    where = [f"{__name__}:broker", "--workers", "1", "--log-level", "ERROR"]
    return [sys.executable, "-m", "taskiq", "worker", *where, *options]


async def enqueue() -> object:
    global started
    if not started:
        await broker.startup()
        started = True
    return await noop.kiq(1, 2)


async def enqueue_in_bulk(count: int) -> None:
    for begin in range(0, count, SIDE_BY_SIDE):
        await asyncio.gather(*(enqueue() for _ in range(min(SIDE_BY_SIDE, count - begin))))


async def result_is_kept() -> bool:
    sent = await enqueue()
    if not RESULTS:
        return False
    return (await sent.wait_result(check_interval=0.001, timeout=10)).return_value == 3


async def close() -> None:
    await broker.shutdown()
