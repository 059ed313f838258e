"""Coroutine tasks on uvloop, Redis streams (its broker that acknowledges, here `when_saved`), results as JSON by
orjson, 200 jobs at once. No bulk call: 100 `kiq` at a time side by side. A result is polled for every millisecond:
it offers no other way. Joins by `taskiq-pipelines`: `map` over the numbers that a first job gives, and then a last one;
its worker polls for the results every 50 ms."""

# /// script
# dependencies = ["taskiq", "taskiq-redis", "taskiq-pipelines", "hiredis", "uvloop", "orjson"]
# ///

import asyncio
import sys

from redis import Redis
from taskiq.serializers import ORJSONSerializer
from taskiq_pipelines import Pipeline, PipelineMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.compare.jobs import ARGUMENTS, BROKER, COROUTINES, RESULTS

PACKAGES = ("taskiq", "taskiq-redis", "taskiq-pipelines", "redis", "hiredis", "uvloop", "orjson")
CRASH_SAFE = True
SIDE_BY_SIDE = 100

broker = RedisStreamBroker(BROKER, consumer_id="0").with_result_backend(
    RedisAsyncResultBackend(RESULTS, serializer=ORJSONSerializer())
)
broker.add_middlewares(PipelineMiddleware())
tasks = {name: broker.register_task(function, task_name=name) for name, function in COROUTINES.items()}


def workers(processes: int, job: str) -> list[list[str]]:
    options = ["--ack-type", "when_saved", "--max-async-tasks", "200", "--max-prefetch", "200", "--no-parse"]
    where = [f"{__name__}:broker", "--workers", str(processes), "--log-level", "ERROR"]
    return [[sys.executable, "-m", "taskiq", "worker", *where, *options]]


async def enqueue(job: str) -> object:
    return await tasks[job].kiq(*ARGUMENTS[job])


async def enqueue_in_bulk(job: str, count: int) -> None:
    for begin in range(0, count, SIDE_BY_SIDE):
        await asyncio.gather(*(enqueue(job) for _ in range(min(SIDE_BY_SIDE, count - begin))))


async def result_of(sent: object) -> object:
    return (await sent.wait_result(check_interval=0.001, timeout=10)).return_value


async def join(count: int) -> object:
    pipeline = Pipeline(broker, tasks["numbers"]).map(tasks["noop"], check_interval=0.05, b=2)
    return await pipeline.call_next(tasks["size"]).kiq(count)


async def result_of_join(sent: object) -> object:
    return (await sent.wait_result(check_interval=0.05, timeout=300)).return_value


def unfinished(sent: int, broker: Redis, results: Redis) -> int:
    return sent - results.dbsize()


async def close() -> None:
    await broker.shutdown()
