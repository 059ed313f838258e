"""Runs the comparison on RabbitMQ: rounds of all in turn, medians of the rounds, and tables."""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compare.environments import BUILD, known_systems, python_of, surroundings
from benchmarks.compare.measuring import ask_client, workers
from benchmarks.measure import machine
from benchmarks.rabbitmq_server import delete_queues, private_rabbitmq
from benchmarks.redis_server import private_redis
from benchmarks.tables import console, table

SYSTEMS = Path(__file__).parent / "systems"
CLIENT = "benchmarks.compare.rabbitmq.client"
QUEUE = "compare"
THEIR_QUEUES = (QUEUE, f"{QUEUE}.dead", f"{QUEUE}.DQ", f"{QUEUE}.XQ")  # of all systems
ROWS = {
    "drain, no results": "/s",
    "drain, results in Redis": "/s",
    "enqueue one by one": "/s",
    "enqueue in bulk": "/s",
    "idle: enqueue to start, p50": " ms",
    "idle: enqueue to start, p99": " ms",
    "worker's CPU per job, no results": " µs",
    "worker's CPU per job, results in Redis": " µs",
}
Figures = dict[str, float]


class Extent(NamedTuple):
    """Seconds of a drain and of enqueueing, and how many jobs one at a time."""

    drain: float
    enqueue: float
    latencies: int


FULL, QUICK = Extent(3.0, 2.0, 200), Extent(1.0, 0.5, 40)


class Contestant:
    """A system with one type of queues."""

    def __init__(self, system: str, queue_type: str, about: dict[str, Any], broker: str, results: str) -> None:
        self.system = system
        self.name = f"{system}, {queue_type}"
        self._queue_type = queue_type
        self._about = about
        self._broker = broker
        self._results = results

    def round(self, extent: Extent) -> Figures:
        latency = ("latency", {"count": extent.latencies, "pause": 0.005})
        [waited, drained] = self._worked("", [latency], extent)
        with self._surroundings("") as env:
            [sent] = self._ask([("enqueue", {"seconds": extent.enqueue})], env)
        [stored] = self._worked(self._results, [], extent)
        return {
            "drain, no results": drained["jobs/s"],
            "drain, results in Redis": stored["jobs/s"],
            "enqueue one by one": sent["one by one jobs/s"],
            "enqueue in bulk": sent["in bulk jobs/s"],
            "idle: enqueue to start, p50": waited["start p50 ms"],
            "idle: enqueue to start, p99": waited["start p99 ms"],
            "worker's CPU per job, no results": drained["CPU µs/job"],
            "worker's CPU per job, results in Redis": stored["CPU µs/job"],
        }

    def _worked(self, results: str, cases: list[Any], extent: Extent) -> list[Figures]:
        """What these cases and a drain say, with one worker that runs."""
        with self._surroundings(results) as env, workers([self._about["worker command"]], env) as family:
            self._ask([("meet", {}), ("check", {})], env)
            return self._ask([*cases, ("drain", {"seconds": extent.drain, "pids": family()})], env)

    def _ask(self, cases: list[Any], env: dict[str, str]) -> list[Figures]:
        return ask_client(python_of(self.system, SYSTEMS, "rabbitmq-"), CLIENT, self.system, cases, env)

    @contextlib.contextmanager
    def _surroundings(self, results: str) -> Iterator[dict[str, str]]:
        with tempfile.TemporaryDirectory(prefix="heeler-compare-") as folder:
            try:
                yield surroundings(self._broker, results, queue=QUEUE, queue_type=self._queue_type, traces=folder)
            finally:
                delete_queues(self._broker, *THEIR_QUEUES)


def main() -> None:
    asked = _arguments()
    extent = QUICK if asked.quick else FULL
    with contextlib.ExitStack() as stack:
        broker = asked.rabbitmq or stack.enter_context(private_rabbitmq())
        results = asked.redis or f"{stack.enter_context(private_redis())}/0"
        surroundings_ = [machine(), f"load before the start {os.getloadavg()[0]:.1f}; results in {results}"]
        console.print("\n".join(surroundings_), style="dim", highlight=False)
        everybody = [one for system in asked.systems for one in _contestants(system, broker, results)]
        rounds: dict[str, list[Figures]] = {one.name: [] for one in everybody}
        begin = time.monotonic()
        for number in range(asked.rounds or (1 if asked.quick else 3)):
            for one in everybody:
                console.print(f"[dim]{time.monotonic() - begin:5.0f} s  round {number + 1}: {one.name}[/]")
                rounds[one.name].append(one.round(extent))
    figures = {
        name: {row: statistics.median(its[row] for its in all_) for row in ROWS} for name, all_ in rounds.items()
    }
    _print(figures)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report = {"measured at": now, "surroundings": surroundings_, "medians": figures, "rounds": rounds}
    path = BUILD / "rabbitmq.json"
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    console.print(f"written: {path}", style="dim")


def _arguments() -> argparse.Namespace:
    known = known_systems(SYSTEMS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare.rabbitmq", description=__doc__)
    parser.add_argument("--systems", type=lambda text: text.split(","), default=known, help=f"of {','.join(known)}")
    parser.add_argument("--quick", action="store_true", help="one round, short cases: less time, more noise")
    parser.add_argument("--rounds", type=int, help="of each figure the median of so many is printed (default: 3)")
    parser.add_argument("--rabbitmq", help="amqp://host:port of a server to use; default: a private one is started")
    parser.add_argument("--redis", help="redis://host:port/number for results; default: a private one is started")
    asked = parser.parse_args()
    if unknown := set(asked.systems) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return asked


def _contestants(system: str, broker: str, results: str) -> list[Contestant]:
    env = surroundings(broker, "")
    [about] = ask_client(python_of(system, SYSTEMS, "rabbitmq-"), CLIENT, system, [("about", {})], env)
    versions = ", ".join(f"{package} {number}" for package, number in about["versions"].items())
    console.print(f"[bold]{system}[/] {versions}\n  [dim]{about['setup']}[/]", highlight=False)
    return [Contestant(system, queue_type, about, broker, results) for queue_type in about["queue types"]]


def _print(figures: dict[str, Figures]) -> None:
    shown = table("On one RabbitMQ, one worker process, no-op jobs, crash-safe, confirmed", "", *figures)
    for row, unit in ROWS.items():
        shown.add_row(row, *(_shown(its[row], unit) for its in figures.values()))
    console.print(shown)
    for row in ("drain, no results", "drain, results in Redis"):
        ours = {name: its[row] for name, its in figures.items() if name.startswith("heeler")}
        others = {name: its[row] for name, its in figures.items() if name not in ours}
        if ours and others:
            fastest = max(others, key=lambda name: others[name])
            times = ", ".join(f"{name} {rate / others[fastest]:.1f} ×" for name, rate in ours.items())
            console.print(f"{row}: {times} the fastest other ({fastest})", highlight=False)


def _shown(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:.2f}{unit}"


if __name__ == "__main__":
    main()
