"""The measured side, run in the environment of one system: `python -m benchmarks.compare.rabbitmq.client SYSTEM CASES`.

CASES is a JSON list of [case, options]; for each a line of JSON is printed, as soon as it is done.
"""

import asyncio
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from benchmarks.compare.processes import cpu_seconds, held, percentile
from benchmarks.compare.rabbitmq.jobs import QUEUE_TYPE, RESULTS, traces, until_run

FIRST = 300  # jobs of the first, smallest drain
MOST = 40_000
BULK = 500  # jobs in one bulk call
PATIENCE = 30.0  # seconds without progress


class Client:
    """One system under measurement. Every public method is a case."""

    def __init__(self, name: str) -> None:
        self._system: Any = importlib.import_module(f"benchmarks.compare.rabbitmq.systems.{name}")

    async def about(self) -> dict[str, Any]:
        """What it is and how it is set up."""
        return {
            "versions": {package: version(package) for package in self._system.PACKAGES},
            "setup": " ".join((self._system.__doc__ or "").split()),
            "queue types": self._system.QUEUE_TYPES,
            "worker command": self._system.worker(),
        }

    async def enqueue(self, seconds: float) -> dict[str, float]:
        """Each sender waits for the server's word; nobody takes the jobs."""
        figures = {}
        for name, step, arguments, jobs in (
            ("one by one", self._system.enqueue, (), 1),
            ("in bulk", self._system.enqueue_in_bulk, (BULK,), BULK),
        ):
            await self._call(step, *arguments)
            done, begin = 0, time.perf_counter()
            while (now := time.perf_counter()) < begin + seconds:
                await self._call(step, *arguments)
                done += jobs
            figures[f"{name} jobs/s"] = done / (now - begin)
        return figures

    async def meet(self) -> dict[str, float]:
        """Return when the worker runs jobs."""
        sent, until = 0, time.monotonic() + PATIENCE
        while not traces()[0]:
            if time.monotonic() > until:
                raise TimeoutError("no worker runs a job")
            await self._call(self._system.enqueue)
            sent += 1
            await asyncio.sleep(0.3)
        await until_run(sent, PATIENCE)
        return {}

    async def latency(self, count: int, pause: float) -> dict[str, float]:
        """One job at a time on an idle system: from before the call until it begins."""
        waited = []
        for number in range(count + 10):
            await asyncio.sleep(pause)
            before, begin = traces()[0], time.time()
            await self._call(self._system.enqueue)
            began = await until_run(before + 1, PATIENCE, 0.0005)
            if number >= 10:
                waited.append((began - begin) * 1e3)
        return {"start p50 ms": percentile(waited, 0.5), "start p99 ms": percentile(waited, 0.99)}

    async def drain(self, seconds: float, pids: list[int]) -> dict[str, float]:
        """Jobs per second of the warm worker, which is held while they are sent, over about so many seconds."""
        count = FIRST
        while True:
            before = traces()[0]
            with held(pids):
                for begin in range(0, count, BULK):
                    await self._call(self._system.enqueue_in_bulk, min(BULK, count - begin))
                cpu, begin_at = cpu_seconds(pids), time.perf_counter()
            await until_run(before + count, PATIENCE)
            took = time.perf_counter() - begin_at
            if took >= 0.7 * seconds or count == MOST:
                return {"jobs/s": count / took, "CPU µs/job": (cpu_seconds(pids) - cpu) / count * 1e6}
            count = min(MOST, int(count * min(10.0, max(1.5, 1.2 * seconds / took))))

    async def check(self) -> dict[str, float]:
        """That results are kept if and only if they are asked for, so that all do the same work."""
        kept = await self._call(self._system.result_is_kept)
        if kept is not bool(RESULTS):
            raise AssertionError(f"results: {RESULTS or 'none'}, {QUEUE_TYPE}: kept is {kept}")
        return {}

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        answer = function(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self) -> None:
        await self._call(self._system.close)


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
