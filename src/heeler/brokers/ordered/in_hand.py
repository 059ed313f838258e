"""What this process's workers have on lease, by which messages, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heeler.clock import Clock
from heeler.model import Delivery, Receipt

__all__ = ["Holding", "InHand"]


class Holding:
    """A run in some worker's hands. More than one message may have brought it: all are acknowledged with its end."""

    __slots__ = ("delivery", "lease", "tags", "until")

    def __init__(self, delivery: Delivery, tags: list[Any], lease: float, until: float) -> None:
        self.delivery = delivery
        self.tags = tags
        self.lease = lease
        self.until = until


class InHand:
    """The holdings by job, on this process's own clock: it only decides when messages are handed back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holdings: dict[str, Holding] = {}
        self._loose: list[Any] = []  # messages whose run is held no more, and that nobody has handed back yet

    def __len__(self) -> int:
        return len(self._holdings)

    def take(self, delivery: Delivery, tags: list[Any], lease: float) -> None:
        """A worker gets this run. What an earlier run of the job was brought by is acknowledged with this one."""
        earlier = self._holdings.get(delivery.receipt.id)
        if earlier is not None:
            tags = earlier.tags + tags
        self._holdings[delivery.receipt.id] = Holding(delivery, tags, lease, self._clock.monotonic() + lease)

    def of_job(self, id: str) -> Holding | None:
        """The run of this job that some worker here holds."""
        return self._holdings.get(id)

    def keep(self, deliveries: Iterable[Delivery], lease: float) -> None:
        """These leases go on."""
        until = self._clock.monotonic() + lease
        for delivery in deliveries:
            holding = self._of(delivery.receipt)
            if holding is not None:
                holding.until = until
                holding.lease = lease

    def withdraw(self, receipt: Receipt) -> list[Any]:
        """The messages that brought a run, for who settles it and says what becomes of them; none if it is not here.

        Until `restore` or `drop` the run stays held, but nobody else acknowledges or hands back these.
        """
        holding = self._of(receipt)
        if holding is None:
            return []
        tags, holding.tags = holding.tags, []
        return tags

    def restore(self, receipt: Receipt, tags: list[Any]) -> None:
        """The settling has failed. If the run was lost meanwhile, these are handed back with what has expired."""
        holding = self._of(receipt)
        if holding is None:
            self._loose += tags
        else:
            holding.tags = tags + holding.tags

    def drop(self, receipt: Receipt) -> list[Any]:
        """This run is over; the messages that brought it and were not withdrawn."""
        holding = self._of(receipt)
        if holding is None:
            return []
        del self._holdings[receipt.id]
        return holding.tags

    def clear(self) -> None:
        self._holdings.clear()
        self._loose.clear()

    def drop_expired(self) -> list[Any]:
        """Let go of the runs whose lease is over; the messages that brought them."""
        now = self._clock.monotonic()
        expired = [key for key, holding in self._holdings.items() if holding.until <= now]
        loose, self._loose = self._loose, []
        return loose + [tag for key in expired for tag in self._holdings.pop(key).tags]

    def seconds_to_next_end(self, at_most: float) -> float:
        if not self._holdings:
            return at_most
        return min(at_most, min(holding.until for holding in self._holdings.values()) - self._clock.monotonic())

    def _of(self, receipt: Receipt) -> Holding | None:
        holding = self._holdings.get(receipt.id)
        return holding if holding is not None and holding.delivery.receipt.epoch == receipt.epoch else None
