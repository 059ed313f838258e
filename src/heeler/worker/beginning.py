"""What is noted when a run starts: the time, its timeouts, how long its lease is kept, and that others shall know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from heeler.clock import Clock
from heeler.middleware import tell_all
from heeler.worker.deadlines import Deadline, Deadlines
from heeler.worker.recipe import Recipe
from heeler.worker.run import Run
from heeler.worker.run_context import Voice
from heeler.worker.witness import started_run

__all__ = ["Beginning"]


class Beginning:
    """Lives on the task loop. `grace` is how long a lease outlives a timeout, `on_started` the middleware's hooks."""

    def __init__(
        self,
        clock: Clock,
        deadlines: Deadlines,
        voice: Voice,
        grace: float,
        on_started: Sequence[Callable[..., Any]] = (),
    ) -> None:
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._deadlines = deadlines
        self._voice = voice
        self._grace = grace
        self._on_started = on_started

    def note(self, run: Run, recipe: Recipe) -> None:
        """It starts now."""
        run.started_at = self._time()
        now = run.started_mono = self._monotonic()
        if recipe.timeout is not None:
            run.renew_until = now + recipe.timeout + self._grace
            self._deadlines.add(now + recipe.timeout, run, Deadline.HARD)
        if recipe.soft_timeout is not None:
            self._deadlines.add(now + recipe.soft_timeout, run, Deadline.SOFT)
        if recipe.announce_at_once:
            self._voice.heard(run)
        if self._on_started:
            tell_all(self._on_started, started_run(run, self._voice.worker_id))
