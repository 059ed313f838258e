"""What the call of a run needs: its arguments, the context it runs in, and the executor where it belongs."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import msgspec

from heeler.clock import Clock
from heeler.contracts import Call, Executor
from heeler.task_context import running_context
from heeler.worker.calls import Calls
from heeler.worker.recipe import CannotOpen, Recipe, Recipes
from heeler.worker.remote_messages import order_for
from heeler.worker.run import Run
from heeler.worker.run_context import RunContext, describe_run

__all__ = ["CallMaker"]


class CallMaker:
    """Lives on the task loop."""

    def __init__(self, recipes: Recipes, calls: Calls, clock: Clock, worker_id: str) -> None:
        self._recipes = recipes
        self._calls = calls
        self._time = clock.time
        self._worker_id = worker_id
        self._variables = contextvars.copy_context()

    def open(self, run: Run) -> None:
        """Find out how it is to be run. Raises CannotOpen."""
        run.recipe, run.opened = self._recipes.of(run.delivery)
        if run.completed is not None:
            opened = run.opened or self._recipes.message(run.delivery)
            run.opened = msgspec.structs.replace(opened, payload=run.completed.body)

    def arguments(self, run: Run, recipe: Recipe, context: RunContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the function. Raises InvalidArguments or CannotOpen."""
        try:
            if run.opened is None:
                if recipe.plain:
                    return recipe.decode(run.delivery.envelope.body, recipe.codec, True)
                run.opened = self._recipes.message(run.delivery)
            mends = () if run.completed is None else run.completed.mends
            return recipe.spec.prepare_call(run.opened, recipe.codec, context, mends)
        except (asyncio.CancelledError, SystemExit) as error:
            # From a decoder of the user's, which must not end the worker.
            raise CannotOpen(f"decoding the arguments raised {type(error).__name__}") from error

    def call(self, run: Run, recipe: Recipe, context: RunContext) -> tuple[Executor, Call]:
        """The call for an executor, and which one that is.

        Raises InvalidArguments or CannotOpen, or what keeps the executor from starting.
        """
        receipt = run.delivery.receipt
        name = f"{receipt.id}/{receipt.epoch}"
        executor = self._calls.alone() if runs_in_child(run, recipe) else self._calls.executor(recipe.executor)
        if executor.remote:
            order = order_for(
                recipe.spec,
                run.opened or self._recipes.message(run.delivery),
                describe_run(run, self._worker_id, self._time()),
                soft_timeout=recipe.soft_timeout,
                mends=() if run.completed is None else run.completed.mends,
            )
            return executor, Call(id=name, order=order)
        args, kwargs = run.arguments or self.arguments(run, recipe, context)
        # A task of this loop carries variables of its own: what the middleware has set.
        variables = contextvars.copy_context() if run.task is not None else self._variables.copy()
        variables.run(running_context.set, context)
        return executor, Call(id=name, function=recipe.function, args=args, kwargs=kwargs, context=variables)


def runs_in_child(run: Run, recipe: Recipe) -> bool:
    """Whether it is a suspect that a child process can run in this one's place."""
    return run.alone and recipe.spec.importable
