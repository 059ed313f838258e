"""What is noted when a run starts: the time, its timeouts, how long its lease is kept, and that others shall know."""

from __future__ import annotations

from heeler.clock import Clock
from heeler.worker.deadlines import Deadline, Deadlines
from heeler.worker.recipe import Recipe
from heeler.worker.run import Run
from heeler.worker.run_context import Voice

__all__ = ["Beginning"]


class Beginning:
    """Lives on the task loop. `grace` is how long a lease outlives a timeout."""

    def __init__(self, clock: Clock, deadlines: Deadlines, voice: Voice, grace: float) -> None:
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._deadlines = deadlines
        self._voice = voice
        self._grace = grace

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
