"""Changes a schedule that others may change at the same moment: read, decide, write if it is still the same."""

from __future__ import annotations

from collections.abc import Callable

from heeler.contracts import Broker, ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.errors import HeelerError
from heeler.model import Command
from heeler.schedules.stored import Known, known_of

__all__ = ["edit", "wake_schedulers"]

_TRIES = 50
WOKEN_WITHIN = 60.0  # schedulers look by themselves at least as often

Change = Callable[[Known | None, float], ScheduleEntry | None]
"""From what is there (None: nothing that can be read) and the store's time to what shall be there (None: nothing)."""


async def edit(broker: Broker, store: ScheduleStore, name: str, change: Change) -> ScheduleEntry | None:
    """The entry as it was written. What `change` raises comes out of here, and nothing is changed."""
    for _ in range(_TRIES):
        entry = (await store.get([name]))[0]
        now = (await store.due(0)).now
        wanted = change(_read(entry), now)
        if entry is None and wanted is None:
            return None
        expected = None if entry is None else entry.state
        if (await store.change([ScheduleChange(name, expected, wanted)]))[0]:
            if wanted is not None and wanted.due_at is not None and wanted.due_at < now + WOKEN_WITHIN:
                await wake_schedulers(broker)
            return wanted
    raise HeelerError(f"the schedule {name!r} could not be changed: others changed it each time")


async def wake_schedulers(broker: Broker) -> None:
    """Have them look at what has changed, where they can be reached; else they look within a minute."""
    if broker.control is not None:
        await broker.control.send(Command(kind="schedules"))


def _read(entry: ScheduleEntry | None) -> Known | None:
    try:
        return None if entry is None else known_of(entry)
    except ValueError:
        return None
