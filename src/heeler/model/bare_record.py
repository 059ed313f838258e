"""A record without its envelope, as stores write it down that have the envelope beside it already."""

from __future__ import annotations

import msgspec

from heeler.model.envelope import Envelope
from heeler.model.result import ErrorRecord, ResultRecord, TaskStatus

__all__ = ["decode_bare_record", "encode_bare_record"]


class _BareRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BareRecord).decode


def encode_bare_record(record: ResultRecord) -> bytes:
    """The record without its envelope."""
    # A plain tuple is encoded as the array-like struct would be, without making one.
    return _encode(
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


def decode_bare_record(data: bytes, envelope: Envelope) -> ResultRecord:
    """The record with that envelope. Raises msgspec.DecodeError."""
    stored = _decode(data)
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
