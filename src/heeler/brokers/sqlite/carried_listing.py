"""Listing jobs whose messages travel elsewhere, the one taken down last first."""

from __future__ import annotations

import asyncio

from heeler.brokers.sqlite.carried_tables import SqliteTables
from heeler.brokers.sqlite.session import Session
from heeler.contracts import nothing_known_of_page_end
from heeler.model import JobFilter, ResultRecord, is_past, known_since, passes

__all__ = ["list_carried"]

_AT_ONCE = 500  # jobs that are looked at while the I/O thread does nothing else
_BEYOND_ALL = (1 << 63) - 1


async def list_carried(session: Session, wanted: JobFilter, limit: int, after: str | None) -> list[ResultRecord]:
    """What `OrderedStore.list_records` says."""
    before = _BEYOND_ALL
    if after is not None:
        with session.brisk.reading() as step:
            row = step.row("carried_row", (after,))
        if row is None:
            raise nothing_known_of_page_end(after)
        before = row[0]
    found: list[ResultRecord] = []
    while len(found) < limit:
        with session.brisk.reading() as step:
            count = 0
            for rowid, job in SqliteTables(step).taken_down_last(before, _AT_ONCE):
                count += 1
                before = rowid
                record = job.seen_record(step.now)
                if record is None:
                    continue
                if is_past(wanted, known_since(record)):
                    return found
                if passes(wanted, record):
                    found.append(record)
                    if len(found) == limit:
                        return found
        if count < _AT_ONCE:
            break
        await asyncio.sleep(0)
    return found
