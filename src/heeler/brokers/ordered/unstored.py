"""A broker out of a message server alone (`results="none://"`): at least once, and nothing is remembered of a job."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.brokers.ordered.broker import OrderedBroker
from heeler.brokers.ordered.no_store import NoStore
from heeler.contracts import PlainBroker
from heeler.model import CallId, Settlement, SettleResult

__all__ = ["UnstoredBroker"]

_CALLS_KEPT = 64


class UnstoredBroker(OrderedBroker):
    """The same steps with nobody to take anything down.

    A retry is sent before its message is acknowledged, so a death in between runs both. A lost lease is known only to
    the process that lost it. Expiry counts on the producer's clock.
    """

    def __init__(self, plain: PlainBroker, results: NoStore | None = None) -> None:
        super().__init__(plain, results or NoStore(plain.clock))
        self.store = None
        self._settled: dict[CallId, list[SettleResult]] = {}
        self.features = msgspec.structs.replace(
            self.features,
            shared=plain.features.shared,
            durable=plain.features.durable,
            fencing=False,
            id_deduplication=False,
            joins=False,
            guards=False,
            stores_results=False,
        )

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        known = self._settled.get(call) if call is not None else None
        if known is not None:
            return known
        results = await super().settle(settlements, call)
        if call is not None:
            self._settled[call] = results
            if len(self._settled) > _CALLS_KEPT:
                del self._settled[next(iter(self._settled))]
        return results
