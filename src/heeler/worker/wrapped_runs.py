"""Runs with something around them: the middleware's `around_run`, and the task's own callbacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from heeler.errors import InvalidArguments
from heeler.model import Action
from heeler.task_context import running_context
from heeler.worker.beginning import Beginning
from heeler.worker.call_maker import CallMaker, runs_in_child
from heeler.worker.callbacks import call_back
from heeler.worker.calls import Calls
from heeler.worker.ending import Ending
from heeler.worker.outcome import Crashed, Raised, Returned
from heeler.worker.recipe import CannotOpen, Recipe
from heeler.worker.remote_end import error_of, outcome_of_reply
from heeler.worker.run import Interrupt, Run
from heeler.worker.run_context import RunContext, Voice
from heeler.worker.steering import Steered

__all__ = ["WrappedRuns"]

Around = Callable[[Any], Awaitable[Any]]


class WrappedRuns:
    """Lives on the task loop. `wrap` puts the middleware around the innermost call."""

    def __init__(
        self,
        maker: CallMaker,
        calls: Calls,
        beginning: Beginning,
        ending: Ending,
        logger: logging.Logger,
        voice: Voice,
        *,
        wrap: Callable[[Around], Around],
    ) -> None:
        self._maker = maker
        self._calls = calls
        self._note_start = beginning.note
        self._ending = ending
        self._logger = logger
        self._voice = voice
        self._around = wrap(self._call)

    async def run(self, run: Run, recipe: Recipe) -> None:
        """One run, in a task of its own."""
        context = run.context = RunContext(run, self._voice)
        running_context.set(context)
        try:
            run.arguments = self._maker.arguments(run, recipe, context)
        except (InvalidArguments, CannotOpen) as error:
            self._ending.unreadable(run, error)
            return
        self._note_start(run, recipe)
        await call_back(recipe.spec.on_processing, "on_processing", self._logger, context)
        try:
            value = await self._around(context)
        except BaseException as error:
            run.over = True
            await self._after_error(run, recipe, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            run.over = True
            await self._after_value(run, recipe, value)

    async def _call(self, context: Any) -> Any:
        """The innermost layer of the middleware: the function itself, wherever it runs."""
        current = running_context.get()
        assert isinstance(current, RunContext)
        run = current.run
        recipe = run.recipe
        assert recipe is not None
        if recipe.is_coroutine and not runs_in_child(run, recipe):
            assert run.arguments is not None
            args, kwargs = run.arguments
            if recipe.soft_timeout is None:
                return await recipe.function(*args, **kwargs)
            run.steering = Steered(recipe.function(*args, **kwargs))
            return await run.steering
        executor, call = self._maker.call(run, recipe, current)
        run.waiter = asyncio.get_running_loop().create_future()
        self._calls.submit(run, executor, call)
        self._calls.flush()
        finished = await run.waiter
        if finished.error is not None:
            raise finished.error
        if finished.died is None and not executor.remote:
            return finished.value
        outcome = Crashed(finished.died) if finished.died is not None else outcome_of_reply(run, finished.value)
        if type(outcome) is Returned:
            return None if outcome.value is None else recipe.spec.returns.decode(outcome.value, recipe.result_codec)
        error = error_of(outcome)
        run.told = (error, outcome)
        raise error

    async def _after_value(self, run: Run, recipe: Recipe, value: Any) -> None:
        encoded = None
        if value is not None:
            try:
                encoded = recipe.encode(value, recipe.result_codec)
            except Exception as error:
                await self._after_error(run, recipe, error)
                return
        if run.interrupt is None:
            await call_back(recipe.spec.on_success, "on_success", self._logger, run.context, value)
        self._ending.finish(run, Returned(encoded))

    async def _after_error(self, run: Run, recipe: Recipe, error: BaseException) -> None:
        outcome = self._ending.failure(run, error)
        if run.interrupt is Interrupt.TIMED_OUT:
            error = self._ending.time_is_up(run)
            outcome = Raised(self._ending.record(run, error))
        if run.interrupt in (None, Interrupt.TIMED_OUT) and not run.ended:
            action = self._ending.preview(run, outcome)
            if action is Action.RETRY:
                await call_back(recipe.spec.on_retry, "on_retry", self._logger, run.context, error)
            elif action is Action.DEAD_LETTER:
                await call_back(recipe.spec.on_failure, "on_failure", self._logger, run.context, error)
        self._ending.finish(run, outcome)
