"""What `heeler demo` counts: totals over all files, and how long jobs took. Pure arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from heeler.model import DeadLetter, TaskStatus
from heeler.task_result import TaskResult

__all__ = ["Findings", "Spread", "Survey", "Totals", "spread_of"]


class Survey(msgspec.Struct, frozen=True):
    """What one source file contains. `names` counts how often each name is used."""

    lines: int
    functions: int
    classes: int
    names: dict[str, int]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the slow end of some durations, in seconds."""

    median: float
    p99: float


def spread_of(durations: Iterable[float]) -> Spread:
    """Of no durations at all: zeros."""
    ordered = sorted(durations)
    return Spread(_quantile(ordered, 0.5), _quantile(ordered, 0.99))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


@dataclass(slots=True)
class Totals:
    """The sum of all surveys, and when each job was enqueued, started and finished."""

    files: int = 0
    failed: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    names: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    first_start: float = math.inf
    last_end: float = 0.0

    def add(self, result: TaskResult[Any]) -> None:
        """Count a job that has ended."""
        self.files += 1
        if result.started_at is not None and result.finished_at is not None:
            started, finished = result.started_at.timestamp(), result.finished_at.timestamp()
            self.waits.append(max(0.0, started - result.enqueued_at.timestamp()))
            self.runs.append(max(0.0, finished - started))
            self.first_start = min(self.first_start, started)
            self.last_end = max(self.last_end, finished)
        if result.status is not TaskStatus.SUCCESSFUL:
            self.failed += 1
            return
        survey: Survey = result.return_value
        self.lines += survey.lines
        self.functions += survey.functions
        self.classes += survey.classes
        self.names.update(survey.names)

    @property
    def seconds(self) -> float:
        """From the first start to the last end."""
        return max(0.0, self.last_end - self.first_start)

    @property
    def jobs_per_second(self) -> float:
        return self.files / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the demo has to show at its end."""

    totals: Totals
    round_trips: list[float]
    failed: TaskResult[Any]
    dead_letter: DeadLetter
