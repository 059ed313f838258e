"""Sized numbers for annotations, and the registry of types of the user's own that arguments and results may have."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_origin

import msgspec
from msgspec import Meta

from heeler.errors import ConfigurationError

__all__ = [
    "MESSAGEPACK_BUILTINS",
    "Float32",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "TypeRegistry",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
]

T = TypeVar("T")

Int8 = Annotated[int, Meta(ge=-(2**7), le=2**7 - 1)]
Int16 = Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt8 = Annotated[int, Meta(ge=0, le=2**8 - 1)]
UInt16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]

MESSAGEPACK_BUILTINS = (bytes, bytearray, memoryview, datetime.datetime)  # what MessagePack writes as they are

_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


class _Sized(type):
    """The class of number types whose bounds `Meta` cannot say: `isinstance(value, UInt64)` is the check."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], fits: Callable[[Any], bool], bounds: str
    ) -> _Sized:
        return super().__new__(cls, name, bases, namespace)

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], fits: Callable[[Any], bool], bounds: str
    ) -> None:
        super().__init__(name, bases, namespace)
        cls._fits = fits
        cls._bounds = bounds

    def __instancecheck__(cls, value: object) -> bool:
        return cls._fits(value)

    def check(cls, value: Any) -> Any:
        """The value itself; raises ValueError in msgspec's own words if it is out of bounds."""
        if not cls._fits(value):
            raise ValueError(f"Expected `{cls.__name__}` ({cls._bounds}), got `{type(value).__name__}`")
        return value


def _is_uint64(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**64


def _is_float32(value: object) -> bool:
    if type(value) is int:
        return -_LARGEST_FLOAT32 <= value <= _LARGEST_FLOAT32
    return type(value) is float and (not math.isfinite(value) or abs(value) <= _LARGEST_FLOAT32)


if TYPE_CHECKING:
    UInt64: TypeAlias = int
    Float32: TypeAlias = float
else:

    class UInt64(metaclass=_Sized, fits=_is_uint64, bounds="int from 0 to 2**64 - 1"):
        """An integer from 0 to 2**64 - 1."""

    class Float32(metaclass=_Sized, fits=_is_float32, bounds="float in the range of 32 bits, infinity or NaN"):
        """A float in the range of 32 bits; infinities and NaN are floats of 32 bits, too."""


class _Registered(msgspec.Struct, frozen=True):
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    plain: Any


class TypeRegistry:
    """How values of types that msgspec does not know are written as plain values, and made again from them.

    One per app (`app.types`). All codecs of the app ask it, so a type that is registered later is known at once.
    """

    def __init__(self) -> None:
        self._registered: dict[type, _Registered] = {}

    def register(
        self, kind: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T], *, plain: Any = Any
    ) -> None:
        """Carry values of `kind` (and its subclasses) as what `encode` makes of them; `decode` takes that back.

        `encode` gives None, bool, int, float, str, bytes, a list or a dict of those. Where a codec has no such
        type (bytes in JSON, say), name it as `plain`, and `decode` gets that. Registering again replaces.

        Raises ConfigurationError for what is no class, or a class that is carried as it is without registration.
        """
        if not isinstance(kind, type):
            raise ConfigurationError(f"types.register takes a class, got {kind!r}")
        if not (callable(encode) and callable(decode)):
            raise ConfigurationError(f"types.register({kind.__name__}, …) takes two callables: encode and decode")
        if _is_carried(kind):
            raise ConfigurationError(
                f"types.register: {kind.__name__} is carried as it is (as a dataclass, Struct, enum, container or "
                "plain value), so it is not registered; just annotate with it"
            )
        self._registered[kind] = _Registered(encode, decode, plain)

    def encode_hook(self, value: Any, text: bool = False) -> Any:
        """What to write in place of a value that a codec does not know. Raises TypeError where nobody knows.

        `text`: the codec has no bytes, so pydantic models go by pydantic's JSON rules.
        """
        kind = type(value)
        for ancestor in kind.__mro__:
            registered = self._registered.get(ancestor)
            if registered is not None:
                return registered.encode(value)
        if _is_pydantic_model(kind):
            return self._dump_as_text(value) if text else self._dump(value)
        for plain, exact in _EXACT:
            if isinstance(value, plain):
                return exact(value)
        raise TypeError(
            f"values of type {_name(kind)} cannot be sent; send plain data, or register the type with "
            f"app.types.register({kind.__name__}, encode, decode)"
        )

    def decode_hook(self, kind: type, value: Any, text: bool = False) -> Any:
        """Make a value of `kind` from what was written for it. Raises ValueError or TypeError if that fails."""
        registered = self._registered.get(kind)
        if registered is not None:
            return self._decode_registered(kind, registered, value)
        if isinstance(kind, _Sized):
            return float(kind.check(value)) if kind is _FLOAT32 else kind.check(value)
        if _is_pydantic_model(kind):
            return _load_text(kind, value) if text else _load(kind, value)
        if isinstance(value, get_origin(kind) or kind):
            return value
        raise TypeError(
            f"Expected `{_name(kind)}`, got `{type(value).__name__}`; if that type is yours, register it with "
            f"app.types.register({kind.__name__}, encode, decode)"
        )

    def _decode_registered(self, kind: type, registered: _Registered, value: Any) -> Any:
        try:
            if registered.plain is not Any:
                value = msgspec.convert(value, registered.plain, dec_hook=self.decode_hook, str_keys=True)
            return registered.decode(value)
        except (TypeError, ValueError):
            raise
        except Exception as error:  # so that msgspec adds the place to it
            raise ValueError(f"{_name(kind)} cannot be made of it: {type(error).__name__}: {error}") from error

    def _dump(self, model: Any) -> Any:
        try:
            return msgspec.to_builtins(
                model.model_dump(round_trip=True), builtin_types=MESSAGEPACK_BUILTINS, enc_hook=self.encode_hook
            )
        except TypeError:  # a field of a type that only pydantic knows, a URL for example
            return self._dump_as_text(model)

    def _dump_as_text(self, model: Any) -> Any:
        dumped = model.model_dump(mode="json", round_trip=True)
        if _load_text(type(model), dumped) != model:  # secrets become asterisks, NaN becomes None
            raise TypeError(
                f"{_name(type(model))} cannot be sent: what pydantic writes for it does not read back equal"
            )
        return dumped


_FLOAT32: Any = Float32

# msgspec writes subclasses of list and dict as what they are, but not subclasses of these.
_EXACT: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__index__),
    (float, float.__float__),
    (bytes, bytes.__bytes__),
)


def _is_carried(kind: type) -> bool:
    if issubclass(kind, (list, dict, tuple, set, frozenset)):
        return True
    try:
        return not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)
    except Exception:  # a dataclass, say, with a field that msgspec refuses: it is taken as one all the same
        return True


def _is_pydantic_model(kind: type) -> bool:
    # Duck typing, so that pydantic is neither needed nor imported.
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate")


def _load(kind: Any, value: Any) -> Any:
    # Not strict, for what has no type of its own in MessagePack (a UUID, say) is text here.
    return kind.model_validate(value, strict=False, by_name=True, by_alias=False)


def _load_text(kind: Any, value: Any) -> Any:
    return kind.model_validate_json(msgspec.json.encode(value), by_name=True, by_alias=False)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
