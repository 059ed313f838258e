"""Where schedules are kept: found by name, and by when they are due, so that a million others cost nothing.

The store reads neither what a schedule is (`definition`) nor how far it is (`state`). The state stands in the cell
`schedule_cell(name)`, so a publication whose guard names that cell moves it, and the time at which the schedule is due,
in the same step in which its jobs become real. Who wants to change a schedule says which state it has seen: whoever was
asleep meanwhile is refused.

All coroutines run on the process's I/O thread. Times are the store's own clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

__all__ = ["DueSchedules", "ScheduleChange", "ScheduleEntry", "ScheduleStore"]


class ScheduleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule. `origin` names the code that declares it; empty: it was added at run time."""

    name: str
    definition: bytes
    state: bytes
    due_at: float | None = None  # None: it is not due at any time
    origin: str = ""


class ScheduleChange(msgspec.Struct, frozen=True):
    """`name` becomes `entry` (None: is dropped) if its state is still `expected` (None: if there is none)."""

    name: str
    expected: bytes | None
    entry: ScheduleEntry | None


class DueSchedules(msgspec.Struct, frozen=True):
    """What is due at `now`, and when the first schedule that is not among `entries` is due (None: none ever is)."""

    now: float
    entries: list[ScheduleEntry]
    next_at: float | None


class ScheduleStore(ABC):
    """Schedules by name. What `change` has made, and what guards have moved, is read by whoever asks next."""

    @abstractmethod
    async def get(self, names: Sequence[str]) -> list[ScheduleEntry | None]:
        """The schedules of these names, in order; None for those that are not there."""

    @abstractmethod
    async def page(self, limit: int = 100, after: str | None = None, origin: str | None = None) -> list[ScheduleEntry]:
        """By name; `after` is the name that ended the last page, `origin` leaves out those of others."""

    @abstractmethod
    async def change(self, changes: Sequence[ScheduleChange]) -> list[bool]:
        """Make changes, each in one step or not at all; whether each was made.

        When it returns they are held at the durability the broker is configured for.
        """

    @abstractmethod
    async def due(self, limit: int) -> DueSchedules:
        """Up to `limit` schedules whose time has come, the earliest first; costs nothing for those that wait."""
