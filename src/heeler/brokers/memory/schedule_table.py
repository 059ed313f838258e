"""The definitions of schedules, by name and in the order of their names."""

from __future__ import annotations

import bisect
from typing import NamedTuple

__all__ = ["Known", "ScheduleTable"]


class Known(NamedTuple):
    """What stands of a schedule beside its cell."""

    definition: bytes
    origin: str


class ScheduleTable:
    """A name goes in and out at its place, so that a page costs no more than its own length."""

    __slots__ = ("by_name", "names")

    def __init__(self) -> None:
        self.by_name: dict[str, Known] = {}
        self.names: list[str] = []

    def put(self, name: str, known: Known) -> None:
        if name not in self.by_name:
            bisect.insort(self.names, name)
        self.by_name[name] = known

    def drop(self, name: str) -> None:
        if self.by_name.pop(name, None) is not None:
            del self.names[bisect.bisect_left(self.names, name)]
