"""Drives a coroutine so that an exception of our choice can be raised inside it: `SoftTimeout`, for one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["Steered"]


class Steered:
    """Awaits `coroutine`; `throw` raises an exception at the point where it waits.

    asyncio can only cancel a task. So the task is cancelled, and the cancellation is exchanged for the exception on
    its way in. Only tasks with a soft timeout pay for this.
    """

    __slots__ = ("_coroutine", "_error", "_task")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None

    def throw(self, error: BaseException) -> None:
        """Raise `error` inside the coroutine, at its next turn."""
        if self._task is not None and not self._task.done():
            self._error = error
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        inner = self._coroutine
        step, given = inner.send, None
        while True:
            try:
                waited_for = step(given)
            except StopIteration as end:
                return end.value
            try:
                given = yield waited_for
                step = inner.send
            except BaseException as error:
                step = inner.throw
                given = error
                if isinstance(error, asyncio.CancelledError) and self._error is not None:
                    given, self._error = self._error, None
                    if self._task is not None:
                        self._task.uncancel()
