"""What Prometheus reads: the metrics of this process with the queues of its broker, or those of several processes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from heeler.contracts import QueueSize

__all__ = ["CONTENT_TYPE", "Exposition", "merged"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ANSWERED_WITHIN = 0.5  # the broker is asked while somebody waits for the rest
KEPT_FOR = 1.0
_OF_THE_BROKER = ("heeler_queue_jobs", "heeler_queue_oldest_seconds")  # the same whoever is asked

logger = logging.getLogger("heeler.prometheus")


class _Given(Collector):
    """Metric families that are at hand."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Exposition:
    """`sizes` asks the broker how many jobs are where; None where it cannot tell."""

    def __init__(self, registry: CollectorRegistry, sizes: Callable[[], Awaitable[Sequence[QueueSize]]] | None) -> None:
        self._registry = registry
        self._sizes = sizes
        self._known: list[Metric] = []
        self._asked_at = float("-inf")

    async def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        queues = await self._queues()
        return _text([*self._registry.collect(), *queues])

    async def _queues(self) -> list[Metric]:
        """Asked at most once a second. While the broker does not answer there are none: old numbers would mislead."""
        if self._sizes is None:
            return []
        if time.monotonic() - self._asked_at >= KEPT_FOR:
            try:
                async with asyncio.timeout(ANSWERED_WITHIN):
                    self._known = list(_queue_families(await self._sizes()))
            except Exception as error:
                logger.debug("the broker did not tell how full the queues are: %s", error)
                self._known = []
            self._asked_at = time.monotonic()
        return self._known


def _queue_families(sizes: Sequence[QueueSize]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(_OF_THE_BROKER[0], "Jobs of a queue, by where they are.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(_OF_THE_BROKER[1], "How long the oldest waiting job has waited.", labels=["queue"])
    for size in sizes:
        for state in ("waiting", "scheduled", "running", "dead"):
            jobs.add_metric([size.queue, state], getattr(size, state))
        if size.oldest is not None:
            oldest.add_metric([size.queue], size.oldest)
    yield jobs
    yield oldest


def merged(texts: Sequence[tuple[str, str]]) -> bytes:
    """The metrics of several processes, each (name, text): as they are, with the label `process`.

    What is true of the broker is taken from the first that tells it.
    """
    families: dict[str, Metric] = {}
    for process, text in texts:
        for family in text_string_to_metric_families(text):
            known = families.get(family.name)
            if known is None:
                known = families[family.name] = Metric(family.name, family.documentation, family.type)
            elif family.name in _OF_THE_BROKER:
                continue
            known.samples += [_of(process, sample, family.name) for sample in family.samples]
    return _text(families.values())


def _of(process: str, sample: Sample, family: str) -> Sample:
    if family in _OF_THE_BROKER:
        return sample
    return sample._replace(labels={**sample.labels, "process": process})


def _text(families: Iterable[Metric]) -> bytes:
    return generate_latest(_Given(families))
