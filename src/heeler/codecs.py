"""The codecs: MessagePack and JSON with types, and any codec of the user's brought to the same interface."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from heeler.contracts import Codec, TypedCodec
from heeler.errors import ConfigurationError
from heeler.types import MESSAGEPACK_BUILTINS, TypeRegistry

__all__ = ["JSON", "MESSAGEPACK", "Codecs", "JsonCodec", "MessagePackCodec", "WrappedCodec"]

BIG_INTEGER = 1  # the MessagePack extension type of integers beyond 64 bits: two's complement, big endian


class _BigInteger(int):
    """An integer that goes through the encoder's hook, because MessagePack has no room for it."""


class MessagePackCodec:
    """The default: compact, exact for every type, and two C calls for a job's arguments."""

    content_type = "application/msgpack"

    def __init__(self, types: TypeRegistry | None = None) -> None:
        self._types = types if types is not None else TypeRegistry()
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._encode_hook)
        self._generic = msgspec.msgpack.Decoder(ext_hook=_decode_extension)
        self._decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}

    def encode(self, value: Any) -> bytes:
        try:
            return self._encoder.encode(value)
        except OverflowError:
            plain = msgspec.to_builtins(value, builtin_types=MESSAGEPACK_BUILTINS, enc_hook=self._types.encode_hook)
            return self._encoder.encode(_mark_big_integers(plain))

    def decode(self, data: bytes) -> Any:
        return self._generic.decode(data)

    def decode_as(self, data: bytes, kind: Any) -> Any:
        try:
            decoder = self._decoders[kind]
        except (KeyError, TypeError):  # TypeError: an annotation that cannot be hashed
            decoder = self._decoder(kind)
        try:
            return decoder.decode(data)
        except msgspec.ValidationError:
            # The direct way refuses our extension type where an int is expected; this one says what else is wrong.
            return msgspec.convert(self._generic.decode(data), kind, dec_hook=self._types.decode_hook)

    def _decoder(self, kind: Any) -> msgspec.msgpack.Decoder[Any]:
        decoder = msgspec.msgpack.Decoder(kind, dec_hook=self._types.decode_hook, ext_hook=_decode_extension)
        try:
            self._decoders[kind] = decoder
        except TypeError:
            pass
        return decoder

    def _encode_hook(self, value: Any) -> Any:
        if type(value) is _BigInteger:
            size = value.bit_length() // 8 + 1
            return msgspec.msgpack.Ext(BIG_INTEGER, value.to_bytes(size, "big", signed=True))
        return self._types.encode_hook(value)


def _decode_extension(code: int, content: memoryview) -> Any:
    if code == BIG_INTEGER:
        return int.from_bytes(content, "big", signed=True)
    return msgspec.msgpack.Ext(code, bytes(content))


def _mark_big_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {_mark_big_integers(key): _mark_big_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark_big_integers(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_mark_big_integers(item) for item in value)
    if type(value) is int and not -(2**63) <= value < 2**64:
        return _BigInteger(value)
    return value


class JsonCodec:
    """Readable by everything. It has no NaN and no infinity; bytes are base64, and all keys are strings."""

    content_type = "application/json"

    def __init__(self, types: TypeRegistry | None = None) -> None:
        self._types = types if types is not None else TypeRegistry()
        self._encoder = msgspec.json.Encoder(enc_hook=functools.partial(self._types.encode_hook, text=True))
        self._decode_hook = functools.partial(self._types.decode_hook, text=True)
        self._generic = msgspec.json.Decoder()
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    def encode(self, value: Any) -> bytes:
        data = self._encoder.encode(value)
        if b"null" in data:  # msgspec writes NaN and infinity as null
            _refuse_not_finite(msgspec.to_builtins(value, enc_hook=self._types.encode_hook, str_keys=True))
        return data

    def decode(self, data: bytes) -> Any:
        return self._generic.decode(data)

    def decode_as(self, data: bytes, kind: Any) -> Any:
        try:
            decoder = self._decoders[kind]
        except (KeyError, TypeError):  # TypeError: an annotation that cannot be hashed
            decoder = self._decoder(kind)
        return decoder.decode(data)

    def _decoder(self, kind: Any) -> msgspec.json.Decoder[Any]:
        decoder = msgspec.json.Decoder(kind, dec_hook=self._decode_hook)
        try:
            self._decoders[kind] = decoder
        except TypeError:
            pass
        return decoder


def _refuse_not_finite(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON has no {value}; use the MessagePack codec, or send None in its place")
    elif isinstance(value, dict):
        for item in value.values():
            _refuse_not_finite(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_not_finite(item)


class WrappedCodec:
    """A codec of the user's, which knows plain values only, as one that knows types."""

    def __init__(self, codec: Codec, types: TypeRegistry) -> None:
        self.content_type = codec.content_type
        self.wrapped = codec
        self._encode_hook = functools.partial(types.encode_hook, text=True)
        self._decode_hook = functools.partial(types.decode_hook, text=True)

    def encode(self, value: Any) -> bytes:
        plain = msgspec.to_builtins(value, builtin_types=(), str_keys=True, enc_hook=self._encode_hook)
        return bytes(self.wrapped.encode(_lists_for_tuples(plain)))

    def decode(self, data: bytes) -> Any:
        return self.wrapped.decode(data)

    def decode_as(self, data: bytes, kind: Any) -> Any:
        plain = self.wrapped.decode(data)
        return msgspec.convert(plain, kind, builtin_types=(), str_keys=True, dec_hook=self._decode_hook)


def _lists_for_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_for_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists_for_tuples(item) for item in value]
    return value


MESSAGEPACK = MessagePackCodec()
JSON = JsonCodec()


class Codecs:
    """The codecs of an app by content type. MessagePack and JSON are always there."""

    def __init__(self, types: TypeRegistry | None = None) -> None:
        self.types = types if types is not None else TypeRegistry()
        self._codecs: dict[str, TypedCodec] = {}
        self.add(MESSAGEPACK)
        self.add(JSON)

    def add(self, codec: Codec | TypedCodec | str) -> TypedCodec:
        """Take a codec in under its content type, in place of one that was there; returns the one to use.

        Anything with `content_type`, `encode` and `decode` will do, or the name of one that ships: "msgpack", "json".
        The app's registered types are applied to it. Raises ConfigurationError for anything else.
        """
        if isinstance(codec, str):
            if codec not in _NAMES:
                raise ConfigurationError(f"codec {codec!r} is unknown; by name there are {', '.join(_NAMES)}")
            return self._codecs[_NAMES[codec]]
        known = self._codecs.get(getattr(codec, "content_type", ""))
        if known is not None and _is_same(known, codec):
            return known
        typed = self._typed(codec)
        self._codecs[typed.content_type] = typed
        return typed

    def get(self, content_type: str) -> TypedCodec:
        """The codec of that content type. Raises LookupError, which names the known ones."""
        try:
            return self._codecs[content_type]
        except KeyError:
            known = ", ".join(sorted(self._codecs))
            raise LookupError(
                f'no codec for content type "{content_type}"; known here: {known}. '
                "Give the app a codec of that content type"
            ) from None

    def _typed(self, codec: Any) -> TypedCodec:
        if isinstance(codec, type):
            raise ConfigurationError(f"codec: pass an object, {codec.__name__}(), not the class {codec.__name__}")
        if type(codec) in _SHIPPED:
            rebuilt: Callable[[TypeRegistry], TypedCodec] = type(codec)
            return rebuilt(self.types)
        missing = [name for name in ("content_type", "encode", "decode") if not hasattr(codec, name)]
        if missing or not isinstance(codec.content_type, str):
            raise ConfigurationError(
                f"codec {codec!r} must have content_type (a str), encode(value) and decode(data)"
                + (f"; it lacks {', '.join(missing)}" if missing else "")
            )
        if isinstance(codec, TypedCodec):
            return codec
        return WrappedCodec(codec, self.types)


_SHIPPED = (MessagePackCodec, JsonCodec)
_NAMES = {"msgpack": MESSAGEPACK.content_type, "json": JSON.content_type}


def _is_same(known: TypedCodec, codec: object) -> bool:
    if isinstance(known, WrappedCodec) and known.wrapped is codec:
        return True
    return known is codec or (type(codec) in _SHIPPED and type(known) is type(codec))
