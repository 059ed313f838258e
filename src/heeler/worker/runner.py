"""Runs one delivery: opens it and calls the function where it belongs. Most runs have nothing around them."""

from __future__ import annotations

import asyncio

from heeler.contracts import Finished
from heeler.errors import InvalidArguments
from heeler.task_context import running_context
from heeler.worker.beginning import Beginning
from heeler.worker.call_maker import CallMaker, runs_in_child
from heeler.worker.calls import Calls
from heeler.worker.ending import Ending
from heeler.worker.outcome import Crashed
from heeler.worker.recipe import CannotOpen, Recipe
from heeler.worker.remote_end import outcome_of_reply
from heeler.worker.remote_messages import RemoteReport, parse_signal
from heeler.worker.run import Run
from heeler.worker.run_context import RunContext, Voice
from heeler.worker.steering import Steered
from heeler.worker.wrapped_runs import WrappedRuns

__all__ = ["Runner"]


class Runner:
    """Lives on the task loop."""

    def __init__(
        self,
        maker: CallMaker,
        calls: Calls,
        beginning: Beginning,
        ending: Ending,
        wrapped: WrappedRuns,
        voice: Voice,
    ) -> None:
        self._maker = maker
        self._calls = calls
        self._note_start = beginning.note
        self._ending = ending
        self._wrapped = wrapped
        self._voice = voice
        self._create_task = asyncio.get_running_loop().create_task

    def open(self, run: Run) -> bool:
        """Find out how it is to be run. False: it cannot be, and has ended."""
        try:
            self._maker.open(run)
        except CannotOpen as error:
            self._ending.unreadable(run, error)
            return False
        return True

    def begin(self, run: Run) -> None:
        """Run it; a call that is for an executor waits there for `flush`."""
        recipe = run.recipe
        assert recipe is not None
        if not recipe.bare:
            run.task = self._create_task(self._wrapped.run(run, recipe))
        elif recipe.is_coroutine and not runs_in_child(run, recipe):
            run.task = self._create_task(self._run_coroutine(run, recipe))
        else:
            self._run_in_executor(run, recipe)

    def flush(self) -> None:
        """All that shall start now has begun."""
        self._calls.flush()

    async def _run_coroutine(self, run: Run, recipe: Recipe) -> None:
        """The shortest way: a coroutine that nobody wraps or follows."""
        context = RunContext(run, self._voice)
        try:
            args, kwargs = self._maker.arguments(run, recipe, context)
        except (InvalidArguments, CannotOpen) as error:
            self._ending.unreadable(run, error)
            return
        running_context.set(context)
        self._note_start(run, recipe)
        try:
            if recipe.soft_timeout is None:
                value = await recipe.function(*args, **kwargs)
            else:
                run.steering = Steered(recipe.function(*args, **kwargs))
                value = await run.steering
        except BaseException as error:
            self._ending.raised(run, error)
            if isinstance(error, KeyboardInterrupt):
                raise  # it is meant for the program that runs this loop
        else:
            self._ending.returned(run, value)

    def _run_in_executor(self, run: Run, recipe: Recipe) -> None:
        """A call in a thread or a child process: no task of this loop waits for it."""
        try:
            executor, call = self._maker.call(run, recipe, RunContext(run, self._voice))
        except (InvalidArguments, CannotOpen) as error:
            self._ending.unreadable(run, error)
        except Exception as error:  # the executor cannot start
            self._ending.raised(run, error)
        else:
            self._note_start(run, recipe)
            self._calls.submit(run, executor, call)

    def call_finished(self, run: Run, finished: Finished) -> None:
        """An executor tells how a call ended."""
        try:
            self._take_in(run, finished)
        except Exception as error:  # a reply that cannot be read, say: the job must not be left in nobody's hands
            self._ending.raised(run, error)

    def _take_in(self, run: Run, finished: Finished) -> None:
        if run.waiter is not None:
            if not run.waiter.done():
                run.waiter.set_result(finished)
        elif finished.error is not None:
            self._ending.raised(run, finished.error)
        elif finished.died is not None:
            self._ending.finish(run, Crashed(finished.died))
        elif run.executor is not None and run.executor.remote:
            self._ending.finish(run, outcome_of_reply(run, finished.value))
        else:
            self._ending.returned(run, finished.value)

    def call_signalled(self, run: Run, data: bytes) -> None:
        """A run in a child says something of itself."""
        signal = parse_signal(data)
        if isinstance(signal, RemoteReport):
            if signal.fraction is not None:
                run.fraction = signal.fraction
            if signal.message is not None:
                run.message = signal.message
        else:
            run.saved = signal.value
        self._voice.heard(run)
