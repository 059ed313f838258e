import dataclasses
import enum
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, ValidationError

from heeler import types
from heeler.codecs import JsonCodec, MessagePackCodec
from heeler.errors import ConfigurationError
from heeler.types import Float32, Int64, TypeRegistry, UInt64

INTEGERS = {f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
INTEGERS |= {f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}

codecs = pytest.mark.parametrize("codec", [MessagePackCodec(), JsonCodec()], ids=lambda codec: codec.content_type)


@codecs
@pytest.mark.parametrize("name", INTEGERS)
def test_a_sized_integer_takes_its_whole_range_and_nothing_beyond(codec: Any, name: str) -> None:
    kind, (smallest, largest) = list[getattr(types, name)], INTEGERS[name]
    for value in (smallest, smallest + 1, 0, 1, largest - 1, largest):
        assert codec.decode_as(codec.encode([value]), kind) == [value]
    for value in (smallest - 1, largest + 1, 2**100, -(2**100), True, 1.0, "1", None):
        with pytest.raises(ValidationError):
            codec.decode_as(codec.encode([value]), kind)


@given(st.integers())
def test_a_sized_integer_accepts_exactly_what_is_in_its_range(value: int) -> None:
    codec = MessagePackCodec()
    for name, (smallest, largest) in INTEGERS.items():
        try:
            codec.decode_as(codec.encode(value), getattr(types, name))
            accepted = True
        except ValidationError:
            accepted = False
        assert accepted == (smallest <= value <= largest), name


LARGEST_FLOAT32 = 3.4028234663852886e38


@pytest.mark.parametrize("value", [0, 1, -5, 0.1, LARGEST_FLOAT32, -LARGEST_FLOAT32, math.inf, -math.inf, 1e-300])
def test_float32_takes_what_is_in_range_and_gives_a_float(value: float) -> None:
    codec = MessagePackCodec()
    again = codec.decode_as(codec.encode(value), Float32)
    assert again == value
    assert type(again) is float


def test_float32_takes_nan() -> None:
    codec = MessagePackCodec()
    assert math.isnan(codec.decode_as(codec.encode(math.nan), Float32))


@pytest.mark.parametrize("value", [3.5e38, -1e39, 2**200, True, "1.0", None])
def test_float32_refuses_what_is_out_of_range_or_no_number(value: Any) -> None:
    codec = MessagePackCodec()
    with pytest.raises(ValidationError, match=r"Expected `Float32` \(float in the range of 32 bits"):
        codec.decode_as(codec.encode([value]), list[Float32])


class Counters(Struct):
    hits: UInt64
    drift: Int64 = 0
    share: Float32 | None = None


@codecs
def test_sized_numbers_work_inside_structs_and_with_none(codec: Any) -> None:
    counters = Counters(2**64 - 1, -(2**63), 0.5)
    assert codec.decode_as(codec.encode(counters), Counters) == counters
    assert codec.decode_as(codec.encode({"hits": 3}), Counters).share is None
    with pytest.raises(ValidationError, match=r"`\$\.hits`"):
        codec.decode_as(codec.encode({"hits": 2**64}), Counters)


def test_isinstance_is_the_check_of_uint64_and_float32() -> None:
    assert isinstance(5, UInt64)
    assert not isinstance(-5, UInt64)
    assert not isinstance(True, UInt64)
    assert isinstance(0.5, Float32)
    assert not isinstance(1e39, Float32)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class Price(Money):
    pass


def test_a_subclass_is_written_as_its_registered_ancestor() -> None:
    registry = TypeRegistry()
    registry.register(Money, lambda money: money.cents, Money)
    codec = MessagePackCodec(registry)
    again = codec.decode_as(codec.encode(Price(5)), Money)
    assert (type(again), again.cents) == (Money, 5)


def test_a_type_that_is_registered_later_is_known_to_codecs_that_exist_already() -> None:
    registry = TypeRegistry()
    codec = MessagePackCodec(registry)
    with pytest.raises(TypeError):
        codec.encode(Money(5))
    with pytest.raises(ValidationError, match=r"app\.types\.register\(Money, encode, decode\)"):
        codec.decode_as(codec.encode(5), Money)
    registry.register(Money, lambda money: money.cents, Money)
    assert codec.decode_as(codec.encode(Money(5)), Money).cents == 5


def test_registering_again_replaces() -> None:
    registry = TypeRegistry()
    registry.register(Money, lambda money: money.cents, Money)
    registry.register(Money, lambda money: -money.cents, lambda plain: Money(-plain))
    assert registry.encode_hook(Money(5)) == -5
    assert registry.decode_hook(Money, -5).cents == 5


def test_a_failing_decoder_is_told_with_the_place_and_the_reason() -> None:
    registry = TypeRegistry()
    registry.register(Money, lambda money: {}, lambda plain: Money(plain["cents"]))
    codec = MessagePackCodec(registry)
    with pytest.raises(ValidationError, match=r"Money cannot be made of it: KeyError: 'cents' - at `\$\[0\]`"):
        codec.decode_as(codec.encode([Money(5)]), list[Money])


def test_plain_names_the_type_that_a_codec_has_no_word_for() -> None:
    registry = TypeRegistry()
    registry.register(Money, lambda money: bytes([money.cents]), lambda plain: Money(plain[0]), plain=bytes)
    codec = JsonCodec(registry)
    assert codec.decode_as(codec.encode(Money(200)), Money).cents == 200


@dataclasses.dataclass
class Point:
    x: int


class Color(enum.Enum):
    RED = 1


class Names(list[str]):
    pass


@pytest.mark.parametrize("kind", [Point, Color, Names, Counters, int, str])
def test_a_class_that_is_carried_anyway_is_not_registered(kind: type) -> None:
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__} is carried as it is"):
        TypeRegistry().register(kind, str, kind)


def test_registering_wants_a_class_and_two_callables() -> None:
    with pytest.raises(ConfigurationError, match="takes a class"):
        TypeRegistry().register(list[int], str, str)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="two callables"):
        TypeRegistry().register(Money, str, None)  # type: ignore[arg-type]
