"""How values are written into columns. Records are bare ones: the envelope is in the job's own row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.model import Envelope, ErrorRecord, Latch, PublishResult, SettleResult

__all__ = [
    "DeadDetails",
    "decode_dead_details",
    "decode_envelope",
    "decode_latch",
    "decode_publish_answers",
    "decode_settle_answers",
    "encode",
    "json_of",
]

encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
decode_latch = msgspec.msgpack.Decoder(Latch).decode
decode_publish_answers = msgspec.msgpack.Decoder(list[PublishResult]).decode
decode_settle_answers = msgspec.msgpack.Decoder(list[SettleResult]).decode


class DeadDetails(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a dead letter's row keeps besides its columns."""

    reason: str
    errors: tuple[ErrorRecord, ...]
    attempts: int
    crashes: int
    raw: bool  # the bytes are no envelope


decode_dead_details = msgspec.msgpack.Decoder(DeadDetails).decode


def json_of(ids: Sequence[str]) -> str:
    """Ids as a statement takes them that is about many."""
    return _encode_json(ids).decode()
