"""The jobs that were given up, kept aside for a time and up to a count."""

from __future__ import annotations

import itertools
from collections import Counter
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

    def ids(self) -> list[str]:
        """Of all, oldest first."""
        return list(self._by_id)

    def count(self, now: float) -> Counter[str]:
        """How many each queue has."""
        self.prune(now)
        return Counter(parked.letter.queue for parked in self._by_id.values())

    def find(self, ids: Sequence[str] | None, queue: str | None, task: str | None, now: float) -> list[Parked]:
        """Those that match all that is given, in the order of the ids, else oldest first."""
        self.prune(now)
        chosen = [self._by_id[id] for id in dict.fromkeys(self._by_id if ids is None else ids) if id in self._by_id]
        return [parked for parked in chosen if _matches(parked.letter, queue, task)]

    def newest(
        self, queue: str | None, task: str | None, limit: int, after: str | None, now: float
    ) -> list[DeadLetter]:
        """A page of those that match all that is given; it begins behind `after`, where that is still there."""
        self.prune(now)
        ids: Iterator[str] = reversed(self._by_id)
        if after in self._by_id:
            ids = itertools.dropwhile(lambda id: id != after, ids)
            next(ids)
        letters = (self._by_id[id].letter for id in ids)
        return list(itertools.islice((letter for letter in letters if _matches(letter, queue, task)), limit))

    def prune(self, now: float) -> None:
        while self._by_id:
            oldest = next(iter(self._by_id))
            if self._by_id[oldest].letter.died_at + self._ttl > now:
                return
            del self._by_id[oldest]


def _matches(letter: DeadLetter, queue: str | None, task: str | None) -> bool:
    return (queue is None or letter.queue == queue) and (task is None or letter.task == task)
