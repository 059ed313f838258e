"""Schedules in memory."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from heeler.brokers.memory.schedule_table import Known
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import DueSchedules, ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.model import schedule_cell

__all__ = ["MemoryScheduleStore"]


class MemoryScheduleStore(ScheduleStore):
    """Definitions in a table, states in the cells that guards move."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def get(self, names: Sequence[str]) -> list[ScheduleEntry | None]:
        with self._state.lock:
            return [self._entry(name) for name in names]

    async def page(self, limit: int = 100, after: str | None = None, origin: str | None = None) -> list[ScheduleEntry]:
        with self._state.lock:
            names = self._state.schedules.names
            found: list[ScheduleEntry] = []
            for place in range(0 if after is None else bisect.bisect_right(names, after), len(names)):
                if len(found) >= limit:
                    break
                entry = self._entry(names[place])
                if entry is not None and (origin is None or entry.origin == origin):
                    found.append(entry)
            return found

    async def change(self, changes: Sequence[ScheduleChange]) -> list[bool]:
        with self._state.lock:
            return [self._change(change) for change in changes]

    async def due(self, limit: int) -> DueSchedules:
        with self._state.lock:
            now = self._state.clock.time()
            cells, next_at = self._state.cells.due(now, limit)
            first = len(schedule_cell(""))
            entries = [entry for cell in cells if (entry := self._entry(cell[first:])) is not None]
            return DueSchedules(now, entries, next_at)

    def _entry(self, name: str) -> ScheduleEntry | None:
        known = self._state.schedules.by_name.get(name)
        cell = schedule_cell(name)
        state = self._state.cells.get(cell)
        if known is None or state is None:
            return None
        return ScheduleEntry(
            name=name,
            definition=known.definition,
            state=state,
            due_at=self._state.cells.due_at(cell),
            origin=known.origin,
        )

    def _change(self, change: ScheduleChange) -> bool:
        cell = schedule_cell(change.name)
        if self._state.cells.get(cell) != change.expected:
            return False
        entry = change.entry
        if entry is None:
            self._state.schedules.drop(change.name)
            self._state.cells.set(cell, None)
        else:
            self._state.schedules.put(change.name, Known(entry.definition, entry.origin))
            self._state.cells.set(cell, entry.state, entry.due_at)
        return True
