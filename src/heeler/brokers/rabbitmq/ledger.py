"""Which deliveries of a channel are settled, so that one acknowledgement can stand for many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.rabbitmq import frames

__all__ = ["Ledger"]


class Ledger:
    """Delivery tags count up from 1. All up to `_floor` are settled, and those in `_above`.

    `on_empty` is called when nothing is outstanding any more, if somebody waits for that.
    """

    __slots__ = ("_above", "_floor", "delivered", "on_empty", "settled")

    def __init__(self) -> None:
        self._floor = 0
        self._above: set[int] = set()
        self.delivered = 0
        self.settled = 0
        self.on_empty: Callable[[], object] | None = None

    @property
    def outstanding(self) -> int:
        return self.delivered - self.settled

    def acknowledge(self, channel: int, numbers: Sequence[int]) -> bytes:
        """The frames that acknowledge these: one for all that nothing unsettled stands before, one for each other."""
        floor = self._settle(numbers)
        below = [number for number in numbers if number <= floor]
        parts = [frames.acknowledgement(channel, max(below), multiple=True)] if below else []
        parts += [frames.acknowledgement(channel, number, multiple=False) for number in numbers if number > floor]
        return b"".join(parts)

    def reject(self, channel: int, numbers: Sequence[int]) -> bytes:
        """The frames that give these back to their queues, to be delivered as redelivered."""
        self._settle(numbers)
        return b"".join(frames.rejection(channel, number) for number in numbers)

    def _settle(self, numbers: Sequence[int]) -> int:
        """Take them for settled; up to where all are now."""
        above = self._above
        above.update(numbers)
        self.settled += len(numbers)
        floor = self._floor
        while floor + 1 in above:
            floor += 1
            above.remove(floor)
        self._floor = floor
        if self.on_empty is not None and self.settled >= self.delivered:
            self.on_empty()
        return floor
