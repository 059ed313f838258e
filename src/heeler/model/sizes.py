"""What is too large to be stored: the same for every broker, whatever its limit is."""

from __future__ import annotations

from heeler.model.delivery import Settlement
from heeler.model.publication import Publication

__all__ = ["publication_too_large", "settlement_too_large"]

_RECORD_FACTOR = 16  # a record may be so many times as large as a message


def settlement_too_large(settlement: Settlement, max_payload: int) -> str:
    """Why the settlement cannot be stored where a message may have `max_payload` bytes; empty if it can."""
    record = settlement.record
    if record is not None and (record.value is not None or record.saved is not None):
        size = len(record.value or b"") + len(record.saved or b"")
        if size > max_payload * _RECORD_FACTOR:
            return f"the result has {size} bytes, the store takes {max_payload * _RECORD_FACTOR}"
    return "" if settlement.follow_ups is None else publication_too_large(settlement.follow_ups, max_payload)


def publication_too_large(publication: Publication, max_payload: int) -> str:
    """The same of what follows a job."""
    envelopes = list(publication.envelopes)
    for latch in publication.latches:
        envelopes += [envelope for envelope in (latch.envelope, latch.on_break) if envelope is not None]
    for envelope in envelopes:
        size = len(envelope.body)
        if size > max_payload:
            return f"the message {envelope.id} that follows has {size} bytes, the broker takes {max_payload}"
    return ""
