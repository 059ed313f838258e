"""Listing jobs, the latest publication first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from heeler.brokers.memory.register import Register
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import nothing_known_of_page_end
from heeler.model import JobFilter, ResultRecord, is_past, known_since, passes

__all__ = ["list_records"]

_AT_ONCE = 500  # jobs that are looked at while all others wait


async def list_records(
    state: MemoryState,
    register: Register,
    wanted: JobFilter,
    limit: int,
    after: str | None,
    number_of: Callable[[str], int | None],
    record_of: Callable[[str, int, float], ResultRecord | None],
) -> list[ResultRecord]:
    """`number_of` an id in the register; `record_of` an id and its number at that time. Raises ResultNotFound."""
    number: int | None = None
    if after is not None:
        with state.lock:
            number = number_of(after)
        if number is None:
            raise nothing_known_of_page_end(after)
    found: list[ResultRecord] = []
    while limit > 0:
        with state.lock:
            now = state.clock.time()
            looked_at = list(islice(register.newest(number), _AT_ONCE))
            for number, id in looked_at:
                record = record_of(id, number, now)
                if record is None:
                    continue
                if is_past(wanted, known_since(record)):
                    return found
                if passes(wanted, record):
                    found.append(record)
                    if len(found) == limit:
                        return found
        if len(looked_at) < _AT_ONCE:
            return found
        await asyncio.sleep(0)
    return found
