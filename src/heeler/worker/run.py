"""One delivery in this worker's hands, from its fetch to the broker's answer to its settlement."""

from __future__ import annotations

import asyncio
import enum
import math
from typing import TYPE_CHECKING, Any

import msgspec

from heeler.model import Delivery, Envelope, Latch, Message

if TYPE_CHECKING:
    from heeler.contracts import Executor, Finished
    from heeler.worker.completing import Completed
    from heeler.worker.outcome import Outcome
    from heeler.worker.recipe import Recipe
    from heeler.worker.steering import Steered

__all__ = ["Interrupt", "Run"]


class Interrupt(enum.Enum):
    """Why the worker itself ends a run."""

    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    RELEASED = "RELEASED"  # at shutdown
    LOST = "LOST"  # the lease is somebody else's now: what it returns is discarded


class Run(msgspec.Struct, eq=False):
    """The record that walks through the worker's parts. It changes: it is no value.

    The task loop writes it, and the I/O thread reads it; `announced`, `renewed_at` and `marked` are the I/O thread's.
    Whoever pops a run off a line owns it until it has begun.
    """

    delivery: Delivery
    fetched_at: float  # monotonic
    waits_since: float | None = None  # monotonic; since when it is in line, where that was not at once
    renewed_at: float = 0.0
    renew_until: float = math.inf  # monotonic; its timeout and grace after its start
    recipe: Recipe | None = None
    opened: Message | None = None
    begun: bool = False  # it has a slot
    alone: bool = False  # it is a suspect, so it runs by itself
    started_at: float | None = None  # epoch seconds
    follows: bool = False  # a latch let it go, nobody knows when
    completed: Completed | None = None  # what its body is with the results of others in it
    started_mono: float = 0.0
    over: bool = False  # its function has ended; callbacks may still run
    ended: bool = False  # its outcome is known, or nobody wants to know it
    interrupt: Interrupt | None = None
    cancelled: bool = False  # what `context.cancelled` says
    marked: bool = False  # the broker knows that it starts
    announced: bool = False  # others know that it runs
    has_news: bool = False  # a report waits for the next renewal
    fraction: float | None = None
    message: str | None = None
    saved: bytes | None = None
    follow_ups: tuple[Envelope, ...] = ()
    follow_latches: tuple[Latch, ...] = ()
    chance: float = 0.0  # drawn once, so that all that is decided about it agrees
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    context: Any = None
    task: asyncio.Task[Any] | None = None
    steering: Steered | None = None
    executor: Executor | None = None
    call_id: str = ""
    waiter: asyncio.Future[Finished] | None = None
    carried: dict[str, str] | None = None  # headers that middleware gives it on its way to a child
    outcome: Outcome | None = None  # kept where somebody is told of ended runs
    ended_mono: float = 0.0
    told: tuple[BaseException, Outcome] | None = None  # what a child said, as an exception and as it is
