"""The frames of AMQP 0-9-1 that a job's way is made of, written and read without an object for each.

All other methods go through pika's tables (`pika.spec`); the reason and the figures are in decision 0012.
"""

from __future__ import annotations

import struct

from pika import spec

__all__ = [
    "ACK",
    "BODY",
    "DELIVER",
    "FRAME",
    "HEADER",
    "HEARTBEAT",
    "HEARTBEAT_FRAME",
    "METHOD",
    "METHOD_ID",
    "NACK",
    "OVERHEAD",
    "PROTOCOL",
    "TAG_AND_BITS",
    "acknowledgement",
    "body_size_of",
    "content",
    "publish_method",
    "rejection",
    "return_of_all",
]

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8  # kinds of frames
END = b"\xce"
PROTOCOL = b"AMQP\x00\x00\x09\x01"
OVERHEAD = 8  # bytes of a frame around its payload

FRAME = struct.Struct(">BHI")  # kind, channel, size of the payload
METHOD_ID = struct.Struct(">I")
TAG_AND_BITS = struct.Struct(">QB")
_CONTENT = struct.Struct(">BHIHHQ")  # a frame of the kind HEADER up to the properties
_SETTLED = struct.Struct(">BHIIQBB")

ACK: int = spec.Basic.Ack.INDEX
NACK: int = spec.Basic.Nack.INDEX
DELIVER: int = spec.Basic.Deliver.INDEX
_PUBLISH: int = spec.Basic.Publish.INDEX
_BASIC = 60
_MANDATORY = b"\x01"
_MULTIPLE = 1
_REQUEUE = 2

HEARTBEAT_FRAME = FRAME.pack(HEARTBEAT, 0, 0) + END


def publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    """The frame of a mandatory Basic.Publish; the content follows."""
    payload = METHOD_ID.pack(_PUBLISH) + b"\x00\x00" + _short(exchange) + _short(routing_key) + _MANDATORY
    return FRAME.pack(METHOD, channel, len(payload)) + payload + END


def content(channel: int, properties: bytes, body: bytes, frame_max: int) -> bytes:
    """The frames of a message's properties and body."""
    size = len(body)
    head = _CONTENT.pack(HEADER, channel, 12 + len(properties), _BASIC, 0, size) + properties + END
    most = frame_max - OVERHEAD
    if size <= most:
        return head + FRAME.pack(BODY, channel, size) + body + END if size else head
    parts = [head]
    for start in range(0, size, most):
        piece = body[start : start + most]
        parts += (FRAME.pack(BODY, channel, len(piece)), piece, END)
    return b"".join(parts)


def acknowledgement(channel: int, tag: int, *, multiple: bool) -> bytes:
    return _SETTLED.pack(METHOD, channel, 13, ACK, tag, multiple, 0xCE)


def rejection(channel: int, tag: int) -> bytes:
    """Back to the queue."""
    return _SETTLED.pack(METHOD, channel, 13, NACK, tag, _REQUEUE, 0xCE)


def return_of_all(channel: int) -> bytes:
    """All that is unacknowledged goes back to its queues."""
    return _SETTLED.pack(METHOD, channel, 13, NACK, 0, _MULTIPLE | _REQUEUE, 0xCE)


def body_size_of(header: bytes, at: int) -> int:
    """The size of the body, from the payload of a HEADER frame that begins at `at`."""
    size: int = struct.unpack_from(">Q", header, at + 4)[0]
    return size


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data
