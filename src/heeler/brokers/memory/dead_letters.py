"""The jobs that were given up, kept aside for a time and up to a count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from heeler.model import DeadLetter

__all__ = ["DeadLetters", "Parked"]


class Parked(msgspec.Struct, frozen=True, gc=False):
    """A dead letter, and the epoch of its job's last lease, from which a redrive goes on."""

    letter: DeadLetter
    epoch: int


class DeadLetters:
    """The dead letters by id, in the order in which they died."""

    __slots__ = ("_by_id", "_limit", "_ttl")

    def __init__(self, limit: int, ttl: float) -> None:
        self._by_id: dict[str, Parked] = {}
        self._limit = limit
        self._ttl = ttl

    def add(self, letter: DeadLetter, epoch: int) -> None:
        self._by_id.pop(letter.id, None)
        self._by_id[letter.id] = Parked(letter, epoch)
        if len(self._by_id) > self._limit:
            del self._by_id[next(iter(self._by_id))]

    def get(self, id: str, now: float) -> Parked | None:
        self.prune(now)
        return self._by_id.get(id)

    def remove(self, id: str) -> None:
        self._by_id.pop(id, None)

    def find(self, ids: Sequence[str] | None, queue: str | None, task: str | None, now: float) -> Iterator[Parked]:
        """Those that match all that is given, oldest first."""
        self.prune(now)
        chosen = self._by_id.values() if ids is None else [self._by_id[key] for key in ids if key in self._by_id]
        for parked in tuple(chosen):
            if (queue is None or parked.letter.queue == queue) and (task is None or parked.letter.task == task):
                yield parked

    def prune(self, now: float) -> None:
        while self._by_id:
            oldest = next(iter(self._by_id))
            if self._by_id[oldest].letter.died_at + self._ttl > now:
                return
            del self._by_id[oldest]
