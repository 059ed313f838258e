"""32 threads (faster than fewer), JSON, and of the middleware only that which stores results. A message is
acknowledged after its run; that of a killed worker returns when its heartbeat is a minute old. No bulk call: one
after the other."""

# /// script
# dependencies = ["dramatiq[redis]", "hiredis"]
# ///

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis import Redis

from benchmarks.compare.jobs import ARGUMENTS, BROKER, PLAIN, RESULTS

PACKAGES = ("dramatiq", "redis", "hiredis")
CRASH_SAFE = True

results = Results(backend=RedisBackend(url=RESULTS), store_results=True)
broker = RedisBroker(url=BROKER, middleware=[results])
dramatiq.set_broker(broker)
tasks = {name: dramatiq.actor(function, actor_name=name) for name, function in PLAIN.items()}


def workers(processes: int, job: str) -> list[list[str]]:
    return [[sys.executable, "-m", "dramatiq", __name__, "--processes", str(processes), "--threads", "32"]]


def enqueue(job: str) -> object:
    return tasks[job].send(*ARGUMENTS[job])


def enqueue_in_bulk(job: str, count: int) -> None:
    for _ in range(count):
        tasks[job].send(*ARGUMENTS[job])


def result_of(sent: object) -> object:
    return sent.get_result(block=True, timeout=10_000)


def unfinished(sent: int, broker: Redis, results: Redis) -> int:
    return sent - results.dbsize()


def close() -> None:
    broker.close()
