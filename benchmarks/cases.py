"""The cases, each run in a process of its own: `python -m benchmarks.cases NAME OPTIONS` prints figures as JSON."""

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.measure import percentile
from benchmarks.redis_costs import redis_costs  # noqa: F401 - a case like those below
from benchmarks.stages import by_stage  # noqa: F401 - a case like those below


def drain(kind: str, jobs: int, backlog: int = 0, scheduled: int = 0) -> dict[str, float]:
    """Enqueue, then start one worker in this process and time it until `jobs` have ended, results stored."""
    from benchmarks.jobs import app

    task = app.tasks[f"{kind}_noop"]
    for _ in task.enqueue_iter((n, n) for n in range(jobs + backlog)):
        pass
    if scheduled:
        for _ in task.using(run_after=86400).enqueue_iter((n, n) for n in range(scheduled)):
            pass
    cpu = time.process_time()
    seconds = drain_waiting(app, backlog)
    cpu = time.process_time() - cpu
    return {"jobs/s": jobs / seconds, "CPU µs/job": cpu / jobs * 1e6}


def drain_waiting(app, left: int = 0) -> float:
    """Let one worker in this process work until so many jobs are left; how many seconds that took."""
    worker = app.worker()
    begin = time.perf_counter()
    worker.start()
    _wait_for(app, left)
    seconds = time.perf_counter() - begin
    worker.stop(grace=0)
    worker.wait()
    return seconds


def _wait_for(app, left: int) -> None:
    while True:
        sizes = app.queues.sizes(["default"])[0]
        if sizes.waiting + sizes.running <= left:
            return
        time.sleep(0.02)


def enqueue_many(jobs: int) -> dict[str, float]:
    from benchmarks.jobs import app, coroutine_noop

    coroutine_noop.enqueue(0, 0)
    begin = time.perf_counter()
    coroutine_noop.enqueue_many([(n, n) for n in range(jobs)])
    seconds = time.perf_counter() - begin
    app.close()
    return {"jobs/s": jobs / seconds}


def enqueue_one_by_one(jobs: int) -> dict[str, float]:
    from benchmarks.jobs import app, coroutine_noop

    coroutine_noop.enqueue(0, 0)
    begin = time.perf_counter()
    for n in range(jobs):
        coroutine_noop.enqueue(n, n)
    seconds = time.perf_counter() - begin
    app.close()
    return {"jobs/s": jobs / seconds}


def enqueue_concurrently(jobs: int) -> dict[str, float]:
    from benchmarks.jobs import coroutine_noop

    async def main() -> float:
        await coroutine_noop.aenqueue(0, 0)
        begin = time.perf_counter()
        await asyncio.gather(*(coroutine_noop.aenqueue(n, n) for n in range(jobs)))
        return time.perf_counter() - begin

    return {"jobs/s": jobs / asyncio.run(main())}


def bare_sqlite_commits(jobs: int) -> dict[str, float]:
    """What the file system allows: one row, one commit, with the settings that Heeler uses."""
    connection = sqlite3.connect("bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, body BLOB)")
    body = os.urandom(200)
    begin = time.perf_counter()
    for n in range(jobs):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO jobs VALUES (?, ?)", (f"{n:032x}", body))
        connection.execute("COMMIT")
    return {"jobs/s": jobs / (time.perf_counter() - begin)}


@contextmanager
def _worker_process(*options: str):
    """`heeler worker` in a process of its own, once it has run a first job."""
    from benchmarks.jobs import coroutine_noop

    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "heeler", "worker", "--app", "benchmarks.jobs:app", "--log-level", "WARNING", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        coroutine_noop.enqueue(1, 2).get(timeout=30)
        yield process, time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(30)


def latency(jobs: int) -> dict[str, float]:
    """One job at a time on an idle system; the worker is another process."""
    from benchmarks.jobs import started_at

    starts, results = [], []
    with _worker_process():
        for n in range(jobs + 20):
            time.sleep(0.005)
            begin = time.perf_counter()
            start = started_at.enqueue(time.time()).get(timeout=10)
            if n >= 20:
                results.append(time.perf_counter() - begin)
                starts.append(start)
    return {
        "start p50 ms": percentile(starts, 0.5) * 1e3,
        "start p99 ms": percentile(starts, 0.99) * 1e3,
        "result p50 ms": percentile(results, 0.5) * 1e3,
        "result p99 ms": percentile(results, 0.99) * 1e3,
    }


def idle(seconds: float) -> dict[str, float]:
    """What a worker process costs that has nothing to do."""
    with _worker_process() as (process, _):
        time.sleep(2)
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        before = sum(sum(p.cpu_times()[:2]) for p in tree)
        switches = sum(p.num_ctx_switches().voluntary for p in tree)
        time.sleep(seconds)
        after = sum(sum(p.cpu_times()[:2]) for p in tree)
        switched = sum(p.num_ctx_switches().voluntary for p in tree) - switches
        pss = sum(p.memory_full_info().pss for p in tree)
    return {
        "CPU s/min": (after - before) * 60 / seconds,
        "wake-ups/s": switched / seconds,
        "PSS MB": pss / 1e6,
    }


def startup() -> dict[str, float]:
    """`import heeler`, and from the start of a worker process to the start of its first job."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    bare = time.perf_counter() - begin
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import heeler"], check=True)
    imported = time.perf_counter() - begin - bare

    from benchmarks.jobs import started_at

    started_at.enqueue(0.0).cancel()
    waiting = started_at.enqueue(begin := time.time())
    process = subprocess.Popen(
        [sys.executable, "-m", "heeler", "worker", "--app", "benchmarks.jobs:app", "--log-level", "WARNING"],
        stdout=subprocess.DEVNULL,
    )
    try:
        first = waiting.get(timeout=30)
    finally:
        process.terminate()
        process.wait(30)
    del begin
    return {"import ms": imported * 1e3, "first job ms": first * 1e3}


def memory_of_a_long_drain(jobs: int) -> dict[str, float]:
    """Peak memory of a worker process after a tenth of the jobs and after all; waves keep the backlog small."""
    from benchmarks.jobs import app, coroutine_noop

    coroutine_noop = coroutine_noop.using(ignore_result=True)
    worker = app.worker()
    worker.start()
    figures = {}
    for wave in range(10):
        for _ in coroutine_noop.enqueue_iter((n, n) for n in range(jobs // 10)):
            pass
        _wait_for(app, 0)
        if wave in (0, 9):
            name = "first tenth MB" if wave == 0 else "all MB"
            figures[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker.stop()
    worker.wait()
    return figures


def main() -> None:
    case, options = sys.argv[1], json.loads(sys.argv[2])
    sys.path.insert(0, str(Path(__file__).parent.parent))
    figures = globals()[case](**options)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
