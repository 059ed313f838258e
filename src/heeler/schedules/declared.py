"""The schedules that an app's code declares, with `@app.schedule`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heeler.errors import ConfigurationError
from heeler.model import ScheduleDefinition

__all__ = ["DeclaredSchedules", "Place"]


class Place(NamedTuple):
    """Where in the code it is declared: a task's module and name, or what a workflow is made of.

    `function` is the task's; a workflow has none.
    """

    module: str
    name: str
    function: object = None


class _Declared(NamedTuple):
    definition: ScheduleDefinition
    place: Place


class DeclaredSchedules(Mapping[str, ScheduleDefinition]):
    """By name. `origin` tells them from those that other apps of the same namespace declare."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._by_name: dict[str, _Declared] = {}

    def __getitem__(self, name: str) -> ScheduleDefinition:
        return self._by_name[name].definition

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, name: str, definition: ScheduleDefinition, place: Place) -> None:
        """Raises ConfigurationError if another declaration has the name.

        The same place may declare again (a reload, a notebook cell that is run again): then that holds.
        """
        there = self._by_name.get(name)
        if there is not None:
            is_again = there.place[:2] == place[:2]
            if not is_again or (place.function is not None and there.place.function is place.function):
                raise _taken(name, there)
        self._by_name[name] = _Declared(definition, place)


def _taken(name: str, there: _Declared) -> ConfigurationError:
    return ConfigurationError(
        f"the schedule name {name!r} is taken by {there.definition.shown} ({there.definition.expression}); give the "
        f"other one a name of its own: schedule(…, name=…)"
    )
