"""Schedules in Redis: definitions in a hash, states in the cells that guards move, both in the namespace's slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.publishing import move_arguments
from heeler.brokers.redis.scripts import script
from heeler.contracts import DueSchedules, ScheduleChange, ScheduleEntry, ScheduleStore

__all__ = ["RedisScheduleStore"]

_AT_ONCE = 500  # schedules in one script
_FIELDS = 5


class RedisScheduleStore(ScheduleStore):
    """One script for each batch."""

    def __init__(self, link: Callable[[], Link]) -> None:
        self._link = link

    async def get(self, names: Sequence[str]) -> list[ScheduleEntry | None]:
        found: dict[str, ScheduleEntry] = {}
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            found |= {entry.name: entry for entry in _entries(await self._run("get_schedules", len(some), *some))}
        return [found.get(name) for name in names]

    async def page(self, limit: int = 100, after: str | None = None, origin: str | None = None) -> list[ScheduleEntry]:
        found: list[ScheduleEntry] = []
        while len(found) < limit:
            wanted = min(limit - len(found), _AT_ONCE)
            is_of_one = "" if origin is None else "1"
            page = _entries(await self._run("list_schedules", wanted, after or "", is_of_one, origin or ""))
            found += page
            if len(page) < wanted:
                break
            after = page[-1].name
        return found

    async def change(self, changes: Sequence[ScheduleChange]) -> list[bool]:
        made: list[bool] = []
        for start in range(0, len(changes), _AT_ONCE):
            some = changes[start : start + _AT_ONCE]
            arguments: list[Argument] = [len(some)]
            for change in some:
                arguments += _change_arguments(change)
            made += [answer == b"1" for answer in await self._run("change_schedules", *arguments)]
        return made

    async def due(self, limit: int) -> DueSchedules:
        now, next_at, *fields = await self._run("due_schedules", limit)
        return DueSchedules(float(now), _entries(fields), float(next_at) if next_at else None)

    async def _run(self, name: str, *arguments: Argument) -> list[bytes]:
        said: list[bytes] = await self._link().run(script(name), *arguments)
        return said


def _change_arguments(change: ScheduleChange) -> list[Argument]:
    entry = change.entry
    if entry is None:
        return [change.name, *move_arguments(change.expected, None, None), ""]
    moved = move_arguments(change.expected, entry.state, entry.due_at)
    return [change.name, *moved, "1", entry.origin, entry.definition]


def _entries(fields: Sequence[bytes]) -> list[ScheduleEntry]:
    return [
        ScheduleEntry(
            name=name.decode(),
            origin=origin.decode(),
            definition=definition,
            state=state,
            due_at=float(due_at) if due_at else None,
        )
        for name, origin, definition, state, due_at in zip(*[iter(fields)] * _FIELDS, strict=True)
    ]
