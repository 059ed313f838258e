"""Listing jobs, the latest publication first."""

from __future__ import annotations

from collections.abc import AsyncIterator

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.reading import OWN_JOBS, RecordReader
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import LETTERS
from heeler.contracts import nothing_known_of_page_end
from heeler.model import JobFilter, ResultRecord, TaskStatus, passes

__all__ = ["list_records"]

_LOOKED_AT = 1000  # jobs in one script
_FOUND = 200
_FEW = 1000  # with no more live jobs than this, only these are looked at where no others are wanted
_LIVE = frozenset({TaskStatus.READY, TaskStatus.RUNNING})
_CLOCKS_DIFFER = 60.0


async def list_records(
    link: Link, wanted: JobFilter, limit: int, after: str | None, reader: RecordReader = OWN_JOBS
) -> list[ResultRecord]:
    """What `ResultStore.list_records` says."""
    found: list[ResultRecord] = []
    seen: set[str] = set()  # while pages are swept, an id may come twice
    if limit < 1:
        return found
    listed = (
        _own(link, wanted, limit, after)
        if reader is OWN_JOBS
        else _registered(link, "ordered_listed", wanted, limit, after)
    )
    async for ids in listed:
        new = [id for id in ids if id not in seen]
        seen.update(new)
        records = await reader.read(link, new)
        found += [record for record in records if record is not None and passes(wanted, record)]
        if len(found) >= limit:
            break
    return found[:limit]


async def _own(link: Link, wanted: JobFilter, limit: int, after: str | None) -> AsyncIterator[list[str]]:
    """Ids of the broker's own jobs that may be wanted, in order, and of all that are."""
    if wanted.statuses <= _LIVE:
        few = await _few_live(link, wanted, after)
        if few is not None:
            for start in range(0, len(few), _FOUND):
                yield few[start : start + _FOUND]
            return
    async for ids in _registered(link, "listed", wanted, limit, after):
        yield ids


async def _registered(
    link: Link, name: str, wanted: JobFilter, limit: int, after: str | None
) -> AsyncIterator[list[str]]:
    """The same by the script of that name, which looks through the register."""
    page, before, begin = "", "", after or ""
    while True:
        find = min(limit, _FOUND)
        said = await link.run(script(name), page, before, begin, _LOOKED_AT, find, *_arguments(wanted))
        if said is None:
            raise nothing_known_of_page_end(begin)
        page, before, begin = said[0].decode(), said[1].decode(), ""
        yield [id.decode() for id in said[2]]
        if not page:
            return


async def _few_live(link: Link, wanted: JobFilter, after: str | None) -> list[str] | None:
    """All jobs that can be wanted, where these have not ended and are few; else None."""
    ready = TaskStatus.READY in wanted.statuses
    lines = (not wanted.scheduled, ready, ready and not wanted.scheduled)
    said = await link.run(script("live_ids"), *("1" if line else "" for line in lines), _FEW, after or "")
    if said is None:
        raise nothing_known_of_page_end(after or "")
    return [id.decode() for id in said[1]] if said[0] else None


def _arguments(wanted: JobFilter) -> tuple[str | float, ...]:
    letters = "".join(letter for status, letter in LETTERS.items() if status in wanted.statuses)
    if TaskStatus.CANCELLED in wanted.statuses:
        letters += "U"
    if wanted.statuses & _LIVE:
        letters += "L"
    live = ""
    if wanted.scheduled:
        letters, live = "L" if TaskStatus.READY in wanted.statuses else "", "D"
    elif TaskStatus.READY not in wanted.statuses:
        live = "W"
    moment = "" if wanted.since is None else wanted.since - _CLOCKS_DIFFER
    return letters, live, wanted.queue or "", wanted.task or "", moment
