import dataclasses
import datetime
import enum
import json
import math
import uuid
from collections import namedtuple
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.codecs import JSON, MESSAGEPACK, Codecs, JsonCodec, MessagePackCodec, WrappedCodec
from heeler.errors import ConfigurationError
from heeler.types import TypeRegistry


class PlainJson:
    """A codec as a user would write one, on the standard library alone."""

    content_type = "application/x-plain-json"

    def encode(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def decode(self, data: bytes) -> Any:
        return json.loads(data)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float
    at: datetime.datetime | None = None


class Box(msgspec.Struct):
    corner: Point
    names: set[str] = set()


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: str
    right: bytes


class Address(pydantic.BaseModel):
    street: str
    opened: datetime.date
    number: int = pydantic.Field(alias="no")


class Shop(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    addresses: list[Address]
    id: uuid.UUID
    logo: bytes = b""


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.cents == other.cents

    def __hash__(self) -> int:
        return hash(self.cents)

    def __repr__(self) -> str:
        return f"Money({self.cents})"


class Blob(Money):
    pass


TYPES = TypeRegistry()
TYPES.register(Money, lambda money: {"cents": money.cents}, lambda plain: Money(plain["cents"]))
TYPES.register(Blob, lambda blob: str(blob.cents).encode(), lambda plain: Blob(int(plain)), plain=bytes)

CODECS = [MessagePackCodec(TYPES), JsonCodec(TYPES), WrappedCodec(PlainJson(), TYPES)]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.content_type)

integers = st.integers() | st.integers(-(2**200), 2**200) | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1])
text = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.datetimes(timezones=st.just(datetime.UTC) | st.none())
finite = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, integers, finite, st.none() | moments)

VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "None": (None, st.none()),
    "bool": (bool, st.booleans()),
    "int": (int, integers),
    "float": (float, finite),
    "str": (str, text),
    "bytes": (bytes, st.binary()),
    "list": (list[int], st.lists(integers)),
    "tuple": (tuple[int, str], st.tuples(integers, text)),
    "long tuple": (tuple[int, ...], st.lists(integers).map(tuple)),
    "set": (set[int], st.sets(integers)),
    "frozenset": (frozenset[str], st.frozensets(text)),
    "dict": (dict[str, int], st.dictionaries(text, integers)),
    "dict of int": (dict[int, str], st.dictionaries(integers, text)),
    "Literal": (Literal["a", "b", 3], st.sampled_from(["a", "b", 3])),
    "union": (int | str | None, integers | text | st.none()),
    "enum": (Color, st.sampled_from(Color)),
    "int enum": (Level, st.sampled_from(Level)),
    "datetime": (datetime.datetime, moments),
    "date": (datetime.date, st.dates()),
    "time": (datetime.time, st.times()),
    "timedelta": (datetime.timedelta, st.timedeltas()),
    "UUID": (uuid.UUID, st.uuids()),
    "Decimal": (Decimal, st.decimals(allow_nan=False)),
    "dataclass": (Point, points),
    "Struct": (Box, st.builds(Box, points, st.sets(text))),
    "TypedDict": (Movie, st.fixed_dictionaries({"title": text}, optional={"year": integers})),
    "NamedTuple": (Pair, st.builds(Pair, text, st.binary())),
    "constrained": (Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 2**100)),
    "own type": (Money, st.builds(Money, integers)),
    "own types in containers": (dict[str, list[Money]], st.dictionaries(text, st.lists(st.builds(Money, integers)))),
    "own type as bytes": (list[Blob], st.lists(st.builds(Blob, st.integers()))),
}


@every_codec
@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_its_declared_type(codec: Any, name: str) -> None:
    kind, values = VALUES[name]

    @given(values)
    def comes_back(value: Any) -> None:
        again = codec.decode_as(codec.encode(value), kind)
        assert again == value
        assert type(again) is type(value)

    comes_back()


plain_values = st.recursive(
    st.none() | st.booleans() | integers | finite | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
)


@every_codec
@given(value=plain_values)
def test_plain_values_come_back_without_a_type(codec: Any, value: Any) -> None:
    assert codec.decode(codec.encode(value)) == value


@every_codec
def test_a_pydantic_model_comes_back_validated(codec: Any) -> None:
    shop = Shop(
        addresses=[Address(street="Mill Lane", opened=datetime.date(1999, 12, 31), no=3)], id=uuid.uuid4(), logo=b"GIF"
    )
    assert codec.decode_as(codec.encode({"shop": shop}), dict[str, Shop]) == {"shop": shop}
    with pytest.raises(msgspec.ValidationError, match=r"street"):
        codec.decode_as(codec.encode([{"opened": "1999-12-31", "number": 3}]), list[Address])


class Link(pydantic.BaseModel):
    url: pydantic.AnyUrl


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class Reading(pydantic.BaseModel):
    value: float | None


@every_codec
def test_a_pydantic_field_that_only_pydantic_knows_is_carried(codec: Any) -> None:
    link = Link(url=pydantic.AnyUrl("https://example.org/a"))
    assert codec.decode_as(codec.encode(link), Link) == link


@every_codec
def test_a_pydantic_secret_is_refused_rather_than_sent_as_asterisks(codec: Any) -> None:
    with pytest.raises(TypeError, match="Login cannot be sent"):
        codec.encode(Login(password=pydantic.SecretStr("hunter2")))


@pytest.mark.parametrize("codec", CODECS[1:], ids=lambda codec: codec.content_type)
def test_a_pydantic_nan_is_refused_where_it_would_become_none(codec: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        codec.encode(Reading(value=math.nan))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_messagepack_carries_what_is_no_finite_number(value: float) -> None:
    [again] = MESSAGEPACK.decode_as(MESSAGEPACK.encode([value]), list[float])
    assert again == value or (math.isnan(again) and math.isnan(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [{"a": (x,)}], lambda x: Point(1, x), lambda x: {1: x}])
def test_json_refuses_what_is_no_finite_number(value: float, wrap: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON has no (nan|inf|-inf); use the MessagePack codec"):
        JSON.encode(wrap(value))


def test_json_takes_none_and_the_word_null_as_they_are() -> None:
    assert JSON.decode(JSON.encode([None, "null", {"null": None}])) == [None, "null", {"null": None}]


@every_codec
def test_an_integer_of_any_size_is_exact_in_every_place(codec: Any) -> None:
    big = 7**400
    box = Box(Point(-big, 0.5), {"x"})
    assert codec.decode_as(codec.encode(box), Box) == box
    assert codec.decode_as(codec.encode({"a": [big, -big, 3]}), dict[str, list[int]]) == {"a": [big, -big, 3]}
    assert codec.decode(codec.encode([big])) == [big]
    assert codec.decode_as(codec.encode([Money(big)]), list[Money]) == [Money(big)]


def test_big_integers_are_keys_in_messagepack_too() -> None:
    value = {2**100: "a", (1, -(2**90)): "b"}
    assert MESSAGEPACK.decode(MESSAGEPACK.encode(value)) == value


def test_bytes_and_datetimes_beside_a_big_integer_keep_their_type() -> None:
    value = [2**100, b"\xff", datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)]
    assert MESSAGEPACK.decode(MESSAGEPACK.encode(value)) == value


def test_a_value_that_does_not_fit_is_refused_even_beside_a_big_integer() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`, got `str` - at `\$\[1\]`"):
        MESSAGEPACK.decode_as(MESSAGEPACK.encode([2**100, "x"]), list[int])
    with pytest.raises(msgspec.ValidationError, match="Expected `str`, got `int`"):
        MESSAGEPACK.decode_as(MESSAGEPACK.encode(2**100), str)


def test_an_extension_of_somebody_else_stays_what_it_is() -> None:
    foreign = msgspec.msgpack.Ext(77, b"abc")
    assert MESSAGEPACK.decode(MESSAGEPACK.encode([foreign])) == [foreign]


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "misleading"


class Count(int):
    pass


class Share(float):
    pass


class Octets(bytes):
    pass


@every_codec
@pytest.mark.parametrize(
    ("value", "kind"),
    [(Text("a"), str), (Count(3), int), (Count(2**80), int), (Share(0.5), float), (Octets(b"x"), bytes)],
)
def test_a_subclass_of_a_plain_type_is_sent_as_that_type(codec: Any, value: Any, kind: type) -> None:
    again = codec.decode_as(codec.encode([value]), list[kind])[0]
    assert again == value
    assert type(again) is kind


@every_codec
def test_a_value_of_an_unknown_type_is_refused_with_the_way_out(codec: Any) -> None:
    with pytest.raises(TypeError, match=r"values of type complex cannot be sent.*app\.types\.register\(complex"):
        codec.encode([3j])


@every_codec
def test_an_annotation_that_cannot_be_hashed_is_decoded_all_the_same(codec: Any) -> None:
    kind = Annotated[int, msgspec.Meta(extra={"a": []})]
    assert codec.decode_as(codec.encode(3), kind) == 3


def test_a_plain_codec_gets_nothing_but_plain_values() -> None:
    seen = []

    class Spy(PlainJson):
        def encode(self, value: Any) -> bytes:
            seen.append(value)
            return super().encode(value)

    codec = WrappedCodec(Spy(), TYPES)
    place = namedtuple("Place", "a b")(1, b"\x00")  # noqa: PYI024
    codec.encode({3: (1, {2}), "p": place, "d": Decimal("1.5"), "m": Money(5), "c": Color.RED, "u": uuid.UUID(int=1)})
    assert seen == [
        {
            "3": [1, [2]],
            "p": [1, "AA=="],
            "d": "1.5",
            "m": {"cents": 5},
            "c": "red",
            "u": "00000000-0000-0000-0000-000000000001",
        }
    ]


def test_codecs_know_messagepack_and_json_from_the_start() -> None:
    codecs = Codecs()
    assert codecs.get("application/msgpack").content_type == "application/msgpack"
    assert codecs.get("application/json").content_type == "application/json"


def test_an_unknown_content_type_is_an_error_that_names_the_known_ones() -> None:
    codecs = Codecs()
    codecs.add(PlainJson())
    with pytest.raises(LookupError) as caught:
        codecs.get("text/yaml")
    said = str(caught.value)
    for expected in ("text/yaml", "application/msgpack", "application/json", "application/x-plain-json"):
        assert expected in said


def test_a_shipped_codec_is_bound_to_the_types_of_the_app() -> None:
    codecs = Codecs(TYPES)
    codec = codecs.add(JsonCodec())
    assert codec.decode_as(codec.encode(Money(3)), Money) == Money(3)


def test_adding_a_codec_again_gives_the_one_that_is_there() -> None:
    codecs = Codecs()
    own = PlainJson()
    assert codecs.add(own) is codecs.add(own)
    assert codecs.add(JsonCodec()) is codecs.add(JSON)
    assert codecs.add(PlainJson()) is not codecs.add(own)


def test_a_codec_of_the_users_may_know_types_itself() -> None:
    class Typed(MessagePackCodec):
        content_type = "application/x-typed"

    own = Typed()
    codecs = Codecs()
    assert codecs.add(own) is own
    assert codecs.get("application/x-typed") is own


def test_what_is_no_codec_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(ConfigurationError, match="it lacks content_type, encode, decode"):
        Codecs().add(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"not the class PlainJson"):
        Codecs().add(PlainJson)  # type: ignore[arg-type]
    half_made = PlainJson()
    half_made.content_type = 3  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match=r"content_type \(a str\)"):
        Codecs().add(half_made)


@every_codec
@given(data=st.binary())
def test_random_bytes_raise_an_ordinary_error_or_decode(codec: Any, data: bytes) -> None:
    for decode in (codec.decode, lambda data: codec.decode_as(data, list[int])):
        try:
            decode(data)
        except (ValueError, TypeError, RecursionError):
            continue
