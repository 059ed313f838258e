"""How an envelope travels: as the body, with properties that say what it is, and the user's headers for all to see."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
from pika import spec
from pika.exceptions import AMQPError

from heeler.errors import InvalidArguments
from heeler.model import Envelope

__all__ = [
    "CONTENT_TYPE",
    "REPLY",
    "NoEnvelope",
    "Properties",
    "PropertyReader",
    "decoded",
    "encode",
    "encoded",
    "marked_as_delivered",
    "opened",
    "properties_for",
]

CONTENT_TYPE = "application/vnd.heeler.envelope"
_REST = "heeler-rest-ms"  # of a delay, what is left after the longest way there is
_DELIVERED = "heeler-delivered"  # some process has had this message and may have begun it; a copy would not show that
_RETURNS = ("x-acquired-count", "x-delivery-count")  # how often a quorum queue got it back; the first is that of 4.x
_PERSISTENT = 2
_USUAL_PRIORITY = 4  # 0 … 10; below 5 is what quorum queues from RabbitMQ 4 on take for normal
_KNOWN_PROPERTIES = 1000

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
_usual: dict[int, bytes] = {}


class NoEnvelope(Exception):
    """The bytes are not one of ours; the text says why."""


class Properties(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of a message's properties."""

    content_type: str | None
    headers: dict[str, Any]
    rest: float = 0.0
    delivered: bool = False  # some process has had it, whatever the server says
    returns: int | None = None  # how often its queue got it back; None: it does not say


class PropertyReader:
    """Reads properties; those of usual jobs are all the same bytes and are read once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Properties] = {}

    def read(self, data: bytes) -> Properties:
        """Raises NoEnvelope."""
        known = self._known.get(data)
        if known is None:
            raw = decoded(data)
            headers = raw.headers or {}
            rest = headers.get(_REST, 0)
            known = Properties(
                raw.content_type,
                headers,
                rest / 1000 if isinstance(rest, int) else 0.0,
                bool(headers.get(_DELIVERED)),
                next((headers[name] for name in _RETURNS if isinstance(headers.get(name), int)), None),
            )
            if len(self._known) >= _KNOWN_PROPERTIES:
                self._known.clear()
            self._known[data] = known
        return known


def decoded(data: bytes) -> Any:
    """Properties as pika has them. Raises NoEnvelope where other programs have written what it cannot read."""
    properties = spec.BasicProperties()
    try:
        properties.decode(data)
    except (AMQPError, ValueError, struct.error, IndexError) as error:
        raise NoEnvelope(f"its properties cannot be read: {type(error).__name__}: {error}") from None
    return properties


def encoded(properties: Any) -> bytes:
    """Properties on the wire. Header values that pika can read, but not write, become text."""
    try:
        pieces: list[bytes] = properties.encode()
    except (AMQPError, struct.error):
        properties.headers = {name: _writable(value) for name, value in properties.headers.items()}
        pieces = properties.encode()
    return b"".join(pieces)


def _writable(value: Any) -> Any:
    return value if isinstance(value, (str, bytes, bool)) or type(value) is int else str(value)


def properties_for(envelope: Envelope, rest: float = 0.0) -> bytes:
    """The encoded properties of an envelope's message."""
    if not envelope.headers and not rest:
        known = _usual.get(envelope.priority)
        if known is None:
            known = _usual[envelope.priority] = _properties(envelope.priority, None)
        return known
    headers: dict[str, Any] = dict(envelope.headers)
    if rest:
        headers[_REST] = math.ceil(rest * 1000)
    try:
        return _properties(envelope.priority, headers)
    except Exception as error:  # pika's own classes for a name that is too long
        raise InvalidArguments(f"{envelope.task}: RabbitMQ cannot carry these headers: {error}") from None


def marked_as_delivered(data: bytes) -> bytes:
    """The same properties, for a copy of a message that somebody may have begun."""
    properties = decoded(data)
    headers = {name: value for name, value in (properties.headers or {}).items() if name not in _RETURNS}
    properties.headers = {**headers, _DELIVERED: True}
    return encoded(properties)


def _properties(priority: int, headers: dict[str, Any] | None) -> bytes:
    pieces: list[bytes] = spec.BasicProperties(
        content_type=CONTENT_TYPE, delivery_mode=_PERSISTENT, priority=_level(priority), headers=headers
    ).encode()
    return b"".join(pieces)


def _level(priority: int) -> int:
    """-100 … 100 as 0 … 10, with 0 below the middle."""
    if priority > 0:
        return _USUAL_PRIORITY + 1 + (priority - 1) * 5 // 99
    return _USUAL_PRIORITY - -(priority * _USUAL_PRIORITY // 100) if priority else _USUAL_PRIORITY


REPLY = b"".join(
    spec.BasicProperties(content_type="application/vnd.heeler.notices", delivery_mode=_PERSISTENT).encode()
)
"""The encoded properties of a reply."""


def opened(properties: Properties, body: bytes, queue: str) -> Envelope:
    """The envelope in a message that came by `queue`. Raises NoEnvelope."""
    if properties.content_type != CONTENT_TYPE:
        raise NoEnvelope(f"the content type is {properties.content_type!r}, not {CONTENT_TYPE!r}")
    try:
        envelope = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoEnvelope(f"the bytes are no envelope: {error}") from None
    if envelope.queue != queue:  # it came by a routing key: from here on it belongs where it came
        envelope = msgspec.structs.replace(envelope, queue=queue)
    return envelope
