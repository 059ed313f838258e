"""What a worker says of itself just now: who it is, what it runs and since when, how fast, with how much memory."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from heeler.clock import Clock
from heeler.model import RunningJob, WorkerPresence
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.memory import resident_bytes
from heeler.worker.run import Run
from heeler.worker.slots import Slots
from heeler.worker.tally import Tally

if TYPE_CHECKING:
    from heeler.worker.io_side import Profile

__all__ = ["Pace", "Portrait"]

MOST_JOBS = 20  # in one announcement
PACE_OVER = 10.0
_STATES: dict[str, Literal["starting", "quiet", "stopping"]] = {
    "new": "starting",
    "starting": "starting",
    "quiet": "quiet",
    "stopping": "stopping",
    "stopped": "stopping",
}


class Pace:
    """How many a second, over the last ten seconds: told now and then how many there have been."""

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, 0)])

    def rate(self, now: float, count: int) -> float:
        """The rate, when there are `count` by now."""
        seen = self._seen
        while len(seen) > 1 and seen[1][0] <= now - PACE_OVER:
            seen.popleft()
        since, before = seen[0]
        if now - seen[-1][0] >= PACE_OVER / 20:
            seen.append((now, count))
        return (count - before) / (now - since) if now > since else 0.0


class Portrait:
    """Lives on the I/O thread."""

    def __init__(
        self,
        profile: Profile,
        slots: Slots,
        keeper: LeaseKeeper,
        tally: Tally,
        clock: Clock,
        state: Callable[[], str],
    ) -> None:
        self._tally = tally
        self._slots = slots
        self._keeper = keeper
        self._clock = clock
        self._state = state
        self._pace = Pace(clock.monotonic())
        self._tasks = profile.tasks
        self._who: dict[str, Any] = {
            "id": profile.id,
            "name": profile.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": tuple(share.queue for share in profile.queues),
            "version": version("heeler"),
            "started_at": clock.time(),
            "concurrency": profile.concurrency,
        }

    def now(self) -> WorkerPresence:
        """What is true at this moment."""
        slots = self._slots
        now = self._clock.monotonic()
        return WorkerPresence(
            **self._who,
            tasks=tuple([name for name, task in self._tasks.items() if task.spec.function is not None]),
            state=_STATES.get(self._state(), "running"),
            running=slots.running,
            jobs=tuple([_job(run, now) for run in self._oldest()]),
            ended=slots.ended,
            done=dict(self._tally.counts),
            rate=round(self._pace.rate(now, slots.ended), 3),
            memory=resident_bytes(),
        )

    def _oldest(self) -> list[Run]:
        running = [run for run in self._keeper.held_runs() if run.started_at is not None and not run.ended]
        return sorted(running, key=lambda run: run.started_mono)[:MOST_JOBS]


def _job(run: Run, now: float) -> RunningJob:
    envelope = run.delivery.envelope
    return RunningJob(
        id=envelope.id,
        task=envelope.task,
        queue=envelope.queue,
        attempt=run.delivery.attempts + 1,
        age=round(max(0.0, now - run.started_mono), 3),
        fraction=run.fraction,
        message=run.message,
    )
