"""How arguments and results become bytes."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["Codec", "TypedCodec"]


@runtime_checkable
class Codec(Protocol):
    """A codec of your own: a content type, and bytes for plain values and back.

    `encode` gets None, bool, int, float, str, and lists and string-keyed dicts of those (anything richer has been
    written as these before); `decode` gives the same back. What they raise is an encoding error of that job.
    """

    content_type: str

    def encode(self, value: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...


@runtime_checkable
class TypedCodec(Protocol):
    """A codec that knows types: it encodes any supported object and decodes straight into a declared type."""

    content_type: str

    def encode(self, value: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...

    def decode_as(self, data: bytes, kind: Any) -> Any:
        """Decode into `kind`; raises msgspec.ValidationError where the data does not fit."""
        ...
