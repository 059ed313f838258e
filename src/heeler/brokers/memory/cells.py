"""Named values that guards compare, and which of them are due when."""

from __future__ import annotations

import heapq

__all__ = ["Cells"]

_FEW_STALE = 64  # stale times are swept out when they are more than this and more than half


class Cells:
    """A cell that moves leaves its old time in the heap, where it is passed over later."""

    __slots__ = ("_due_at", "_heap", "_values")

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def get(self, name: str) -> bytes | None:
        return self._values.get(name)

    def due_at(self, name: str) -> float | None:
        return self._due_at.get(name)

    def set(self, name: str, value: bytes | None, due_at: float | None = None) -> None:
        """What the cell holds from now on (None: it is absent), and when it is due (None: at no time)."""
        if value is None:
            self._values.pop(name, None)
            due_at = None
        else:
            self._values[name] = value
        if due_at is None:
            self._due_at.pop(name, None)
        elif self._due_at.get(name) != due_at:
            self._due_at[name] = due_at
            heapq.heappush(self._heap, (due_at, name))
        self._sweep()

    def due(self, now: float, limit: int) -> tuple[list[str], float | None]:
        """Up to `limit` cells that are due, the earliest first, and the time of the first of all others."""
        found: list[tuple[float, str]] = []
        while self._heap and self._heap[0][0] <= now and len(found) < limit:
            entry = heapq.heappop(self._heap)
            if self._is_valid(entry) and entry not in found[-1:]:
                found.append(entry)
        while self._heap and (not self._is_valid(self._heap[0]) or self._heap[0] in found[-1:]):
            heapq.heappop(self._heap)
        next_at = self._heap[0][0] if self._heap else None
        for entry in found:
            heapq.heappush(self._heap, entry)
        return [name for _, name in found], next_at

    def _is_valid(self, entry: tuple[float, str]) -> bool:
        return self._due_at.get(entry[1]) == entry[0]

    def _sweep(self) -> None:
        stale = len(self._heap) - len(self._due_at)
        if stale > _FEW_STALE and stale * 2 > len(self._heap):
            self._heap = [(at, name) for name, at in self._due_at.items()]
            heapq.heapify(self._heap)
