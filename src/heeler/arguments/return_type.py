"""The return value of a task: made bytes in the worker, and made what the annotation says where it is read."""

from __future__ import annotations

import inspect
from typing import Any, Never, NoReturn

import msgspec

from heeler.arguments.annotations import annotation_text
from heeler.contracts import TypedCodec
from heeler.errors import ConfigurationError
from heeler.types import TypeRegistry

__all__ = ["ReturnType"]

_UNTYPED = (inspect.Signature.empty, Never, NoReturn)


class ReturnType:
    """What a task returns. A value that does not fit its annotation is never lost: it is read as plain values."""

    def __init__(self, annotation: Any, types: TypeRegistry, task: str) -> None:
        self.annotation = Any if annotation in _UNTYPED else annotation
        self._task = task
        try:
            msgspec.msgpack.Decoder(self.annotation, dec_hook=types.decode_hook)
        except Exception as error:
            raise ConfigurationError(
                f"task {task}: its return annotation {annotation_text(annotation)} is not supported: {error}"
            ) from error

    def encode(self, value: Any, codec: TypedCodec, came_by: str = "returned") -> bytes:
        """Raises TypeError or ValueError, which name the task and how it gave the value, for one that the codec cannot
        write.
        """
        try:
            return codec.encode(value)
        except Exception as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{self._task} {came_by} what cannot be stored as {codec.content_type}: "
                f"{str(error) or type(error).__name__}"
            ) from error

    def decode(self, data: bytes, codec: TypedCodec) -> Any:
        if self.annotation is Any:
            return codec.decode(data)
        try:
            return codec.decode_as(data, self.annotation)
        except msgspec.ValidationError:
            return codec.decode(data)
