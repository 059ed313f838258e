"""What is too large to be sent or stored: told before anything is done."""

from __future__ import annotations

from heeler.model import Envelope, Publication, PublishAnswer, PublishResult, Settlement

__all__ = ["refusal", "why_invalid"]


def refusal(envelope: Envelope, max_payload: int) -> PublishResult | None:
    """The answer to an envelope that is too large; None for all others."""
    size = len(envelope.body)
    if size <= max_payload:
        return None
    return PublishResult(
        PublishAnswer.REFUSED, envelope.id, f"the message has {size} bytes, the broker takes {max_payload}"
    )


def why_invalid(settlement: Settlement, max_payload: int, max_result: int) -> str:
    """Why a settlement cannot be taken as it is; empty if it can."""
    record = settlement.record
    if record is not None and (record.value is not None or record.saved is not None):
        size = len(record.value or b"") + len(record.saved or b"")
        if size > max_result:
            return f"the result has {size} bytes, the store takes {max_result}"
    if settlement.follow_ups is None:
        return ""
    for envelope in _all_envelopes(settlement.follow_ups):
        size = len(envelope.body)
        if size > max_payload:
            return f"the message {envelope.id} that follows has {size} bytes, the broker takes {max_payload}"
    return ""


def _all_envelopes(publication: Publication) -> list[Envelope]:
    let_go = [envelope for latch in publication.latches for envelope in (latch.envelope, latch.on_break)]
    return [*publication.envelopes, *(envelope for envelope in let_go if envelope is not None)]
