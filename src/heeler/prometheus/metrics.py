"""What is counted of jobs and workers, as a middleware: one for each registry, however many apps share it."""

from __future__ import annotations

import weakref
from collections import Counter as Counts
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heeler.contracts import Middleware
from heeler.model import EndedRun, RunEnd, Sending, StartedRun

__all__ = ["PrometheusMetrics"]

# From what a lone no-op takes to what is hardly a job any more; seconds.
_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_JOB = ("queue", "task")


class _Worker(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def running(self) -> int: ...


class _Slots(Collector):
    """How many runs the workers of this process may have at once, and have."""

    def __init__(self) -> None:
        self.workers: weakref.WeakSet[Any] = weakref.WeakSet()

    def collect(self) -> Iterator[Metric]:
        slots = GaugeMetricFamily("heeler_worker_slots", "Runs that a worker may have at once.", labels=["worker"])
        busy = GaugeMetricFamily("heeler_worker_slots_busy", "Runs that a worker has now.", labels=["worker"])
        for worker in list(self.workers):
            if worker.state not in ("new", "stopped"):
                slots.add_metric([worker.name], worker.concurrency)
                busy.add_metric([worker.name], worker.running)
        yield slots
        yield busy

    def describe(self) -> list[Metric]:
        return [
            GaugeMetricFamily("heeler_worker_slots", "", labels=["worker"]),
            GaugeMetricFamily("heeler_worker_slots_busy", "", labels=["worker"]),
        ]


class _Figures:
    """The metrics in one registry."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        def counter(name: str, meaning: str, labels: Sequence[str] = _JOB) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        def histogram(name: str, meaning: str) -> Histogram:
            return Histogram(name, meaning, _JOB, buckets=buckets, registry=registry)

        self.enqueued = counter("heeler_jobs_enqueued", "Jobs that a broker took from this process.")
        self.started = counter("heeler_jobs_started", "Runs that were started.")
        self.finished = counter(
            "heeler_jobs_finished", "Runs that have ended, by what became of the job.", (*_JOB, "outcome")
        )
        self.lost = counter("heeler_leases_lost", "Runs whose lease was lost, so that their end does not count.")
        self.ran = histogram("heeler_job_run_seconds", "How long runs took.")
        self.waited = histogram(
            "heeler_job_queue_seconds", "How long jobs waited from when they were due to their start."
        )
        self.slots = _Slots()
        registry.register(self.slots)
        self._of: dict[tuple[str, str], _OfTask] = {}

    def of(self, queue: str, task: str) -> _OfTask:
        """Those with these labels: found once, because finding them costs more than counting."""
        known = self._of.get((queue, task))
        if known is None:
            known = self._of[queue, task] = _OfTask(self, queue, task)
        return known


class _OfTask:
    """The metrics of a task in a queue."""

    __slots__ = ("_finished", "_labels", "_lost", "enqueued", "ran", "started", "waited")

    def __init__(self, figures: _Figures, queue: str, task: str) -> None:
        self._labels = (queue, task)
        self._finished = figures.finished
        self._lost = figures.lost
        self.enqueued = figures.enqueued.labels(queue, task).inc
        self.started = figures.started.labels(queue, task).inc
        self.ran = figures.ran.labels(queue, task).observe
        self.waited = figures.waited.labels(queue, task).observe

    def finished(self, end: RunEnd, count: int) -> None:
        """So many runs ended like this."""
        self._finished.labels(*self._labels, end.value).inc(count)
        if end is RunEnd.LOST:
            self._lost.labels(*self._labels).inc(count)


_figures: weakref.WeakKeyDictionary[CollectorRegistry, _Figures] = weakref.WeakKeyDictionary()


class PrometheusMetrics(Middleware):
    """Counts in `registry`, by queue and task. `buckets` are those of the histograms, in seconds.

    `heeler worker --health-port` installs one by itself; add one to `Heeler(middleware=[…])` where a process that only
    enqueues shall count, too. `Heeler` objects that share a registry share its metrics.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, buckets: Sequence[float] = _BUCKETS) -> None:
        self.registry = registry
        if registry not in _figures:
            _figures[registry] = _Figures(registry, buckets)
        self._figures = _figures[registry]

    def watch_worker(self, worker: _Worker) -> None:
        """Tell of this worker's slots, as long as it is there."""
        self._figures.slots.workers.add(worker)

    def on_sent(self, sending: Sending) -> None:
        for job in sending.jobs:
            if job.accepted:
                self._figures.of(job.queue, job.task).enqueued()

    def on_started(self, run: StartedRun) -> None:
        figures = self._figures.of(run.queue, run.task)
        figures.started()
        if run.waited is not None:
            figures.waited(run.waited)

    def on_settled(self, runs: Sequence[EndedRun]) -> None:
        of = self._figures.of
        for (queue, task, end), count in Counts([(run.queue, run.task, run.end) for run in runs]).items():
            of(queue, task).finished(end, count)
        for run in runs:
            if run.ran is not None:
                of(run.queue, run.task).ran(run.ran)
            for job in run.follow_ups:
                of(job.queue, job.task).enqueued()
