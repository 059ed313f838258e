"""A thread of the test that enqueues all the time, one by one and in bulk, and notes what was acknowledged."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from site_of_faults import Site

from heeler import BrokerUnavailable

PAUSE = 0.005  # between two calls: a load, not a flood
MOST = 4000  # jobs, so that a test that ends late does not end much later


class SteadyProducer:
    """Enqueues within its `with` block. `refused` counts the calls that were not acknowledged."""

    def __init__(self, site: Site, bulk: int = 5) -> None:
        self._site = site
        self._bulk = bulk
        self._stop = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name="steady-producer")
        self.acknowledged: list[str] = []
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._fault is not None and error is None:
            raise self._fault

    def _produce(self) -> None:
        try:
            while not self._stop.wait(PAUSE) and len(self.acknowledged) < MOST:
                try:
                    self.acknowledged.append(self._site.enqueue("survive").id)
                    results = self._site.enqueue_many("survive_in_thread", [()] * self._bulk)
                    self.acknowledged += [result.id for result in results]
                except BrokerUnavailable:
                    self.refused += 1
        except BaseException as error:
            self._fault = error
