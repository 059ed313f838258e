"""Runs one delivery: opens it, calls the function where it belongs, and finds out how that ended."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from heeler.clock import Clock
from heeler.contracts import Call, Executor, Finished
from heeler.error_records import record_error
from heeler.errors import InvalidArguments, Reject, Rejected, RetryLater, SoftTimeout, TaskTimedOut
from heeler.model import Action, ErrorRecord, Settlement
from heeler.task_context import running_context
from heeler.worker.callbacks import call_back
from heeler.worker.calls import Calls
from heeler.worker.deadlines import Deadline, Deadlines
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.outcome import (
    Cancelled,
    Crashed,
    Outcome,
    Raised,
    RejectedByTask,
    Released,
    RetryRequested,
    Returned,
    Unreadable,
)
from heeler.worker.recipe import CannotOpen, Recipe, Recipes
from heeler.worker.remote_end import error_of, outcome_of
from heeler.worker.remote_messages import RemoteReport, RemoteReturned, order_for, parse_reply, parse_signal
from heeler.worker.run import Interrupt, Run
from heeler.worker.run_context import RunContext, Voice, describe_run
from heeler.worker.steering import Steered

__all__ = ["Runner"]

MOST_ABANDONED = 8  # threads that still go on
PATIENCE = 2.0  # the moment that a cancelled coroutine has to end
_NO_POLICY = Policy()


class Runner:
    """Lives on the task loop.

    `settle` takes the settlement of each run that ended, `on_ended` the run itself, whose slot is free again; `poke`
    tells the fetcher of an end without a settlement. `wrap` puts the middleware around the innermost call. `grace`
    is how long a lease outlives a timeout. `on_worn_out` is told that too many abandoned threads still go on.
    """

    def __init__(
        self,
        recipes: Recipes,
        calls: Calls,
        clock: Clock,
        logger: logging.Logger,
        voice: Voice,
        *,
        settle: Callable[[Settlement], None],
        poke: Callable[[], None],
        wrap: Callable[[Callable[[Any], Awaitable[Any]]], Callable[[Any], Awaitable[Any]]],
        on_worn_out: Callable[[], None],
        grace: float,
    ) -> None:
        self._recipes = recipes
        self._calls = calls
        self._clock = clock
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._logger = logger
        self._voice = voice
        self._worker_id = voice.worker_id
        self._settle = settle
        self._poke = poke
        self.on_ended: Callable[[Run], None] = lambda run: None
        self._around = wrap(self._call)
        self._on_worn_out = on_worn_out
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._deadlines = Deadlines(self._loop, clock.monotonic, self._on_deadline)
        self._abandoned: set[asyncio.Task[Any]] = set()

    # The beginning

    def open(self, run: Run) -> bool:
        """Find out how it is to be run. False: it cannot be, and has ended."""
        try:
            run.recipe, run.opened = self._recipes.of(run.delivery)
        except CannotOpen as error:
            self._unreadable(run, error)
            return False
        return True

    def begin(self, run: Run) -> None:
        """Run it; a call that is for an executor waits there for `flush`."""
        recipe = run.recipe
        assert recipe is not None
        if not recipe.bare:
            run.task = self._loop.create_task(self._run_in_full(run, recipe))
        elif recipe.is_coroutine and not (run.alone and recipe.spec.importable):
            run.task = self._loop.create_task(self._run_coroutine(run, recipe))
        else:
            self._run_in_executor(run, recipe)

    def flush(self) -> None:
        self._calls.flush()

    def _started(self, run: Run, recipe: Recipe) -> None:
        run.started_at = self._time()
        now = run.started_mono = self._monotonic()
        if recipe.timeout is not None:
            run.renew_until = now + recipe.timeout + self._grace
            self._deadlines.add(now + recipe.timeout, run, Deadline.HARD)
        if recipe.soft_timeout is not None:
            self._deadlines.add(now + recipe.soft_timeout, run, Deadline.SOFT)
        if recipe.announce_at_once:
            self._voice.heard(run)

    # The three ways to run

    async def _run_coroutine(self, run: Run, recipe: Recipe) -> None:
        """The shortest way: a coroutine that nobody wraps or follows."""
        context = RunContext(run, self._voice)
        try:
            if recipe.plain and run.opened is None:
                args, kwargs = recipe.decode(run.delivery.envelope.body, recipe.codec, True)
            else:
                args, kwargs = self._arguments(run, recipe, context)
        except (InvalidArguments, CannotOpen) as error:
            self._unreadable(run, error)
            return
        running_context.set(context)
        self._started(run, recipe)
        try:
            if recipe.soft_timeout is None:
                value = await recipe.function(*args, **kwargs)
            else:
                run.steering = Steered(recipe.function(*args, **kwargs))
                value = await run.steering
        except BaseException as error:
            self._raised(run, error)
        else:
            self._returned(run, recipe, value)

    def _run_in_executor(self, run: Run, recipe: Recipe) -> None:
        """A call in a thread or a child process: no task of this loop waits for it."""
        try:
            executor, call = self._make_call(run, recipe, RunContext(run, self._voice))
        except (InvalidArguments, CannotOpen) as error:
            self._unreadable(run, error)
        except Exception as error:  # the executor cannot start
            self._raised(run, error)
        else:
            self._started(run, recipe)
            self._calls.submit(run, executor, call)

    async def _run_in_full(self, run: Run, recipe: Recipe) -> None:
        """With all that may stand around a run: middleware and callbacks."""
        context = run.context = RunContext(run, self._voice)
        running_context.set(context)
        try:
            run.arguments = self._arguments(run, recipe, context)
        except (InvalidArguments, CannotOpen) as error:
            self._unreadable(run, error)
            return
        self._started(run, recipe)
        await call_back(recipe.spec.on_processing, "on_processing", self._logger, context)
        try:
            value = await self._around(context)
        except BaseException as error:
            run.over = True
            await self._after_error(run, recipe, error)
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
        if recipe.is_coroutine and not (run.alone and recipe.spec.importable):
            assert run.arguments is not None
            args, kwargs = run.arguments
            if recipe.soft_timeout is None:
                return await recipe.function(*args, **kwargs)
            run.steering = Steered(recipe.function(*args, **kwargs))
            return await run.steering
        executor, call = self._make_call(run, recipe, current)
        run.waiter = self._loop.create_future()
        self._calls.submit(run, executor, call)
        self._calls.flush()
        finished = await run.waiter
        if finished.error is not None:
            raise finished.error
        if finished.died is None and not executor.remote:
            return finished.value
        outcome = Crashed(finished.died) if finished.died is not None else self._told(run, finished.value)
        if type(outcome) is Returned:
            return None if outcome.value is None else recipe.spec.returns.decode(outcome.value, recipe.result_codec)
        error = error_of(outcome)
        run.told = (error, outcome)
        raise error

    # What a call needs

    def _make_call(self, run: Run, recipe: Recipe, context: RunContext) -> tuple[Executor, Call]:
        """The call of a run and where to make it. Raises InvalidArguments or CannotOpen."""
        receipt = run.delivery.receipt
        name = f"{receipt.id}/{receipt.epoch}"
        executor = self._calls.alone() if run.alone and recipe.spec.importable else None
        if executor is None:
            executor = self._calls.executor(recipe.executor)
        if executor.remote:
            message = run.opened or self._recipes.message(run.delivery)
            order = order_for(
                recipe.spec,
                message,
                describe_run(run, self._worker_id, self._time()),
                soft_timeout=recipe.soft_timeout,
            )
            return executor, Call(id=name, order=order)
        args, kwargs = run.arguments or self._arguments(run, recipe, context)
        # A task of this loop carries its own context, with what the middleware has set.
        variables = contextvars.copy_context() if run.task is not None else self._context.copy()
        variables.run(running_context.set, context)
        return executor, Call(id=name, function=recipe.function, args=args, kwargs=kwargs, context=variables)

    def _arguments(self, run: Run, recipe: Recipe, context: RunContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if run.opened is None:
            if recipe.plain:
                return recipe.decode(run.delivery.envelope.body, recipe.codec, True)
            run.opened = self._recipes.message(run.delivery)
        return recipe.spec.prepare_call(run.opened, recipe.codec, context)

    # The end

    def call_finished(self, run: Run, finished: Finished) -> None:
        """An executor tells how a call ended."""
        if run.waiter is not None:
            if not run.waiter.done():
                run.waiter.set_result(finished)
            return
        recipe = run.recipe
        assert recipe is not None
        if finished.error is not None:
            self._raised(run, finished.error)
        elif finished.died is not None:
            self._finish(run, Crashed(finished.died))
        elif run.executor is not None and run.executor.remote:
            self._finish(run, self._told(run, finished.value))
        else:
            self._returned(run, recipe, finished.value)

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

    def _returned(self, run: Run, recipe: Recipe, value: Any) -> None:
        if value is None:
            self._finish(run, Returned(None))
            return
        try:
            encoded = recipe.encode(value, recipe.result_codec)
        except Exception as error:
            self._finish(run, Raised(self._record(run, error)))
        else:
            self._finish(run, Returned(encoded))

    def _raised(self, run: Run, error: BaseException) -> None:
        self._finish(run, self._failure(run, error))
        if isinstance(error, KeyboardInterrupt) and run.executor is None:
            raise error  # it is meant for the program that runs this loop

    def _failure(self, run: Run, error: BaseException) -> Outcome:
        """What an exception that came out of a run means."""
        if run.told is not None and error is run.told[0]:
            return run.told[1]
        if isinstance(error, RetryLater):
            return RetryRequested(error.after, error.count, self._record(run, error))
        if isinstance(error, Reject):
            rejected = Rejected(error.reason)
            rejected.__traceback__ = error.__traceback__
            return RejectedByTask(self._record(run, rejected))
        if isinstance(error, KeyboardInterrupt) and run.executor is None:
            return Released()
        return Raised(self._record(run, error))

    def _finish(self, run: Run, outcome: Outcome) -> None:
        """It ended by itself, unless the worker wanted it to end: then that is how it ended."""
        if run.ended:
            return  # it was abandoned: its late return is discarded
        if run.interrupt is None:
            self.end(run, outcome)
        elif run.interrupt is Interrupt.RELEASED and type(outcome) is Returned:
            self.end(run, outcome)  # just in time
        else:
            self.end(run, self._interrupted(run))

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
        self._finish(run, Returned(encoded))

    async def _after_error(self, run: Run, recipe: Recipe, error: BaseException) -> None:
        outcome = self._failure(run, error)
        if run.interrupt is Interrupt.TIMED_OUT:
            error = self._time_is_up(run)
            outcome = Raised(self._record(run, error))
        if run.interrupt in (None, Interrupt.TIMED_OUT) and not run.ended:
            run.chance = self._clock.random()
            action = decide(outcome, self._facts(run)).action
            if action is Action.RETRY:
                await call_back(recipe.spec.on_retry, "on_retry", self._logger, run.context, error)
            elif action is Action.DEAD_LETTER:
                await call_back(recipe.spec.on_failure, "on_failure", self._logger, run.context, error)
        self._finish(run, outcome)
        if isinstance(error, KeyboardInterrupt):
            raise error

    def end(self, run: Run, outcome: Outcome | None) -> None:
        """Its outcome is known; None: nobody wants to know it."""
        if run.ended:
            return
        run.ended = True
        if outcome is not None:
            if type(outcome) is not Returned and run.chance == 0.0:
                run.chance = self._clock.random()
            self._settle(decide(outcome, self._facts(run)))
        else:
            self._poke()
        # These refer back to the run: without them it goes when its last user lets go of it.
        run.task = run.context = run.told = None
        self.on_ended(run)

    def _facts(self, run: Run) -> Facts:
        recipe = run.recipe
        return Facts(
            run.delivery,
            _NO_POLICY if recipe is None else recipe.policy,
            self._worker_id,
            self._time(),
            run.started_at,
            run.saved,
            run.follow_ups,
            run.announced,
            run.chance,
        )

    # Ending runs from outside

    def interrupt(self, run: Run, why: Interrupt) -> None:
        """End a run: cancel its coroutine, kill its process, abandon its thread."""
        if run.ended:
            return
        run.cancelled = True
        first = run.interrupt is None
        if first or why is Interrupt.LOST:
            run.interrupt = why
        if not run.begun or not first:
            return  # the starter sees it, or it is ending already
        if run.task is not None:
            if run.executor is not None:
                self._calls.kill(run)
            run.task.cancel()
            self._deadlines.add(self._monotonic() + PATIENCE, run, Deadline.PATIENCE)
        else:
            if run.executor is not None:
                self._calls.kill(run)
            self.end(run, self._interrupted(run))  # without an executor its start is just being written down
        if run.executor is not None and self._calls.abandoned > MOST_ABANDONED:
            self._on_worn_out()

    def _on_deadline(self, run: Run, deadline: Deadline) -> None:
        if run.over:
            return  # only its callbacks still run
        if deadline is Deadline.HARD:
            self.interrupt(run, Interrupt.TIMED_OUT)
        elif deadline is Deadline.PATIENCE:
            self._abandon(run)
        elif run.steering is not None:
            recipe = run.recipe
            assert recipe is not None
            run.steering.throw(SoftTimeout(f"soft_timeout of {recipe.soft_timeout:g} s is over"))
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
        self.end(run, self._interrupted(run))

    def _interrupted(self, run: Run) -> Outcome | None:
        """How a run ended that the worker itself ended."""
        why = run.interrupt
        if why is Interrupt.CANCELLED:
            return Cancelled()
        if why is Interrupt.RELEASED:
            return Released()
        if why is Interrupt.LOST:
            self._logger.info(
                "%s %s: its lease is lost, so its end does not count; it runs elsewhere",
                run.delivery.envelope.task,
                run.delivery.envelope.id,
            )
            return None
        return Raised(self._record(run, self._time_is_up(run)))

    def _time_is_up(self, run: Run) -> TaskTimedOut:
        assert run.recipe is not None
        return TaskTimedOut(f"the run took longer than its timeout of {run.recipe.timeout:g} s")

    async def close(self) -> None:
        """Leave what was abandoned, and end the executors."""
        self._deadlines.close()
        for task in self._abandoned:
            task.cancel()
        await self._calls.close()

    # Small things

    def _told(self, run: Run, reply: bytes) -> Outcome:
        """How a run ended, as its child process tells it."""
        told = parse_reply(reply)
        if isinstance(told, RemoteReturned):
            run.follow_ups = told.follow_ups
        return outcome_of(told)

    def _unreadable(self, run: Run, error: Exception) -> None:
        if isinstance(error, CannotOpen):
            error = InvalidArguments(str(error))
        self.end(run, Unreadable(self._record(run, error)))

    def _record(self, run: Run, error: BaseException) -> ErrorRecord:
        return record_error(error, run.delivery.attempts + 1, self._time())
