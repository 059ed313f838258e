"""Hooks of the user's around enqueueing and running. Two onions, composed once; nothing is paid for absent hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heeler.model import EndedRun, Sending, StartedRun

__all__ = ["Middleware"]


class Middleware:
    """Override what you need; any object with some of these methods will do as well.

    Middleware run in declared order, the first one outermost. An error of a hook's own fails the enqueue or the
    attempt and names the hook.
    """

    def around_enqueue(self, message: Any, call_next: Callable[[Any], Any]) -> Any:
        """Called with each `Message` before it is sealed and sent; return `call_next(message)`, or a TaskResult of
        your own to send nothing.
        """
        return call_next(message)

    async def around_run(self, context: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Called around each run with its `TaskContext`; return `await call_next(context)`, or a value of your own."""
        return await call_next(context)

    def on_sent(self, sending: Sending) -> None:
        """Told of each publication when the broker has answered it or could not, where `enqueue` was called.

        Of the later jobs of a workflow, which others let go, it is told in the worker that fetches them first.
        """

    def on_started(self, run: StartedRun) -> None:
        """Told of each run when it starts, on the worker's event loop: return soon."""

    def in_child(self, context: Any) -> None:
        """Called in a pool child before each run there, with its `TaskContext`.

        Context variables that it sets are set for that run. An error fails the attempt.
        """

    def on_settled(self, runs: Sequence[EndedRun]) -> None:
        """Told, in batches, of runs whose end the broker knows, and of runs whose lease was lost.

        Called on the I/O thread, which fetches and renews leases: return soon.
        """

    def on_error(self, exc: BaseException, where: str) -> None:
        """A fault of a worker's part or of the broker (not of a task); `where` names the part."""

    def ready(self, worker: Any) -> bool:
        """Asked before each fetch; False postpones it for a moment."""
        return True
