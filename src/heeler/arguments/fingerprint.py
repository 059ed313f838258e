"""Tells "the same job again" from "another job under the same id", on any machine and with any codec."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from heeler.types import TypeRegistry

__all__ = ["fingerprint"]


def fingerprint(
    task: str, arguments: tuple[tuple[Any, ...], dict[str, Any]], payload: bytes, types: TypeRegistry
) -> bytes:
    """A digest of the task's name and its decoded arguments, in which the order of sets and dicts does not count.

    Where they cannot be ordered (keys of several types, say) it is one of the payload as it is.
    """
    encoder = msgspec.msgpack.Encoder(enc_hook=types.encode_hook, order="deterministic")
    try:
        payload = encoder.encode(arguments)
    except (TypeError, ValueError, OverflowError):
        pass
    return blake2b(task.encode() + b"\0" + payload, digest_size=16).digest()
