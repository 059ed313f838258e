"""What `heeler top` shows of queues: how full they are, and how fast jobs come and go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from heeler.contracts import QueueSize
from heeler.model import WorkerPresence

__all__ = ["QueueFigures", "QueueRates"]

WINDOW = 10.0  # seconds that rates are taken over


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """One queue at one moment; the rates are jobs a second, None until there are two looks to compare."""

    size: QueueSize
    rate_in: float | None = None
    rate_out: float | None = None

    @property
    def is_busy(self) -> bool:
        size = self.size
        return bool(size.waiting or size.running or size.scheduled or self.rate_in or self.rate_out)


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    inside: dict[str, int]  # by queue: jobs that are in it
    left: dict[str, int]  # by queue: jobs that have left it since the first look


class QueueRates:
    """Compares looks. Workers count what leaves a queue; what has come in follows from that and from its size."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()
        self._left: dict[str, int] = {}
        self._done: dict[str, dict[str, int]] = {}  # by worker: its counts at the last look

    def figures(self, now: float, sizes: Sequence[QueueSize], workers: Sequence[WorkerPresence]) -> list[QueueFigures]:
        """Another look, at a monotonic time; busy queues first, by name."""
        for worker in workers:
            before = self._done.get(worker.id)
            if before is not None:
                for queue, count in worker.done.items():
                    known = before.get(queue, 0)  # larger than the count: the worker has begun anew
                    self._left[queue] = self._left.get(queue, 0) + (count - known if count >= known else count)
        self._done = {worker.id: worker.done for worker in workers}
        looks = self._looks
        looks.append(_Look(now, {size.queue: _inside(size) for size in sizes}, dict(self._left)))
        while len(looks) > 2 and looks[1].at <= now - WINDOW:
            looks.popleft()
        figures = [self._rated(size, looks[0], looks[-1]) for size in sizes]
        return sorted(figures, key=lambda known: (not known.is_busy, known.size.queue))

    def _rated(self, size: QueueSize, first: _Look, last: _Look) -> QueueFigures:
        seconds, queue = last.at - first.at, size.queue
        if seconds <= 0 or queue not in first.inside:
            return QueueFigures(size)
        left = last.left.get(queue, 0) - first.left.get(queue, 0)
        grown = last.inside[queue] - first.inside[queue]
        return QueueFigures(size, max(0.0, (left + grown) / seconds), left / seconds)


def _inside(size: QueueSize) -> int:
    return size.waiting + size.scheduled + size.running
