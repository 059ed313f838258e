"""Coroutine tasks on uvloop, results in the same Redis, end and result in one step; read-ahead, batches and all else
as they come, but 100 jobs at once instead of 20. Always crash-safe."""

# /// script
# dependencies = [".[redis,fast]", "redis"]
# ///

import sys

from redis import Redis

from benchmarks.compare.jobs import ARGUMENTS, BROKER, COROUTINES
from heeler import Heeler, chord, group

PACKAGES = ("heeler", "msgspec", "hiredis", "uvloop")
CRASH_SAFE = True

app = Heeler(BROKER)
tasks = {name: app.task(function, name=f"compare.{name}") for name, function in COROUTINES.items()}


def workers(processes: int, job: str) -> list[list[str]]:
    """The commands that start so many worker processes, set up as is best for such jobs."""
    where = ["--app", "benchmarks.compare.systems.heeler:app", "--log-level", "warning"]
    return [[sys.executable, "-m", "heeler", "worker", *where, "--processes", str(processes), "--concurrency", "100"]]


def enqueue(job: str) -> object:
    """Enqueue one; what `result_of` takes."""
    return tasks[job].enqueue(*ARGUMENTS[job])


def enqueue_in_bulk(job: str, count: int) -> None:
    """Enqueue many in whatever way is fastest here."""
    tasks[job].enqueue_many([ARGUMENTS[job]] * count)


def result_of(sent: object) -> object:
    """Wait for the result, as fast as can be."""
    return sent.get(timeout=10)


def join(count: int) -> object:
    """Jobs of which one more waits for all, and gets the list of their results; None stands for what cannot do that."""
    return chord(group(tasks["noop"].s(1, number) for number in range(count)), tasks["size"].s()).enqueue()


def result_of_join(sent: object) -> object:
    """Wait for the last one."""
    return sent.get(timeout=300)


def unfinished(sent: int, broker: Redis, results: Redis) -> int:
    """Of `sent` jobs, all that there were since both databases were empty, how many have no result yet."""
    return broker.zcard("{heeler}:waiting:default") + broker.zcard("{heeler}:leased:default")


def close() -> None:
    app.close()
