"""Four threads (eight for jobs that sleep), blocking pops, `notify_result`, so that who waits is pushed the result. No
acknowledgement: what a killed worker had taken is lost. No bulk call: one after the other."""

# /// script
# dependencies = ["huey", "redis", "hiredis"]
# ///

import sys

from huey import RedisHuey
from redis import Redis

from benchmarks.compare.jobs import ARGUMENTS, BROKER, PLAIN

PACKAGES = ("huey", "redis", "hiredis")
CRASH_SAFE = False

app = RedisHuey("compare", url=BROKER, notify_result=True)
tasks = {name: app.task(name=name)(function) for name, function in PLAIN.items()}


def workers(processes: int, job: str) -> list[list[str]]:
    consumer = [sys.executable, "-m", "huey.bin.huey_consumer", f"{__name__}.app", "-k", "thread", "-n", "-q"]
    consumer += ["-w", "8" if job == "sleep" else "4"]
    return [consumer] * processes


def enqueue(job: str) -> object:
    return tasks[job](*ARGUMENTS[job])


def enqueue_in_bulk(job: str, count: int) -> None:
    for _ in range(count):
        tasks[job](*ARGUMENTS[job])


def result_of(sent: object) -> object:
    return sent.get(blocking=True, timeout=10)


def unfinished(sent: int, broker: Redis, results: Redis) -> int:
    return sent - broker.hlen("huey.results.compare")


def close() -> None:
    app.storage.conn.close()
