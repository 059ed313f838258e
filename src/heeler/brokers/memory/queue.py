"""One queue: the jobs that may start, in order, and the timetable of those that may start later."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Iterator

from heeler.brokers.memory.job import Job, Phase

__all__ = ["MemoryQueue"]

WAITING = Phase.WAITING
_FEW_STALE = 64  # stale entries are swept out when they are more than this and more than half


class Line:
    """The waiting jobs of one queue, priority and task, by sequence number.

    New jobs have growing numbers and go to the end of `_fresh`; those that come back to an earlier place (lease
    run out, given back, come due) go to the heap `_returned`. A job that leaves other than by the front leaves a
    stale entry. A line per task lets a fetch pass over a task without looking at its jobs.
    """

    __slots__ = ("_fresh", "_returned", "_stale")

    def __init__(self) -> None:
        self._fresh: deque[Job] = deque()
        self._returned: list[tuple[int, int, Job]] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned) - self._stale

    def append(self, job: Job) -> None:
        self._fresh.append(job)

    def put_back(self, job: Job) -> None:
        job.ticket += 1
        heapq.heappush(self._returned, (job.sequence, job.ticket, job))

    def discard(self) -> None:
        """One job of this line is not WAITING here any more."""
        self._stale += 1
        if self._stale > _FEW_STALE and self._stale * 2 > len(self._fresh) + len(self._returned):
            self._fresh = deque(job for job in self._fresh if job.phase is WAITING)
            self._returned = [entry for entry in self._returned if _valid(entry)]
            heapq.heapify(self._returned)
            self._stale = 0

    def head(self) -> int | None:
        """The sequence number of the first job; None when the line is empty. Drops stale entries before it."""
        fresh, returned = self._fresh, self._returned
        while fresh and fresh[0].phase is not WAITING:
            fresh.popleft()
            self._stale -= 1
        while returned and not _valid(returned[0]):
            heapq.heappop(returned)
            self._stale -= 1
        if not returned:
            return fresh[0].sequence if fresh else None
        return min(returned[0][0], fresh[0].sequence) if fresh else returned[0][0]

    def pop(self, head: int) -> Job:
        """The first job, whose number `head()` has just told."""
        if self._returned and self._returned[0][0] == head:
            return heapq.heappop(self._returned)[2]
        return self._fresh.popleft()

    def drain(self) -> Iterator[Job]:
        """Pop job after job, as far as the caller goes on."""
        fresh = self._fresh
        while not self._returned and fresh:
            job = fresh.popleft()
            if job.phase is WAITING:
                yield job
            else:
                self._stale -= 1
        while (head := self.head()) is not None:
            yield self.pop(head)

    def oldest(self) -> float | None:
        """Since when the job waits that waits longest."""
        times = [entry[2].since for entry in self._returned if _valid(entry)]
        if self.head() is not None and self._fresh:
            times.append(self._fresh[0].since)
        return min(times, default=None)

    def jobs(self) -> list[Job]:
        """All jobs, in order."""
        returned = [entry[2] for entry in self._returned if _valid(entry)]
        return sorted((*(job for job in self._fresh if job.phase is WAITING), *returned), key=_by_sequence)


class Timetable:
    """The scheduled jobs of one queue by due time: a heap in which cancelled jobs leave stale entries."""

    __slots__ = ("_heap", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Job]] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    def add(self, job: Job, due_at: float) -> None:
        heapq.heappush(self._heap, (due_at, job.sequence, job))

    def discard(self) -> None:
        """One job of this timetable is not SCHEDULED any more."""
        self._stale += 1
        if self._stale > _FEW_STALE and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].phase is Phase.SCHEDULED]
            heapq.heapify(self._heap)
            self._stale = 0

    def next_at(self) -> float | None:
        """When the first job is due; may be too early where that one was cancelled."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[Job]:
        while self._heap and self._heap[0][0] <= now:
            job = heapq.heappop(self._heap)[2]
            if job.phase is Phase.SCHEDULED:
                yield job
            else:
                self._stale -= 1

    def jobs(self) -> list[Job]:
        """All jobs, in order of due time."""
        return [entry[2] for entry in sorted(self._heap, key=_by_due) if entry[2].phase is Phase.SCHEDULED]


class MemoryQueue:
    """A named queue. Its order is priority (larger first), then sequence number."""

    __slots__ = ("_levels", "_priorities", "name", "paused", "timetable")

    def __init__(self, name: str) -> None:
        self.name = name
        self.paused = False
        self.timetable = Timetable()
        self._levels: dict[int, dict[str, Line]] = {}
        self._priorities: list[int] = []  # negated and sorted: the largest priority first

    def append(self, job: Job) -> None:
        """The job waits behind all of its priority."""
        envelope = job.envelope
        try:
            self._levels[envelope.priority][envelope.task].append(job)
        except KeyError:
            self._line(envelope.priority, envelope.task).append(job)

    def put_back(self, job: Job) -> None:
        """The job waits at the place that its sequence number says."""
        self._line(job.envelope.priority, job.envelope.task).put_back(job)

    def discard(self, job: Job, *, scheduled: bool) -> None:
        """A job that waited or was scheduled here has gone; its phase says so already."""
        job.ticket += 1
        if scheduled:
            self.timetable.discard()
        else:
            self._levels[job.envelope.priority][job.envelope.task].discard()

    def take(self, skip: frozenset[str]) -> Iterator[Job]:
        """Pop job after job in order, passing over the tasks of `skip`, as far as the caller goes on."""
        for negated in tuple(self._priorities):
            level = self._levels[-negated]
            for task in [task for task, line in level.items() if not len(line)]:
                del level[task]
            if not level:
                del self._levels[-negated]
                self._priorities.remove(negated)
                continue
            lines = [line for task, line in level.items() if task not in skip]
            yield from lines[0].drain() if len(lines) == 1 else _merge(lines)

    def has_work(self, skip: frozenset[str] = frozenset()) -> bool:
        """Whether a fetch that passes over `skip` would find something."""
        if self.paused:
            return False
        return any(len(line) and task not in skip for level in self._levels.values() for task, line in level.items())

    def waiting(self) -> int:
        return sum(len(line) for level in self._levels.values() for line in level.values())

    def oldest(self) -> float | None:
        """Since when the job waits that waits longest; None when none waits."""
        times = (line.oldest() for level in self._levels.values() for line in level.values())
        return min((time for time in times if time is not None), default=None)

    def waiting_jobs(self) -> list[Job]:
        """All waiting jobs, in order."""
        jobs: list[Job] = []
        for negated in self._priorities:
            jobs += sorted((job for line in self._levels[-negated].values() for job in line.jobs()), key=_by_sequence)
        return jobs

    def _line(self, priority: int, task: str) -> Line:
        if priority not in self._levels:
            self._levels[priority] = {}
            bisect.insort(self._priorities, -priority)
        return self._levels[priority].setdefault(task, Line())


def _merge(lines: list[Line]) -> Iterator[Job]:
    heads = [(head, line) for line in lines if (head := line.head()) is not None]
    heapq.heapify(heads)
    while heads:
        head, line = heads[0]
        job = line.pop(head)
        following = line.head()
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following, line))
        yield job


def _valid(entry: tuple[int, int, Job]) -> bool:
    return entry[2].phase is WAITING and entry[2].ticket == entry[1]


def _by_sequence(job: Job) -> int:
    return job.sequence


def _by_due(entry: tuple[float, int, Job]) -> tuple[float, int]:
    return entry[:2]
