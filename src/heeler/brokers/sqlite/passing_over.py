"""Passing over tasks that a worker has no room for, without looking twice at the jobs that were passed over.

A subscription remembers, level by level, up to which place all that waits is of tasks that it passes over. That holds
until it passes over other tasks, or some job comes back to an earlier place.
"""

from __future__ import annotations

from collections.abc import Iterator

from heeler.brokers.sqlite.sleepers import skips_of
from heeler.brokers.sqlite.step import Step

__all__ = ["PassingOver"]

_BEFORE_ALL = -(1 << 31)


class PassingOver:
    """What one subscription has passed over. `skips` are the tasks, as statements take them; None for none."""

    __slots__ = ("_places", "_returns", "_tasks", "skips")

    def __init__(self) -> None:
        self._tasks: frozenset[str] = frozenset()
        self._places: dict[tuple[int, int], int] = {}
        self._returns = 0
        self.skips: str | None = None

    def begin(self, step: Step, tasks: frozenset[str]) -> None:
        """From here on in this step these tasks are passed over."""
        self.skips = skips_of(step, tasks)
        if self.skips is None:
            return
        (returns,) = step.row("returns")
        if step.returned or returns != self._returns or not self._tasks <= tasks:
            self._places.clear()
        # A return of this very step will be counted at its end.
        self._returns = returns + step.returned
        self._tasks = tasks

    def levels(self, step: Step, queue: int) -> Iterator[tuple[int, int]]:
        """The levels of a queue on which jobs wait, each with the place after which to look."""
        rank: int | None = _BEFORE_ALL
        while (rank := step.row("next_rank", (queue, rank))[0]) is not None:
            yield rank, self._places.get((queue, rank), -1)

    def looked(self, step: Step, queue: int, rank: int) -> None:
        """All that waits on this level will be taken or is of tasks that are passed over."""
        (place,) = step.row("last_place", (queue, rank))
        self._places[queue, rank] = place

    def looked_until(self, queue: int, rank: int, place: int) -> None:
        """The same, but only up to this place."""
        self._places[queue, rank] = place

    def left(self, queue: int, rank: int, place: int) -> None:
        """The job in this place was not taken after all."""
        key = (queue, rank)
        if self._places.get(key, place) >= place:
            self._places[key] = place - 1

    def forget(self) -> None:
        """The step was rolled back."""
        self._places.clear()

    def is_work_waiting(self, step: Step, queue: int) -> bool:
        """Whether a fetch that passes over these tasks would find something in the queue."""
        if self.skips is None:
            return step.row("is_work_waiting", (queue,)) is not None
        if step.row("is_paused", (queue,)) is not None:
            return False
        for rank, place in self.levels(step, queue):
            if step.row("is_other_job_waiting", (queue, rank, place, self.skips)) is not None:
                return True
            self.looked(step, queue, rank)
        return False
