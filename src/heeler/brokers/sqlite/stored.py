"""How values are written into columns. A record leaves out its envelope, which is in the job's own row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.model import Envelope, ErrorRecord, Latch, PublishResult, ResultRecord, SettleResult, TaskStatus

__all__ = [
    "DeadDetails",
    "decode_dead_details",
    "decode_envelope",
    "decode_latch",
    "decode_publish_answers",
    "decode_record",
    "decode_settle_answers",
    "encode",
    "encode_record",
    "json_of",
]

encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
decode_latch = msgspec.msgpack.Decoder(Latch).decode
decode_publish_answers = msgspec.msgpack.Decoder(list[PublishResult]).decode
decode_settle_answers = msgspec.msgpack.Decoder(list[SettleResult]).decode


class _StoredRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A ResultRecord's fields after the first, in order."""

    status: TaskStatus
    attempts: int
    crashes: int
    max_attempts: int | None
    started_at: float | None
    last_attempted_at: float | None
    finished_at: float | None
    next_at: float | None
    worker_ids: tuple[str, ...]
    errors: tuple[ErrorRecord, ...]
    content_type: str
    value: bytes | None
    saved: bytes | None
    fraction: float | None
    message: str | None


class DeadDetails(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a dead letter's row keeps besides its columns."""

    reason: str
    errors: tuple[ErrorRecord, ...]
    attempts: int
    crashes: int
    raw: bool  # the bytes are no envelope


decode_dead_details = msgspec.msgpack.Decoder(DeadDetails).decode
_decode_stored = msgspec.msgpack.Decoder(_StoredRecord).decode


def json_of(ids: Sequence[str]) -> str:
    """Ids as a statement takes them that is about many."""
    return _encode_json(ids).decode()


def encode_record(record: ResultRecord) -> bytes:
    # A plain tuple is encoded as the array-like struct would be, without making one.
    return encode(
        (
            record.status,
            record.attempts,
            record.crashes,
            record.max_attempts,
            record.started_at,
            record.last_attempted_at,
            record.finished_at,
            record.next_at,
            record.worker_ids,
            record.errors,
            record.content_type,
            record.value,
            record.saved,
            record.fraction,
            record.message,
        )
    )


def decode_record(data: bytes, envelope: Envelope) -> ResultRecord:
    stored = _decode_stored(data)
    return ResultRecord(
        envelope=envelope,
        status=stored.status,
        attempts=stored.attempts,
        crashes=stored.crashes,
        max_attempts=stored.max_attempts,
        started_at=stored.started_at,
        last_attempted_at=stored.last_attempted_at,
        finished_at=stored.finished_at,
        next_at=stored.next_at,
        worker_ids=stored.worker_ids,
        errors=stored.errors,
        content_type=stored.content_type,
        value=stored.value,
        saved=stored.saved,
        fraction=stored.fraction,
        message=stored.message,
    )
