"""How `SoftTimeout` gets into code that runs in a pool child."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any

from heeler.errors import SoftTimeout
from heeler.worker.steering import Steered

__all__ = ["run_coroutine", "soft_alarm"]


@contextlib.contextmanager
def soft_alarm(seconds: float | None) -> Iterator[None]:
    """Raise SoftTimeout in the main thread, wherever in the block it then is; None: never."""
    if seconds is None:
        yield
        return

    def interrupt(number: int, where: FrameType | None) -> None:
        raise _over(seconds)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))  # zero would mean never
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def run_coroutine(coroutine: Coroutine[Any, Any, Any], soft_timeout: float | None) -> Any:
    """Await it, and raise SoftTimeout where it waits at that time; a signal could hit the event loop instead."""
    if soft_timeout is None:
        return await coroutine
    steered = Steered(coroutine)
    timer = asyncio.get_running_loop().call_later(soft_timeout, steered.throw, _over(soft_timeout))
    try:
        return await steered
    finally:
        timer.cancel()


def _over(seconds: float) -> SoftTimeout:
    return SoftTimeout(f"the soft_timeout of {seconds:g} s is over")
