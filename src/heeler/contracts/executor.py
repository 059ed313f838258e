"""Where plain functions run: threads, processes, or something of the user's own."""

from __future__ import annotations

import contextvars
import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

__all__ = ["Call", "CallChannel", "Executor", "Finished", "KillAnswer"]


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One function call. `id` is unique among the calls that run.

    Executors of this process call `function(*args, **kwargs)` inside `context`. Executors with `remote = True`
    get `order` instead: bytes that the entry point they were built with understands in the other process.
    """

    id: str
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    context: contextvars.Context | None = None
    order: bytes = b""


class Finished(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a call ended: with a value, an error, or (`died` says how) with the death of its process."""

    id: str
    value: Any = None
    error: BaseException | None = None
    died: str | None = None


class KillAnswer(enum.Enum):
    KILLED = "KILLED"  # it is over: no Finished will come
    ABANDONED = "ABANDONED"  # it goes on where nobody waits for it; no Finished will come
    GONE = "GONE"  # it is not running here (any more): its Finished has been or will be delivered


class CallChannel(Protocol):
    """What the entry point of a remote executor gets beside its order: the way back while the call runs.

    The entry point is `entry(order: bytes, channel: CallChannel) -> bytes`; what it returns is the `Finished.value`.
    """

    def send(self, data: bytes) -> None:
        """Deliver bytes to `on_signal`; from any thread of this process."""
        ...

    def received(self) -> list[bytes]:
        """What `Executor.signal` has sent for this call since the last look; never blocks."""
        ...

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back when this process ends in order; what it raises is printed and changes nothing."""
        ...


class Executor(ABC):
    """Runs calls, in order of submission, and tells in batches how they ended.

    `on_done` gets lists of `Finished` and `on_signal` what a remote call sends meanwhile, (id, bytes); both are
    called on the loop that `start` was called on. `workers` is how many calls can run at once; a call beyond that
    waits in the executor, so the worker submits no more than that.
    """

    remote: bool = False

    def __init__(self) -> None:
        self.on_done: Callable[[list[Finished]], None] = lambda finished: None
        self.on_signal: Callable[[str, bytes], None] = lambda id, data: None

    @abstractmethod
    def start(self, workers: int) -> None:
        """Called on the worker's loop before the first submit, and again after `close` if another worker comes."""

    @abstractmethod
    def submit(self, calls: Sequence[Call]) -> None:
        """Start the calls; never blocks, never raises for what a call does."""

    @abstractmethod
    def kill(self, id: str) -> KillAnswer:
        """End one call, or abandon it where it cannot be ended. Its slot is free at once."""

    def signal(self, id: str, data: bytes) -> None:  # noqa: B027 - only remote executors have something to do
        """Send bytes to a running remote call."""

    @property
    def abandoned(self) -> int:
        """How many abandoned calls still go on."""
        return 0

    @abstractmethod
    async def close(self, grace: float = 0.0) -> None:
        """End the executor: wait up to `grace` seconds for what runs, then kill or abandon it."""
