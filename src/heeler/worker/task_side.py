"""The worker's parts on the task loop, all made in one place, and the ways into that loop from the I/O thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heeler.clock import Clock
from heeler.codecs import Codecs
from heeler.contracts import WireFormat
from heeler.executors import ProcessExecutor
from heeler.io_thread import Handoff
from heeler.middleware import compose_run, hooks_called
from heeler.worker.beginning import Beginning
from heeler.worker.call_maker import CallMaker
from heeler.worker.calls import Calls
from heeler.worker.ending import Ending
from heeler.worker.interrupter import Interrupter
from heeler.worker.io_side import IoSide, Profile
from heeler.worker.recipe import Recipes
from heeler.worker.run import Interrupt, Run
from heeler.worker.run_context import Voice
from heeler.worker.runner import Runner
from heeler.worker.slots import Slots
from heeler.worker.starter import Starter
from heeler.worker.travelling import Travelling
from heeler.worker.wrapped_runs import WrappedRuns

__all__ = ["TaskSide"]


class TaskSide:
    """Made on the task loop, and closed there. It is the `TaskLoop` that the I/O thread sees."""

    def __init__(
        self,
        profile: Profile,
        io_side: IoSide,
        slots: Slots,
        clock: Clock,
        logger: logging.Logger,
        *,
        codecs: Codecs,
        formats: Mapping[str, WireFormat],
        middleware: Sequence[Any],
        state: Any,
        pool: Callable[[], ProcessExecutor],
        on_worn_out: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._io_side = io_side
        voice = Voice(profile.id, state, self._hear)
        around = compose_run(middleware, _nothing)
        recipes = Recipes(profile.tasks, codecs, formats, wrapped=around is not _nothing)
        self._calls = calls = Calls(profile.concurrency, pool, logger)
        ending = Ending(
            clock,
            logger,
            profile.id,
            settle=io_side.settlements.put,
            drop=io_side.drop,
            travelling=Travelling(codecs, formats, profile.tasks),
            witnessed=bool(hooks_called("on_settled", middleware)),
        )
        self._interrupter = Interrupter(calls, ending, clock, logger, on_worn_out)
        beginning = Beginning(
            clock, self._interrupter.deadlines, voice, profile.grace, hooks_called("on_started", middleware)
        )
        maker = CallMaker(recipes, calls, clock, profile.id)
        wrapped = WrappedRuns(
            maker, calls, beginning, ending, logger, voice, wrap=lambda call: compose_run(middleware, call)
        )
        runner = Runner(maker, calls, beginning, ending, wrapped, voice)
        calls.on_finished = runner.call_finished
        calls.on_signal = runner.call_signalled
        self._starter = Starter(slots, clock, runner, ending, mark=io_side.marks.put, poke=io_side.poke)
        ending.on_ended = self._starter.ended
        self.ring = self._starter.ring
        self.full_tasks = self._starter.full_tasks
        self._interrupts: Handoff[tuple[Run, Interrupt]] = Handoff(self._loop, self._interrupt_all)
        self._marked: Handoff[Run] = Handoff(self._loop, self._starter.marked)

    # From the I/O thread

    def interrupt(self, run: Run, why: Interrupt) -> None:
        """End a run."""
        self._interrupts.put((run, why))

    def start_marked(self, runs: list[Run]) -> None:
        """The broker knows that these start."""
        self._marked.put_many(runs)

    def ping(self, answer: Callable[[], object]) -> None:
        """Call back from the loop."""
        self._loop.call_soon_threadsafe(answer)

    def stop_starting(self) -> None:
        """Start nothing more, from this moment on."""
        self._starter.stop()

    # On the task loop

    async def close(self) -> None:
        """Leave what is abandoned, and end the executors."""
        self._starter.stop()
        self._interrupter.close()
        await self._calls.close()

    def _interrupt_all(self, interrupts: list[tuple[Run, Interrupt]]) -> None:
        for run, why in interrupts:
            self._interrupter.interrupt(run, why)

    def _hear(self, run: Run) -> None:
        """A run has something to report; from any thread."""
        if not run.has_news:
            run.has_news = True
            self._io_side.news.put(run)


async def _nothing(context: Any) -> None:
    """The innermost call of a middleware that is only asked whether it is there."""
