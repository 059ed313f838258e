"""The cases, each run in a process of its own: `python -m benchmarks.cases NAME OPTIONS` prints figures as JSON.

Those of other modules are called `module:name`.
"""

import asyncio
import importlib
import itertools
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.measure import percentile
from benchmarks.redis_costs import redis_commands, redis_costs  # noqa: F401 - the second is a case like those below
from benchmarks.schedules import due_at_once, lateness, run_after  # noqa: F401 - cases like those below
from benchmarks.stages import by_stage  # noqa: F401 - a case like those below


def drain(kind: str, jobs: int, backlog: int = 0, scheduled: int = 0) -> dict[str, float]:
    """Enqueue, then start one worker in this process and time it until about `jobs` have ended, results stored."""
    from benchmarks.jobs import app

    task = app.tasks[f"{kind}_noop"]
    (last,) = deque(task.enqueue_iter((n, n) for n in range(jobs)), maxlen=1)
    for _ in task.enqueue_iter((n, n) for n in range(backlog)):
        pass
    if scheduled:
        for _ in task.using(run_after=86400).enqueue_iter((n, n) for n in range(scheduled)):
            pass
    cpu = time.process_time()
    seconds = drain_waiting(app, last)
    cpu = time.process_time() - cpu
    ended = jobs + backlog - app.queues.sizes(["default"])[0].waiting
    return {"jobs/s": ended / seconds, "CPU µs/job": cpu / ended * 1e6}


def drain_waiting(app, last) -> float:
    """Let one worker in this process work until that job has ended, and stop it; how many seconds that took."""
    worker = app.worker()
    begin = time.perf_counter()
    worker.start()
    while not last.is_finished:  # looking at one costs next to nothing; counting what waits would cost a lot
        time.sleep(0.005)
        last.refresh()
    worker.stop()
    worker.wait()
    return time.perf_counter() - begin


def _wait_for_all(app) -> None:
    while True:
        sizes = app.queues.sizes(["default"])[0]
        if sizes.waiting + sizes.running == 0:
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


def enqueue_beside_bare_sqlite(jobs: int, synchronous: str) -> dict[str, float]:
    """One by one, in turns with what the disk allows: bare sqlite3, one small row and one commit each, as durable.

    Both have a file of their own in one folder. Turns are short, so both meet the same load of the machine.
    """
    from benchmarks.jobs import app, coroutine_noop

    connection = sqlite3.connect("bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, body BLOB)")
    ids = (f"{n:032x}" for n in itertools.count())
    body = os.urandom(200)

    def bare(rows: int) -> float:
        begin = time.perf_counter()
        for _ in range(rows):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO jobs VALUES (?, ?)", (next(ids), body))
            connection.execute("COMMIT")
        return time.perf_counter() - begin

    def heeler(rows: int) -> float:
        begin = time.perf_counter()
        for n in range(rows):
            coroutine_noop.enqueue(n, n)
        return time.perf_counter() - begin

    turn = 100
    bare(8 * turn), heeler(8 * turn)  # by then both write over a log that has its size
    ours, theirs = zip(*((heeler(turn), bare(turn)) for _ in range(jobs // turn)), strict=True)
    app.close()
    return {
        "Heeler/s": turn / statistics.median(ours),
        "bare/s": turn / statistics.median(theirs),
        "share": statistics.median(bare / ours for ours, bare in zip(ours, theirs, strict=True)),
    }


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
    from benchmarks.jobs import app

    with _worker_process() as (process, _):
        app.close()  # so that all that the server is asked comes from the worker
        time.sleep(2)
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        cpu, woken, asked = sum(sum(p.cpu_times()[:2]) for p in tree), _wakeups(tree), redis_commands()
        time.sleep(seconds)
        cpu = sum(sum(p.cpu_times()[:2]) for p in tree) - cpu
        woken, asked = _wakeups(tree) - woken, redis_commands() - asked
        pss = sum(p.memory_full_info().pss for p in tree)
    return {
        "CPU s/min": cpu * 60 / seconds,
        "wake-ups/s": woken / seconds,
        "commands/s": asked / seconds,
        "PSS MB": pss / 1e6,
    }


def _wakeups(tree: list[psutil.Process]) -> int:
    """How often all threads of these processes have gone to sleep so far, and so were woken."""
    count = 0
    for process in tree:
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))
            count += int(line.split()[1])
    return count


def startup() -> dict[str, float]:
    """`import heeler`, and from the start of a worker process to the start of its first job."""
    subprocess.run([sys.executable, "-c", "import heeler.cli.worker"], check=True)  # compiles what is not compiled yet
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
        _wait_for_all(app)
        if wave in (0, 9):
            name = "first tenth MB" if wave == 0 else "all MB"
            figures[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker.stop()
    worker.wait()
    return figures


def main() -> None:
    case, options = sys.argv[1], json.loads(sys.argv[2])
    sys.path.insert(0, str(Path(__file__).parent.parent))
    module, _, name = case.rpartition(":")
    found = getattr(importlib.import_module(f"benchmarks.{module}"), name) if module else globals()[name]
    figures = found(**options)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
