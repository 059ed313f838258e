"""The memory broker of `eager://`: nothing in it waits for its time, because whoever publishes runs it at once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.brokers.memory.broker import MemoryBroker
from heeler.clock import Clock
from heeler.errors import ConfigurationError
from heeler.io_thread import IoThread
from heeler.model import Action, CallId, Envelope, Publication, PublishResult, Settlement, SettleResult
from heeler.url import BrokerUrl

__all__ = ["EagerBroker", "eager_from_url"]

MOST_RUNS = 100


class EagerBroker(MemoryBroker):
    """Delays of jobs and of retries are over at once.

    A job that has run `MOST_RUNS` times and asks for another run keeps its delay from then on, so that a task which
    retries for ever does not keep its caller for ever.
    """

    def __init__(
        self, *, io: IoThread, clock: Clock, namespace: str, max_payload: int = MemoryBroker.max_payload
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace, max_payload=max_payload)
        self._runs: dict[str, int] = {}

    async def publish(self, publication: Publication) -> list[PublishResult]:
        return await super().publish(_due(publication))

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        return super().publish_blocking(_due(publication))

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        return await super().settle([self._hastened(settlement) for settlement in settlements], call)

    def _hastened(self, settlement: Settlement) -> Settlement:
        if settlement.follow_ups is not None:
            settlement = msgspec.structs.replace(settlement, follow_ups=_due(settlement.follow_ups))
        id = settlement.delivery.receipt.id
        if settlement.action is not Action.RETRY:
            self._runs.pop(id, None)
            return settlement
        self._runs[id] = runs = self._runs.get(id, 0) + 1
        return settlement if runs >= MOST_RUNS else msgspec.structs.replace(settlement, delay=0.0)


def _due(publication: Publication) -> Publication:
    envelopes = tuple(_due_envelope(envelope) for envelope in publication.envelopes)
    return msgspec.structs.replace(publication, envelopes=envelopes)


def _due_envelope(envelope: Envelope) -> Envelope:
    if envelope.delay or envelope.run_at is not None:
        return msgspec.structs.replace(envelope, delay=0.0, run_at=None)
    return envelope


def eager_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> EagerBroker:
    """The broker of `eager://`; each app has its own. Raises ConfigurationError for anything after the slashes."""
    url.finish(("max_payload",))
    if url.name:
        raise ConfigurationError(f"{url.redacted!r}: eager:// has no name; each app has a broker of its own")
    max_payload = url.option_int("max_payload", EagerBroker.max_payload, minimum=1)
    return EagerBroker(io=io, clock=clock, namespace=namespace, max_payload=max_payload)
