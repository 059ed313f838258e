"""The measured side, run in the environment of one system: `python -m benchmarks.compare.client SYSTEM CASES`.

CASES is a JSON list of [case, options]; for each a line of JSON is printed, as soon as it is done.
"""

import asyncio
import importlib
import inspect
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.compare.jobs import BROKER, RESULTS
from benchmarks.compare.processes import cpu_seconds, held, percentile

BULK = 1000  # jobs in one bulk call
FIRST = 300  # jobs of the first, smallest drain
MOST = 200_000
PATIENCE = 60.0  # seconds for a drain that makes no more progress


class Client:
    """One system under measurement. Every public method is a case."""

    def __init__(self, name: str) -> None:
        self._system: Any = importlib.import_module(f"benchmarks.compare.systems.{name}")
        self._broker = Redis.from_url(BROKER)
        self._results = Redis.from_url(RESULTS)

    async def about(self) -> dict[str, Any]:
        """What it is and how it is set up."""
        return {
            "versions": {package: version(package) for package in self._system.PACKAGES},
            "setup": " ".join((self._system.__doc__ or "").split()),
            "crash safe": self._system.CRASH_SAFE,
            "joins": hasattr(self._system, "join"),
            "worker commands": {
                f"{job} {processes}": self._system.workers(processes, job)
                for job in ("noop", "sleep", "payload")
                for processes in (1, 2)
            },
        }

    async def enqueue_one_by_one(self, job: str, seconds: float) -> dict[str, float]:
        await self._call(self._system.enqueue, job)
        enqueue, is_async = self._system.enqueue, inspect.iscoroutinefunction(self._system.enqueue)
        done, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            for _ in range(50):
                if is_async:
                    await enqueue(job)
                else:
                    enqueue(job)
            done += 50
        self._empty()
        return {"jobs/s": done / (now - begin)}

    async def enqueue_in_bulk(self, job: str, seconds: float) -> dict[str, float]:
        await self._call(self._system.enqueue_in_bulk, job, BULK)
        done, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds and done < MOST:
            await self._call(self._system.enqueue_in_bulk, job, BULK)
            done += BULK
        self._empty()
        return {"jobs/s": done / (now - begin)}

    async def meet(self, processes: int) -> dict[str, list[int]]:
        """Enqueue until so many worker processes have answered."""
        seen: set[int] = set()
        until = time.monotonic() + PATIENCE
        while len(seen) < processes:
            if time.monotonic() > until:
                raise TimeoutError(f"only {len(seen)} of {processes} worker processes have run a job")
            sent = [await self._call(self._system.enqueue, "process") for _ in range(4 * processes)]
            for one in sent:
                seen.add(await self._call(self._system.result_of, one))
        return {"pids": sorted(seen)}

    async def drain(self, job: str, seconds: float, pids: list[int]) -> dict[str, float]:
        """Jobs per second of the workers `pids`, over about so many seconds.

        The workers are warm, held by SIGSTOP while the jobs are enqueued, and timed from the moment they go on.
        """
        count = FIRST
        while True:
            figures = await self._drain_once(job, count, pids)
            took = count / figures["jobs/s"]
            if took >= 0.7 * seconds or count == MOST:
                return figures
            count = min(MOST, int(count * min(20.0, max(1.5, 1.2 * seconds / took))))

    async def _drain_once(self, job: str, count: int, pids: list[int]) -> dict[str, float]:
        before = self._sent_before_empty()
        with held(pids):
            for begin in range(0, count, BULK):
                await self._call(self._system.enqueue_in_bulk, job, min(BULK, count - begin))
            cpu, server_cpu = cpu_seconds(pids), self._server_cpu()
            begin_at = time.perf_counter()
        self._wait_for_the_end(before + count)
        seconds = time.perf_counter() - begin_at
        return {
            "jobs/s": count / seconds,
            "jobs": count,
            "worker CPU µs/job": (cpu_seconds(pids) - cpu) / count * 1e6,
            "server CPU µs/job": (self._server_cpu() - server_cpu) / count * 1e6,
            "server CPU %": (self._server_cpu() - server_cpu) / seconds * 100,
        }

    def _sent_before_empty(self) -> int:
        """How many results are there now; earlier jobs have all ended."""
        return -int(self._system.unfinished(0, self._broker, self._results))

    def _wait_for_the_end(self, sent: int) -> None:
        left, progress_at = sent, time.monotonic()
        while True:
            now_left = self._system.unfinished(sent, self._broker, self._results)
            if now_left <= 0:
                return
            if now_left < left:
                left, progress_at = now_left, time.monotonic()
            elif time.monotonic() > progress_at + PATIENCE:
                raise TimeoutError(f"{left} jobs do not end")
            time.sleep(0.005)

    async def latency(self, count: int, pause: float) -> dict[str, float]:
        """One job at a time on an idle system: until it starts, and until its result is here."""
        starts, results = [], []
        for number in range(count + 10):
            time.sleep(pause)  # noqa: ASYNC251 nothing else runs
            begin = time.time()
            started_at = await self._call(self._system.result_of, await self._call(self._system.enqueue, "clock"))
            if number >= 10:
                results.append((time.time() - begin) * 1e3)
                starts.append((started_at - begin) * 1e3)
        return {
            "start p50 ms": percentile(starts, 0.5),
            "start p99 ms": percentile(starts, 0.99),
            "result p50 ms": percentile(results, 0.5),
            "result p99 ms": percentile(results, 0.99),
        }

    async def join(self, members: int, times: int) -> dict[str, float]:
        """Members per second of a join, from the call that enqueues it to the result of the last job."""
        rates = []
        for _ in range(times):
            begin = time.perf_counter()
            value = await self._call(self._system.result_of_join, await self._call(self._system.join, members))
            rates.append(members / (time.perf_counter() - begin))
            if value != members:
                raise AssertionError(f"the last job was given {value} results of {members}")
        return {"members/s": statistics.median(rates)}

    async def idle(self, seconds: float, pids: list[int]) -> dict[str, float]:
        """What the workers cost that have nothing to do."""
        time.sleep(1.0)  # noqa: ASYNC251 for what still goes on after the last job
        cpu, requests = _exact_cpu_seconds(pids), self._requests()
        time.sleep(seconds)  # noqa: ASYNC251
        return {
            "CPU s/min": (_exact_cpu_seconds(pids) - cpu) * 60 / seconds,
            "requests/s": (self._requests() - requests - 1) / seconds,
            "memory MB": sum(_memory(pid) for pid in pids) / 1024,
        }

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = function(*args)
        return await answer if inspect.isawaitable(answer) else answer

    def _empty(self) -> None:
        """The two databases are the benchmark's own."""
        self._broker.flushdb()
        self._results.flushdb()

    def _server_cpu(self) -> float:
        cpu = self._broker.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def _requests(self) -> int:
        """How often the server has read from a socket; commands inside of scripts do not count."""
        return int(self._broker.info("stats")["total_reads_processed"])

    async def close(self) -> None:
        await self._call(self._system.close)
        self._broker.close()
        self._results.close()


def _exact_cpu_seconds(pids: list[int]) -> float:
    """To the nanosecond, but without the threads that have ended."""
    threads = (thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _memory(pid: int) -> float:
    """KiB, what is shared with other processes counted by its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("Pss:")))


async def _main() -> None:
    client = Client(sys.argv[1])
    try:
        for case, options in json.loads(sys.argv[2]):
            print(json.dumps(await getattr(client, case)(**options)), flush=True)
    finally:
        await client.close()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main())
