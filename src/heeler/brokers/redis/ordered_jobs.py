"""Jobs whose messages travel elsewhere, as scripts take and tell them: what lua/carried_jobs.lua says, in Python."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.stored import NotStored, content_of, encode, read_content, record_of
from heeler.contracts import Outgoing, Unsent
from heeler.model import DeadLetter, Envelope, ResultRecord

__all__ = ["as_given", "carried_record", "encode_letter", "messages_of", "sent_as", "unsent_of"]

_HEADER = struct.calcsize("<cIdIIIIBBBBddd")
_PLACE = bytes(24)  # what stands before the letter of a job of the broker's own, of which a record tells nothing
logger = logging.getLogger("heeler.broker.redis")
_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode
_replace = msgspec.structs.replace


def as_given(envelope: Envelope) -> tuple[Argument, Argument]:
    """`more` and `content` (see lua/given.lua) of a message by which its job has to be made up."""
    expires = "-" if envelope.expires_at is None else repr(envelope.expires_at)
    history = f"{envelope.epoch - 1} {envelope.attempts} {envelope.crashes} {int(envelope.suspect)}"
    return f"- - - {expires} {history} ".encode() + envelope.note, content_of(envelope)


def encode_letter(letter: DeadLetter) -> bytes:
    return encode(letter)


def sent_as(envelope: Envelope, epoch: int) -> Envelope:
    return envelope if envelope.epoch == epoch else _replace(envelope, epoch=epoch)


def _message(told: list[Any]) -> Outgoing:
    """A message that a script tells. Raises NotStored."""
    content, epoch, attempts, crashes, suspect, note, delay = told
    envelope = read_content(content)
    history = (epoch, attempts, crashes, bool(suspect), note)
    if history != (envelope.epoch, envelope.attempts, envelope.crashes, envelope.suspect, envelope.note):
        envelope = _replace(envelope, epoch=epoch, attempts=attempts, crashes=crashes, suspect=bool(suspect), note=note)
    return Outgoing(envelope, float(delay))


def messages_of(told: Sequence[list[Any]]) -> list[Outgoing]:
    """Messages that a script tells. What somebody has damaged cannot be sent: that is logged."""
    messages = []
    for one in told:
        try:
            messages.append(_message(one))
        except NotStored as error:
            logger.error("a message in the result store can be sent no more: %s", error)
    return messages


def unsent_of(told: list[Any]) -> Unsent:
    """What a script tells of an errand."""
    key, letter, died_at, messages = told
    return Unsent(key.decode(), tuple(messages_of(messages)), _letter(key, letter, float(died_at)) if letter else None)


def _letter(key: bytes, encoded: bytes, died_at: float) -> DeadLetter | None:
    try:
        return _replace(_decode_letter(encoded), died_at=died_at)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.error("the dead letter of %s in the result store can be read no more: %s", key.decode(), error)
        return None


def carried_record(stored: bytes, next_at: bytes = b"", phase: bytes = b"", more: bytes = b"") -> ResultRecord | None:
    """The record of a stored job as a reader sees it now; None where only the id is kept. Raises NotStored."""
    letter = stored[:1]
    if letter == b"N":
        return None
    if letter == b"B":  # begun or not, it lives
        letter = b"L"
    return record_of(_PLACE + letter + stored[_HEADER:], next_at, phase, more)
