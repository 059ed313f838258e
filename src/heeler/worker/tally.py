"""Counts by queue how many jobs have ended for good, but only while somebody asks the worker again and again."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.clock import Clock
from heeler.model import Action, SettleAnswer, Settlement, SettleResult

__all__ = ["Tally"]

COUNTS_FOR = 30.0  # seconds after it was asked last


class Tally:
    """Lives on the I/O thread. `counts` begin at zero when somebody asks after a while."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._until = 0.0
        self.counts: dict[str, int] = {}

    def asked(self) -> None:
        """Somebody wants to know what this worker does."""
        now = self._monotonic()
        if now >= self._until:
            self.counts = {}
        self._until = now + COUNTS_FOR

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[SettleResult]) -> None:
        """The broker has answered how runs ended."""
        if self._monotonic() >= self._until:
            return
        counts = self.counts
        for settlement, result in zip(settlements, answers, strict=True):
            is_over = settlement.action is Action.ACK or settlement.action is Action.DEAD_LETTER
            if is_over and result.answer is SettleAnswer.ACCEPTED:
                queue = settlement.delivery.envelope.queue
                counts[queue] = counts.get(queue, 0) + 1
