"""Where time, ids and chance enter, so that a test can drive all three.

Nothing else in Heeler reads a clock, sleeps, or asks for a random number.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "new_id"]


class Clock(Protocol):
    """What time it is, and how to wait."""

    def time(self) -> float:
        """Seconds since the epoch, as this machine believes."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""
        ...

    def random(self) -> float:
        """A number in [0, 1): the jitter of retries and reconnections."""
        ...


class SystemClock:
    """The clock of the machine."""

    monotonic = staticmethod(time.monotonic)
    random = staticmethod(random.SystemRandom().random)
    time = staticmethod(time.time)  # last: from here on the name hides the module in this class body

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_id_lock = threading.Lock()
_last_tick = 0


def new_id() -> str:
    """A UUIDv7 as text: ids made one after the other in one process sort in that order.

    RFC 9562 §5.7 with the 12 bits of `rand_a` used as a fraction of a millisecond (§6.2, method 3), so the
    first 60 time bits count in steps of about a quarter of a microsecond; a step never repeats here.
    """
    global _last_tick
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    tick = (milliseconds << 12) | (rest << 12) // 1_000_000
    with _id_lock:
        if tick <= _last_tick:
            tick = _last_tick + 1
        _last_tick = tick
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFFFFFFFFFFFFFF
    value = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0x2 << 62 | tail
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _renew_lock() -> None:
    global _id_lock
    _id_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
