"""What is shown, row by row, and which of two figures is the better one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report: the figure's name in a round, and how to show it."""

    label: str
    figure: str
    unit: str
    smaller_is_better: bool = False
    is_contest: bool = True  # whether one figure is better than another at all

    def shown(self, value: float | None) -> str:
        if value is None:
            return "–"
        return f"{value:,.0f}{self.unit}" if abs(value) >= 100 else f"{value:.2f}{self.unit}"

    def best(self, values: Mapping[str, float]) -> str:
        """The system with the best figure."""
        return (min if self.smaller_is_better else max)(values, key=lambda name: values[name])


def _drain(job: str, processes: int) -> Row:
    what = {"noop": "no-op", "sleep": "1 ms sleep", "payload": "1 KiB payload"}[job]
    who = "one worker process" if processes == 1 else "two worker processes"
    return Row(f"drain, {what}, {who}", f"drain {job} {processes} jobs/s", "/s")


DRAINS = [_drain(job, processes) for processes in (1, 2) for job in ("noop", "sleep", "payload")]
ENQUEUES = [
    Row("enqueue one by one, no-op", "enqueue_one_by_one noop", "/s"),
    Row("enqueue one by one, 1 KiB", "enqueue_one_by_one payload", "/s"),
    Row("enqueue in bulk, no-op", "enqueue_in_bulk noop", "/s"),
    Row("enqueue in bulk, 1 KiB", "enqueue_in_bulk payload", "/s"),
]
LATENCIES = [
    Row("idle: enqueue to start, p50", "idle start p50 ms", " ms", True),
    Row("idle: enqueue to start, p99", "idle start p99 ms", " ms", True),
    Row("idle: enqueue to result, p50", "idle result p50 ms", " ms", True),
    Row("idle: enqueue to result, p99", "idle result p99 ms", " ms", True),
]
JOINS = [Row("no-op members of a join, from its enqueue to the last job's result", "join members/s", "/s")]
COSTS = [
    Row("drain, no-op: CPU of the worker, per job", "drain noop 1 worker CPU µs/job", " µs", True),
    Row("drain, no-op: CPU of the server, per job", "drain noop 1 server CPU µs/job", " µs", True),
    Row("drain, no-op, two processes: load of the server", "drain noop 2 server CPU %", " %", is_contest=False),
    Row("idle worker: CPU", "idle CPU s/min", " s/min", True),
    Row("idle worker: requests to the server", "idle requests/s", "/s", True),
    Row("idle worker: memory (PSS)", "idle memory MB", " MB", True),
    Row("worker's start to its first result", "start s", " s", True),
]
SECTIONS = {
    "Drain, results stored": DRAINS,
    "Enqueue from one process": ENQUEUES,
    "Latency, one job at a time": LATENCIES,
    "Joins (Heeler's and Celery's chord, taskiq's pipelines)": JOINS,
    "Cost": COSTS,
}


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def losses(all_figures: Mapping[str, Mapping[str, float]], ours: str) -> list[str]:
    """A sentence for each row in which another system is better than ours."""
    said = []
    for rows in SECTIONS.values():
        for row in rows:
            values = {name: figures[row.figure] for name, figures in all_figures.items() if row.figure in figures}
            if row.is_contest and ours in values and row.best(values) != ours:
                best = row.best(values)
                said.append(f"{row.label}: {best} {row.shown(values[best])}, {ours} {row.shown(values[ours])}")
    return said
