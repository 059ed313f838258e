"""Ends runs from outside: timeouts, cancels, lost leases, shutdown. Coroutines are cancelled, processes killed."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

from heeler.clock import Clock
from heeler.errors import SoftTimeout
from heeler.worker.calls import Calls
from heeler.worker.deadlines import Deadline, Deadlines
from heeler.worker.ending import Ending
from heeler.worker.run import Interrupt, Run

__all__ = ["Interrupter"]

PATIENCE = 2.0  # the moment that a cancelled coroutine has to end
MOST_ABANDONED = 8  # threads that still go on


class Interrupter:
    """Lives on the task loop. `on_worn_out` is told that too many abandoned threads still go on.

    Who starts a run puts its timeouts into `deadlines`.
    """

    def __init__(
        self, calls: Calls, ending: Ending, clock: Clock, logger: logging.Logger, on_worn_out: Callable[[], None]
    ) -> None:
        self._calls = calls
        self._ending = ending
        self._monotonic = clock.monotonic
        self._logger = logger
        self._on_worn_out = on_worn_out
        self.deadlines = Deadlines(asyncio.get_running_loop(), clock.monotonic, self._on_deadline)
        self._abandoned: set[asyncio.Task[Any]] = set()

    def interrupt(self, run: Run, why: Interrupt) -> None:
        """End a run."""
        if run.ended:
            return
        run.cancelled = True
        ending_already = run.interrupt is not None
        if not ending_already or why is Interrupt.LOST:
            run.interrupt = why
        if not run.begun or ending_already:
            return  # the starter sees it, or it is on its way
        if run.executor is not None:
            self._calls.kill(run)
        if run.task is not None:
            run.task.cancel()
            run.task.add_done_callback(functools.partial(self._task_done, run))
            self.deadlines.add(self._monotonic() + PATIENCE, run, Deadline.PATIENCE)
        else:
            self._ending.end(run, self._ending.interrupted(run))
        if run.executor is not None and self._calls.abandoned > MOST_ABANDONED:
            self._on_worn_out()

    def _task_done(self, run: Run, _: asyncio.Task[Any]) -> None:
        """A task cancelled before its first step, or while a callback of the user's ran, says nothing of its end."""
        self._ending.end(run, self._ending.interrupted(run))

    def close(self) -> None:
        """Watch nothing any more, and ask what was abandoned once more to end."""
        self.deadlines.close()
        for task in self._abandoned:
            task.cancel()

    def _on_deadline(self, run: Run, deadline: Deadline) -> None:
        if deadline is Deadline.PATIENCE:
            self._abandon(run)
        elif run.over:
            pass  # only its callbacks still run
        elif deadline is Deadline.HARD:
            self.interrupt(run, Interrupt.TIMED_OUT)
        elif run.steering is not None:
            assert run.recipe is not None
            run.steering.throw(SoftTimeout(f"soft_timeout of {run.recipe.soft_timeout:g} s is over"))
        else:
            run.cancelled = True

    def _abandon(self, run: Run) -> None:
        """Go on without a coroutine that swallows its cancellation."""
        task = run.task
        assert task is not None
        self._logger.warning(
            "%s %s: the coroutine does not end although it was cancelled; its slot is free, it is abandoned",
            run.delivery.envelope.task,
            run.delivery.envelope.id,
        )
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        self._ending.end(run, self._ending.interrupted(run))
