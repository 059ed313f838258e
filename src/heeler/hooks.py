"""The user's code at the start and the end of a worker process or pool child, with the state they share."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

__all__ = ["Hooks", "State"]

Hook = Callable[..., Any]


class State(SimpleNamespace):
    """What startup hooks made, as attributes or as items: `state.pool`, `state["pool"]`."""

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        vars(self)[name] = value

    def __contains__(self, name: object) -> bool:
        return name in vars(self)


class Hooks:
    """Startup hooks run in order, shutdown hooks in reverse; each gets the state if it has a parameter for it."""

    def __init__(self) -> None:
        self.startup: list[Hook] = []
        self.shutdown: list[Hook] = []

    async def run_startup(self, state: State) -> None:
        """Raises what a hook raises: a process that could not start must not take jobs."""
        for hook in self.startup:
            await _call(hook, state)

    async def run_shutdown(self, state: State, logger: logging.Logger) -> None:
        """The error of one hook is logged and does not keep the others from running."""
        for hook in reversed(self.shutdown):
            try:
                await _call(hook, state)
            except Exception:
                logger.exception("shutdown hook %s", getattr(hook, "__qualname__", hook))


async def _call(hook: Hook, state: State) -> None:
    value = hook(state) if inspect.signature(hook).parameters else hook()
    if inspect.isawaitable(value):
        await value
