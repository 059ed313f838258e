"""What stands in for a store where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.clock import Clock
from heeler.contracts import (
    Applied,
    BeginAnswer,
    Begun,
    Cancelled,
    Candidate,
    Inbox,
    OrderedStore,
    Outgoing,
    Reserved,
    Unsent,
)
from heeler.errors import ConfigurationError
from heeler.model import (
    Action,
    CallId,
    DeadLetter,
    Envelope,
    JobFilter,
    LatchRecord,
    Publication,
    PublishAnswer,
    PublishResult,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    SettleAnswer,
    Settlement,
    copy_of,
    guard_refused,
    letter_of,
    revived,
)

__all__ = ["NoStore"]

_LOST = Applied(SettleAnswer.LOST)
_CALLS_KEPT = 64
_CANNOT_JOIN = (
    "joins and guards need a store to remember them, and this app has none; give `results` a URL, "
    "such as redis:// or sqlite:///"
)


class NoStore(OrderedStore):
    """Answers from the messages themselves, and from what this process has in hand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, int] = {}  # the epoch of each run that this process has begun and not ended
        self._calls: dict[CallId, list[Applied]] = {}

    async def open(self) -> None:
        self._runs.clear()

    async def close(self) -> None:
        pass

    async def reserve(self, publication: Publication) -> Reserved:
        if publication.guard is not None:
            return Reserved(guard_refused(publication, _CANNOT_JOIN))
        if publication.latches:
            refused = [PublishResult(PublishAnswer.REFUSED, one.id, _CANNOT_JOIN) for one in publication.envelopes]
            if not refused:
                raise ConfigurationError(_CANNOT_JOIN)
            return Reserved(refused)
        now = self._clock.time()
        results: list[PublishResult] = []
        messages: dict[str, Outgoing] = {}
        for envelope in publication.envelopes:
            answer = PublishAnswer.EXISTS if envelope.id in messages else PublishAnswer.ACCEPTED
            results.append(PublishResult(answer, envelope.id))
            messages.setdefault(envelope.id, _outgoing(envelope, now))
        return Reserved(results, Unsent("", tuple(messages.values())) if messages else None)

    async def refuse(self, ids: Sequence[str]) -> None:
        pass

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        now = self._clock.time()
        return [
            Unsent("", (Outgoing(_expiring(revived(letter.envelope, letter.envelope.epoch + 1), None, now)),))
            if letter.envelope is not None
            else None
            for letter in letters
        ]

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        now = self._clock.time()
        return [self._begin(candidate, now) for candidate in candidates]

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        receipts = [renewal.delivery.receipt for renewal in renewals]
        return RenewalAnswer(
            frozenset(receipt.id for receipt in receipts if self._runs.get(receipt.id) != receipt.epoch)
        )

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        known = self._calls.get(call) if call is not None else None
        if known is not None:
            return known
        now = self._clock.time()
        applied = [self._apply(settlement, now) for settlement in settlements]
        if call is not None:
            self._calls[call] = applied
            if len(self._calls) > _CALLS_KEPT:
                del self._calls[next(iter(self._calls))]
        return applied

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        return [Unsent("") for _ in envelopes]

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        pass

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        return []

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        return [None for _ in ids]

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        raise ConfigurationError("this app stores no results (results=none://), so nobody knows of its jobs")

    async def inbox(self) -> Inbox:
        raise ConfigurationError("this app stores no results (results=none://), so there is nothing to wait for")

    async def forget(self, ids: Sequence[str]) -> int:
        return 0

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        raise ConfigurationError("this app stores no results (results=none://), so nobody knows what is cancelled")

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        return [None for _ in ids]

    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        return [False for _ in ids], None

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        pass

    async def pause(self, queue: str) -> None:
        raise ConfigurationError(
            f"the queue {queue} cannot be paused: that stands in the result store, and this app has none; stop its "
            "workers instead"
        )

    async def resume(self, queue: str) -> None:
        pass

    async def paused(self) -> frozenset[str]:
        return frozenset()

    def _begin(self, candidate: Candidate, now: float) -> Begun:
        envelope = candidate.envelope
        epoch = envelope.epoch
        if candidate.redelivered:
            epoch = max(epoch, self._runs.get(envelope.id, 0)) + 1
        self._runs[envelope.id] = epoch
        return Begun(
            answer=BeginAnswer.RUN,
            at=now,
            epoch=epoch,
            crashes=envelope.crashes,
            suspect=envelope.suspect or candidate.redelivered,
            expires_at=envelope.expires_at,
        )

    def _apply(self, settlement: Settlement, now: float) -> Applied:
        receipt = settlement.delivery.receipt
        if self._runs.get(receipt.id) != receipt.epoch:
            return _LOST
        del self._runs[receipt.id]
        messages: list[Outgoing] = []
        letter = None
        if settlement.action is Action.DEAD_LETTER:
            letter = letter_of(settlement, now)
        elif settlement.action is not Action.ACK:
            messages.append(Outgoing(copy_of(settlement), settlement.delay))
        if settlement.follow_ups is not None:
            messages += [_outgoing(envelope, now) for envelope in settlement.follow_ups.envelopes]
        return Applied(SettleAnswer.ACCEPTED, Unsent("", tuple(messages), letter))


def _outgoing(envelope: Envelope, now: float) -> Outgoing:
    delay = max(envelope.delay, envelope.run_at - now if envelope.run_at is not None else 0.0)
    return Outgoing(_expiring(envelope, envelope.expires_at, now), delay)


def _expiring(envelope: Envelope, expires_at: float | None, now: float) -> Envelope:
    """The envelope with its expiry as a time, because nobody else remembers when it was published."""
    if envelope.expires_in is not None and (expires_at is None or now + envelope.expires_in < expires_at):
        expires_at = now + envelope.expires_in
    return envelope if expires_at == envelope.expires_at else msgspec.structs.replace(envelope, expires_at=expires_at)
