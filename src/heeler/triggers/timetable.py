"""All times of one schedule: those of its trigger between its start and its end."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

__all__ = ["Timetable", "Trigger"]

_STEPS = 1000  # times that are walked through before it is tried from the other end


class Trigger(Protocol):
    """Says when something is due. Times are epoch seconds."""

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`; None if there is none."""
        ...

    def explain(self) -> str:
        """The rule in words."""
        ...


class Timetable:
    """`start` and `end` are epoch seconds and belong to it."""

    def __init__(self, trigger: Trigger, start: float | None = None, end: float | None = None) -> None:
        self._trigger = trigger
        self._start = start
        self._end = end

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`; None if there is none any more."""
        if self._start is not None and moment < self._start:
            moment = math.nextafter(self._start, -math.inf)
        at = self._trigger.next_after(moment)
        return None if at is None or (self._end is not None and at > self._end) else at

    def following(self, moment: float, count: int) -> list[float]:
        """The next `count` times later than `moment`, or as many as there are."""
        times: list[float] = []
        at = self.next_after(moment)
        while at is not None and len(times) < count:
            times.append(at)
            at = self.next_after(at)
        return times

    def latest(self, first: float, until: float, most: int) -> list[float]:
        """The last `most` times from `first`, which is one of them, to `until`, in order."""
        found = deque([first], maxlen=most)
        for _ in range(_STEPS):
            at = self.next_after(found[-1])
            if at is None or at > until:
                return list(found)
            found.append(at)
        # Too many to walk through all: look at the end, in a window that grows until there are enough in it.
        window = 60.0
        while until - window > first:
            times = self._between(until - window, until, most)
            if len(times) == most:
                return times
            window *= 4
        return self._between(math.nextafter(first, -math.inf), until, most)

    def explain(self) -> str:
        return self._trigger.explain()

    def _between(self, after: float, until: float, most: int) -> list[float]:
        found: deque[float] = deque(maxlen=most)
        at = self.next_after(after)
        while at is not None and at <= until:
            found.append(at)
            at = self.next_after(at)
        return list(found)
