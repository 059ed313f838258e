"""Schedules in a file: definitions in a table of their own, states in the cells that guards move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.step import Step
from heeler.contracts import DueSchedules, ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.model import schedule_cell

__all__ = ["SqliteScheduleStore"]

_AT_ONCE = 500  # schedules in one transaction
_CELLS = schedule_cell("")


class SqliteScheduleStore(ScheduleStore):
    """Reads on the connection that does not wait for the disk."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session

    async def get(self, names: Sequence[str]) -> list[ScheduleEntry | None]:
        found: dict[str, ScheduleEntry] = {}
        with self._session().brisk.reading() as step:
            for start in range(0, len(names), _AT_ONCE):
                some = msgspec.json.encode(names[start : start + _AT_ONCE]).decode()
                found |= {row[0]: _entry(*row) for row in step.run("schedules_named", (some, _CELLS))}
        return [found.get(name) for name in names]

    async def page(self, limit: int = 100, after: str | None = None, origin: str | None = None) -> list[ScheduleEntry]:
        with self._session().brisk.reading() as step:
            begin: tuple[Any, ...] = (after or "", _CELLS, limit)
            if origin is None:
                return [_entry(*row) for row in step.run("list_schedules", begin)]
            return [_entry(*row) for row in step.run("list_schedules_of", (*begin, origin))]

    async def change(self, changes: Sequence[ScheduleChange]) -> list[bool]:
        made: list[bool] = []
        for start in range(0, len(changes), _AT_ONCE):
            with self._session().step(durable=True) as step:
                made += [_change(step, change) for change in changes[start : start + _AT_ONCE]]
        return made

    async def due(self, limit: int) -> DueSchedules:
        with self._session().brisk.reading() as step:
            entries = [_entry(*row) for row in step.run("due_schedules", (step.now, len(_CELLS), limit))]
            last = (entries[-1].due_at, schedule_cell(entries[-1].name)) if entries else (0.0, "")
            row = step.row("next_schedule", last)
            return DueSchedules(step.now, entries, None if row is None else row[0])


def _entry(name: str, origin: str, definition: bytes, state: bytes, due_at: float | None) -> ScheduleEntry:
    return ScheduleEntry(name=name, definition=definition, state=state, due_at=due_at, origin=origin)


def _change(step: Step, change: ScheduleChange) -> bool:
    cell = schedule_cell(change.name)
    row = step.row("cell", (cell,))
    if (None if row is None else row[0]) != change.expected:
        return False
    entry = change.entry
    if entry is None:
        step.run("drop_schedule", (change.name,))
        step.run("clear_cell", (cell,))
    else:
        step.run("put_schedule", (change.name, entry.origin, entry.definition))
        step.run("set_cell", (cell, entry.state, entry.due_at))
    return True
