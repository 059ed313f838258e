"""One round of one system: its client, its workers, and the figures of both, each under a name of the report."""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.compare.environments import python_of, surroundings
from benchmarks.compare.server import Server

Figures = dict[str, float]


@dataclass(frozen=True)
class Extent:
    """How much is measured: seconds of each case, and which drains by two processes."""

    enqueue: float
    drain: float
    latencies: int
    idle: float
    drained_by_two: tuple[str, ...]
    joined: int


FULL = Extent(
    enqueue=2.0, drain=3.0, latencies=300, idle=15.0, drained_by_two=("noop", "sleep", "payload"), joined=10_000
)
QUICK = Extent(enqueue=0.7, drain=1.0, latencies=100, idle=3.0, drained_by_two=("noop",), joined=1_000)
JOBS = ("noop", "sleep", "payload")


class System:
    """A system that is measured on this server."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._server = server
        self._python = python_of(name)
        self._surroundings = surroundings(server.broker, server.results)
        [self.about] = self._client([("about", {})])

    def round(self, extent: Extent) -> Figures:
        """All figures, once."""
        figures = self._enqueue(extent)
        for job in JOBS:
            figures |= self._work(extent, job, 1)
        for job in extent.drained_by_two:
            figures |= self._work(extent, job, 2)
        return figures | self.join(extent)

    def _enqueue(self, extent: Extent) -> Figures:
        self._server.empty()
        cases = [
            (case, {"job": job, "seconds": extent.enqueue})
            for job in ("noop", "payload")
            for case in ("enqueue_one_by_one", "enqueue_in_bulk")
        ]
        answers = self._client(cases)
        return {
            f"{case} {options['job']}": answer["jobs/s"] for (case, options), answer in zip(cases, answers, strict=True)
        }

    def _work(self, extent: Extent, job: str, processes: int) -> Figures:
        self._server.empty()
        with self._workers(f"{job} {processes}") as family:
            begin = time.perf_counter()
            self._client([("meet", {"processes": processes})])
            started = time.perf_counter() - begin
            pids = family()
            drain = ("drain", {"job": job, "seconds": extent.drain, "pids": pids})
            if (job, processes) != ("noop", 1):
                [drained] = self._client([drain])
                return {f"drain {job} {processes} {name}": value for name, value in drained.items()}
            latency = ("latency", {"count": extent.latencies, "pause": 0.005})
            idle = ("idle", {"seconds": extent.idle, "pids": pids})
            waited, idled, drained = self._client([latency, idle, drain])
        return {
            "start s": started,
            **{f"idle {name}": value for name, value in (waited | idled).items()},
            **{f"drain {job} {processes} {name}": value for name, value in drained.items()},
        }

    def join(self, extent: Extent) -> Figures:
        """Where it has joins: with one worker process, that of the no-op drain."""
        if not self.about["joins"]:
            return {}
        self._server.empty()
        with self._workers("noop 1"):
            join = ("join", {"members": extent.joined, "times": 3})
            _, joined = self._client([("meet", {"processes": 1}), join])
        return {f"join {name}": value for name, value in joined.items()}

    def _client(self, cases: list[Any]) -> list[dict[str, Any]]:
        return ask_client(self._python, "benchmarks.compare.client", self.name, cases, self._surroundings)

    def _workers(self, kind: str) -> contextlib.AbstractContextManager[Callable[[], list[int]]]:
        return workers(self.about["worker commands"][kind], self._surroundings)


@contextlib.contextmanager
def workers(commands: list[list[str]], surroundings: dict[str, str]) -> Iterator[Callable[[], list[int]]]:
    """Worker processes; yields a function that lists all of them and their children."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        started = [psutil.Popen(command, env=surroundings, cwd=folder, stdout=log, stderr=log) for command in commands]

        def family() -> list[int]:
            return [process.pid for parent in started for process in (parent, *parent.children(recursive=True))]

        try:
            yield family
        except RuntimeError as error:
            log.seek(0)
            error.add_note(f"its workers said:\n{log.read().decode(errors='replace')[-4000:]}")
            raise
        finally:
            everybody = [process for parent in started for process in (*parent.children(recursive=True), parent)]
            for parent in started:
                parent.terminate()
            _, left = psutil.wait_procs(everybody, timeout=5)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)


def ask_client(python: str, module: str, system: str, cases: list[Any], env: dict[str, str]) -> list[dict[str, Any]]:
    """Have the client of a system walk through these cases; the figures of each."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", module, system, json.dumps(cases)]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{system}: {cases} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]
