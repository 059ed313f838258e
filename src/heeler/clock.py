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

__all__ = ["Clock", "SystemClock", "new_id", "new_ids"]


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


_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # a random digit with the variant's two bits set
_DRAWN = 256  # ends of ids for one question to the system

_id_lock = threading.Lock()
_last_tick = 0
_ends: list[str] = []


def new_id() -> str:
    """A UUIDv7 as text: ids made one after the other in one process sort in that order.

    RFC 9562 §5.7 with the 12 bits of `rand_a` used as a fraction of a millisecond (§6.2, method 3), so the
    first 60 time bits count in steps of about a quarter of a microsecond; a step never repeats here.
    """
    global _last_tick
    tick = (time.time_ns() << 12) // 1_000_000
    with _id_lock:
        if tick <= _last_tick:
            tick = _last_tick + 1
        _last_tick = tick
        if not _ends:
            _ends.extend(_random_ends(_DRAWN))
        end = _ends.pop()
    digits = f"{tick:015x}"
    return f"{digits[:8]}-{digits[8:12]}-7{digits[12:]}-{end}"


def new_ids(count: int) -> list[str]:
    """So many ids as `new_id` makes them, in order, for one look at the clock and one draw of chance."""
    global _last_tick
    first = (time.time_ns() << 12) // 1_000_000
    with _id_lock:
        if first <= _last_tick:
            first = _last_tick + 1
        _last_tick = first + count - 1
    ids = []
    for tick, end in enumerate(_random_ends(count), first):
        digits = f"{tick:015x}"
        ids.append(f"{digits[:8]}-{digits[8:12]}-7{digits[12:]}-{end}")
    return ids


def _random_ends(count: int) -> list[str]:
    """The last 62 bits of so many ids, behind the variant."""
    chance = os.urandom(8 * count).hex()
    return [
        f"{_VARIANT[chance[at]]}{chance[at + 1 : at + 4]}-{chance[at + 4 : at + 16]}" for at in range(0, 16 * count, 16)
    ]


def _start_anew() -> None:
    """In a forked child, which must not draw what its parent draws."""
    global _id_lock
    _id_lock = threading.Lock()
    _ends.clear()


os.register_at_fork(after_in_child=_start_anew)
