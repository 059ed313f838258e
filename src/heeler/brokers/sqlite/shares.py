"""In which order a subscription takes from its queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["Shares"]

T = TypeVar("T")


class Shares:
    """The queues of one subscription: in strict order, or by weight.

    By weight as nginx's smooth weighted round robin does it: each pick credits every queue that has work with its
    weight, and charges the chosen one with all of these. So weights 3 and 1 give a a b a, not a a a b.
    """

    __slots__ = ("_credit", "_weights", "is_strict", "queues")

    def __init__(self, queues: Sequence[int], weights: Sequence[int | None]) -> None:
        self.queues = tuple(queues)
        self.is_strict = len(queues) == 1 or all(weight is None for weight in weights)
        self._weights = [1 if weight is None else weight for weight in weights]
        self._credit = [0] * len(self.queues)

    def pick(self, waiting: dict[int, list[T]]) -> Iterator[T]:
        """What waits by queue, in the order in which to take it, as far as the caller goes on."""
        sources = {index: iter(waiting[queue]) for index, queue in enumerate(self.queues) if queue in waiting}
        while sources:
            chosen = max(sources, key=lambda index: self._credit[index] + self._weights[index])
            item = next(sources[chosen], None)
            if item is None:
                del sources[chosen]
                continue
            for index in sources:
                self._credit[index] += self._weights[index]
                self._credit[chosen] -= self._weights[index]
            yield item
