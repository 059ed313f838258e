"""What a worker tells at /metrics: found among the app's middleware, or put there where nobody has."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from heeler.connections import Connections
from heeler.contracts import QueueSize
from heeler.errors import BrokerUnavailable
from heeler.producer import Producer
from heeler.prometheus.exposition import CONTENT_TYPE, Exposition
from heeler.prometheus.metrics import PrometheusMetrics
from heeler.worker.health_door import MetricsSource
from heeler.worker.tiny_http import Answer
from heeler.worker.worker import Worker

__all__ = ["metrics_source"]

_counted: weakref.WeakKeyDictionary[Producer, PrometheusMetrics] = weakref.WeakKeyDictionary()


def metrics_source(
    worker: Worker, connections: Connections, producer: Producer, middleware: Sequence[Any]
) -> MetricsSource:
    """The metrics of `worker`, of what its process enqueues, and of the broker's queues."""
    own = [entry for entry in middleware if isinstance(entry, PrometheusMetrics)]
    counting = own or [_counting(producer)]
    for entry in counting:
        entry.watch_worker(worker)

    async def sizes() -> list[QueueSize]:
        if not connections.is_open or connections.broker.admin is None:
            raise BrokerUnavailable("the broker is not open")  # whoever asks is not to wait for it
        return await connections.broker.admin.sizes()

    exposition = Exposition(counting[0].registry, sizes)

    async def tell() -> Answer:
        return Answer(200, await exposition.text(), CONTENT_TYPE)

    return MetricsSource(() if own else tuple(counting), tell)


def _counting(producer: Producer) -> PrometheusMetrics:
    """What counts for an app that has no such middleware; from now on its producer is counted, too."""
    if producer not in _counted:
        metrics = _counted[producer] = PrometheusMetrics()
        producer.tell(metrics)
    return _counted[producer]
