"""Makes the store agree with what the code declares, and tells where they differed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from heeler.contracts import ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.errors import HeelerError
from heeler.model import ScheduleDefinition
from heeler.schedules.declared import DeclaredSchedules
from heeler.schedules.states import disabled, enabled, fresh, redefined
from heeler.schedules.stored import Known, entry_of, known_of

__all__ = ["Drift", "drift_between", "synchronise"]

_TRIES = 20
_PAGE = 500
_FIELDS = ("expression", "timezone", "overlap", "catch_up", "catch_up_limit", "start", "end")


class Drift(NamedTuple):
    """How a schedule in the store differs from the code.

    `kind`: `new`, the store does not have it yet; `changed`, in what `differences` say; `left`, the code declares it no
    more; `back`, it was disabled because of that and is declared again.
    """

    name: str
    kind: Literal["new", "changed", "left", "back"]
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = {
            "new": "the code declares it, the store does not have it",
            "changed": "the code declares it otherwise",
            "left": "the code does not declare it any more",
            "back": "the code declares it again",
        }[self.kind]
        return f"{text}: {'; '.join(self.differences)}" if self.differences else text


def drift_between(name: str, declared: ScheduleDefinition | None, known: Known | None) -> Drift | None:
    """How they differ; None if they agree."""
    if known is None:
        return None if declared is None else Drift(name, "new")
    if declared is None:
        return None if known.state.disabled else Drift(name, "left")
    differences = _differences(known.definition, declared)
    if differences:
        return Drift(name, "changed", differences)
    return Drift(name, "back") if known.state.disabled else None


async def synchronise(store: ScheduleStore, declared: DeclaredSchedules) -> list[Drift]:
    """Add what is new, change what differs, disable what left the code; what was different.

    Several processes may do so at once. How far a schedule is, and whether it is paused, stays as it is.
    """
    for _ in range(_TRIES):
        entries = await _entries(store, declared)
        drifts: list[Drift] = []
        changes: list[ScheduleChange] = []
        now = (await store.due(0)).now
        for name in sorted({*entries, *declared}):
            known = _known(entries.get(name))
            drift = drift_between(name, declared.get(name), known)
            is_ours = known is not None and known.entry.origin == declared.origin
            if drift is None and (is_ours or name not in declared):
                continue
            if drift is not None:
                drifts.append(drift)
            entry = _as_declared(name, declared, known, now)
            expected = entries[name].state if name in entries else None
            changes.append(ScheduleChange(name, expected, entry))
        if not changes or all(await store.change(changes)):
            return drifts
    raise HeelerError(
        "the schedules that the code declares could not be stored: others changed them each time; are processes with "
        "different versions of the code being started all the time?"
    )


async def _entries(store: ScheduleStore, declared: DeclaredSchedules) -> dict[str, ScheduleEntry]:
    """What the store has under the declared names, and what this code has declared before."""
    names = list(declared)
    entries = {entry.name: entry for entry in await store.get(names) if entry is not None}
    page = await store.page(_PAGE, origin=declared.origin)
    while page:
        entries.update({entry.name: entry for entry in page})
        page = await store.page(_PAGE, page[-1].name, declared.origin) if len(page) == _PAGE else []
    return entries


def _known(entry: ScheduleEntry | None) -> Known | None:
    """What cannot be read counts as not there: the code says what it is."""
    try:
        return None if entry is None else known_of(entry)
    except ValueError:
        return None


def _as_declared(
    name: str, declared: Mapping[str, ScheduleDefinition], known: Known | None, now: float
) -> ScheduleEntry:
    assert isinstance(declared, DeclaredSchedules)
    definition = declared.get(name)
    if definition is None:
        assert known is not None
        return entry_of(name, known.definition, disabled(known.state), declared.origin)
    if known is None:
        state = fresh(definition, now)
    else:
        state = redefined(known.state, known.definition, definition, now)
        if state.disabled:
            state = enabled(state, definition, now)
    return entry_of(name, definition, state, declared.origin)


def _differences(stored: ScheduleDefinition, declared: ScheduleDefinition) -> tuple[str, ...]:
    different = [
        f"{field} is {getattr(stored, field)!r} in the store, {getattr(declared, field)!r} in the code"
        for field in _FIELDS
        if getattr(stored, field) != getattr(declared, field)
    ]
    if stored.starts != declared.starts:
        same = stored.shown == declared.shown
        what = "its options differ" if same else f"it starts {stored.shown} in the store, {declared.shown} in the code"
        different.append(what)
    return tuple(different)
