"""How jobs are written into Redis and read from it: what lua/jobs.lua says, in Python."""

from __future__ import annotations

import struct
from typing import Any

import hiredis
import msgspec

from heeler.model import (
    Envelope,
    ErrorRecord,
    ResultRecord,
    TaskStatus,
    cancelled_record,
    decode_bare_record,
    expired_record,
)

__all__ = [
    "EXPIRED",
    "LETTERS",
    "STATUSES",
    "NotStored",
    "content_of",
    "decode_errors",
    "encode",
    "envelope_of",
    "expiry_of",
    "frames",
    "mark_of",
    "read_content",
    "record_of",
]

LETTERS = {TaskStatus.SUCCESSFUL: "S", TaskStatus.FAILED: "F", TaskStatus.CANCELLED: "C"}
STATUSES = {
    b"S": TaskStatus.SUCCESSFUL,
    b"F": TaskStatus.FAILED,
    b"C": TaskStatus.CANCELLED,
    b"R": TaskStatus.READY,
    b"W": TaskStatus.RUNNING,
}
EXPIRED = b"X"
_LENGTHS = struct.Struct("<IIH")
_STORED = struct.Struct("<dddcIIH")
_PREFIX = _STORED.size - _LENGTHS.size

encode = msgspec.msgpack.Encoder().encode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
decode_errors = msgspec.msgpack.Decoder(tuple[ErrorRecord, ...]).decode


class NotStored(Exception):
    """Bytes under one of our keys that Heeler has not written."""


def content_of(envelope: Envelope) -> bytes:
    """What a producer writes of a job: lengths, the head that scripts read, the envelope."""
    whole = encode(envelope)
    head = encode(
        (
            envelope.task,
            envelope.queue,
            envelope.priority,
            envelope.keep,
            envelope.keeps_result,
            envelope.fingerprint.hex(),
            envelope.reply_to or "",
            envelope.ends_at,
        )
    )
    return _LENGTHS.pack(len(whole), len(envelope.body), len(head)) + head + whole


def envelope_of(stored: bytes) -> Envelope:
    """The envelope of a stored job. Raises NotStored."""
    try:
        *_, whole, _, head = _STORED.unpack_from(stored)
        begin = _STORED.size + head
        return _decode_envelope(stored[begin : begin + whole])
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotStored(f"the bytes are no envelope: {error}") from None


def expiry_of(stored: bytes) -> float | None:
    return _STORED.unpack_from(stored)[2] or None


def mark_of(stored: bytes) -> bytes:
    """What tells the job from one that had the same id before."""
    return stored[:8]


def read_content(content: bytes) -> Envelope:
    """The envelope in what a producer wrote. Raises NotStored."""
    return envelope_of(bytes(_PREFIX) + content)


def record_of(stored: bytes, next_at: bytes = b"", phase: bytes = b"", more: bytes = b"") -> ResultRecord | None:
    """The record of a stored job as a reader sees it now, from what lua/records.lua answers; None where only the id is
    kept. Raises NotStored.
    """
    letter = stored[_PREFIX - 1 : _PREFIX]
    if letter == b"N":
        return None
    envelope = envelope_of(stored)
    if letter == b"L":
        record = _after_runs(envelope, frames(more))
        if phase.startswith(EXPIRED):
            return expired_record(record, float(phase[1:]))
        return msgspec.structs.replace(
            record,
            status=TaskStatus.RUNNING if phase else TaskStatus.READY,
            next_at=float(next_at) if next_at else None,
        )
    _, _, _, _, whole, _, head = _STORED.unpack_from(stored)
    tail = stored[_STORED.size + head + whole :]
    if letter == b"U":
        return _unrun_record(envelope, frames(tail))
    try:
        return decode_bare_record(tail, envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotStored(f"the bytes are no record: {error}") from None


def _after_runs(envelope: Envelope, known: list[bytes]) -> ResultRecord:
    """The record of a job from what its runs left behind: `known` of lua/endings.lua, or nothing."""
    if not known:
        return ResultRecord(envelope=envelope, attempts=envelope.attempts, crashes=envelope.crashes)
    try:
        attempts, crashes, written, started, last, fraction, message, saved, *workers = known
        record = decode_bare_record(written, envelope) if written else ResultRecord(envelope=envelope)
        ids = list(record.worker_ids)
        for worker in workers:
            if not ids or ids[-1] != worker.decode():
                ids.append(worker.decode())
        return msgspec.structs.replace(
            record,
            attempts=int(attempts),
            crashes=int(crashes),
            started_at=record.started_at if record.started_at is not None or not started else float(started),
            last_attempted_at=float(last) if last else record.last_attempted_at,
            worker_ids=tuple(ids),
            fraction=float(fraction[1:]) if fraction else record.fraction,
            message=message[1:].decode() if message else record.message,
            saved=saved[1:] if saved else record.saved,
        )
    except (ValueError, msgspec.DecodeError) as error:
        raise NotStored(f"what is known of {envelope.id} cannot be read: {error}") from None


def _unrun_record(envelope: Envelope, tail: list[bytes]) -> ResultRecord:
    """The record of a job that was dropped before it ran (again)."""
    if len(tail) < 2:
        raise NotStored(f"the end of {envelope.id} cannot be read")
    reason, time, *known = tail
    record = _after_runs(envelope, known)
    try:
        at = float(time)
    except ValueError as error:
        raise NotStored(f"the end of {envelope.id} cannot be read: {error}") from None
    text = reason.decode(errors="replace")
    return cancelled_record(record, text, at)


def frames(data: bytes) -> list[bytes]:
    """The strings of an array that a script wrote in the protocol's own form. Raises NotStored."""
    if not data:
        return []
    reader = hiredis.Reader()
    try:
        reader.feed(data)
        read: Any = reader.gets()
    except hiredis.ProtocolError as error:
        raise NotStored(f"the bytes are no array: {error}") from None
    if not isinstance(read, list) or not all(isinstance(item, bytes) for item in read):
        raise NotStored("the bytes are no array of strings")
    return read
