from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypedDict, Unpack

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.arguments import Parameters, ReturnType, encode_unbound, given_unbound
from heeler.codecs import Codecs, JsonCodec, MessagePackCodec, WrappedCodec
from heeler.errors import ConfigurationError, InvalidArguments
from heeler.types import Int8, TypeRegistry, UInt64

if TYPE_CHECKING:
    from somewhere import Unknown


class PlainJson:
    content_type = "application/x-plain-json"

    def encode(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def decode(self, data: bytes) -> Any:
        return json.loads(data)


TYPES = TypeRegistry()
MESSAGEPACK = MessagePackCodec(TYPES)
JSON = JsonCodec(TYPES)
CODECS = [MESSAGEPACK, JSON, WrappedCodec(PlainJson(), TYPES)]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.content_type)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Size:
    width: int
    height: int = 1


def of(function: Callable[..., Any], **options: Any) -> Parameters:
    return Parameters.of(function, task="resize", types=TYPES, **options)


def there_and_back(function: Callable[..., Any], *args: Any, codec: Any = MESSAGEPACK, **kwargs: Any) -> Any:
    """What the function returns when it is called with arguments that went over the wire."""
    parameters = of(function)
    sent_args, sent_kwargs = parameters.decode(parameters.encode(args, kwargs, codec), codec)
    return function(*sent_args, **sent_kwargs)


def refused(function: Callable[..., Any], *args: Any, codec: Any = MESSAGEPACK, **kwargs: Any) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        of(function).encode(args, kwargs, codec)
    assert caught.value.task == "resize"
    return caught.value


# Signatures of all shapes


def plain(path: str, width: int) -> Any:
    return path, width


def with_defaults(path: str, width: int = 64, *, color: Color = Color.RED, sizes: list[Size] | None = None) -> Any:
    return path, width, color, sizes


def open_ended(first: int, *rest: int, flag: bool = False, **extra: float) -> Any:
    return first, rest, flag, extra


def positional_only(a: int, b: int = 2, /, c: int = 3, **extra: int) -> Any:
    return a, b, c, extra


def keyword_only(*, a: int, b: str = "b") -> Any:
    return a, b


def unannotated(a, b=2, *rest, **extra):  # type: ignore[no-untyped-def]
    return a, b, rest, extra


def nothing() -> Any:
    return ()


def awkward_names(self: int, cls: int, __private: int, mro: int, _x: int, type: int) -> Any:
    return self, cls, __private, mro, _x, type


class Options(TypedDict, total=False):
    depth: int
    label: str


def unpacked(**options: Unpack[Options]) -> Any:
    return options


class Resizer:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, width: int, by: int = 1) -> Any:
        return self.factor * width, by

    def method(self, width: int) -> Any:
        return self.factor, width

    @classmethod
    def of_class(cls, width: int) -> Any:
        return cls, width

    @staticmethod
    def static(width: int) -> Any:
        return width


def decorated_by(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@decorated_by
def decorated(width: int, size: Size) -> Any:
    return width, size


CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (plain, ("cat.png", 3), {}),
    (plain, ("cat.png",), {"width": 3}),
    (plain, (), {"width": 3, "path": "cat.png"}),
    (with_defaults, ("a",), {}),
    (with_defaults, ("a", 5), {"color": Color.BLUE}),
    (with_defaults, (), {"path": "a", "sizes": [Size(1), Size(2, 3)]}),
    (with_defaults, ("a",), {"color": "blue"}),
    (open_ended, (1,), {}),
    (open_ended, (1, 2, 3), {"flag": True, "x": 0.5, "y": 2}),
    (open_ended, (), {"first": 1, "z": 1.0}),
    (positional_only, (1,), {}),
    (positional_only, (1, 5, 6), {}),
    (positional_only, (1,), {"c": 7, "a": 8, "b": 9}),
    (keyword_only, (), {"a": 1}),
    (keyword_only, (), {"b": "x", "a": 1}),
    (unannotated, (1,), {}),
    (unannotated, ([1, {"x": None}], "b", 3, 4.5), {"e": "f"}),
    (nothing, (), {}),
    (awkward_names, (1, 2, 3, 4, 5, 6), {}),
    (unpacked, (), {"depth": 3}),
    (Resizer(3), (4,), {"by": 2}),
    (Resizer(3).method, (4,), {}),
    (Resizer.of_class, (4,), {}),
    (Resizer.static, (4,), {}),
    (functools.partial(plain, "cat.png"), (4,), {}),
    (functools.partial(with_defaults, width=5), ("a",), {}),
    (decorated, (1, Size(2)), {}),
    (lambda a, b=2: (a, b), (1,), {}),
]


@every_codec
@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_a_call_over_the_wire_is_the_call_itself(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], codec: Any
) -> None:
    expected = function(*args, **kwargs)
    if kwargs.get("color") == "blue":
        expected = ("a", 64, Color.BLUE, None)
    assert there_and_back(function, *args, codec=codec, **kwargs) == expected


@every_codec
@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_an_unbound_call_is_bound_by_the_worker(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], codec: Any
) -> None:
    parameters = of(function)
    bound = parameters.decode(parameters.encode(args, kwargs, codec), codec)
    assert parameters.decode(encode_unbound(args, kwargs, codec), codec, False) == bound


values = st.integers() | st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.booleans()


@given(
    args=st.lists(values, max_size=6),
    kwargs=st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "x", "rest", "extra"]), values),
)
def test_any_call_is_taken_just_as_python_takes_it(args: list[Any], kwargs: dict[str, Any]) -> None:
    def plain(a, b=2, *, c=3):  # type: ignore[no-untyped-def]
        return a, b, c

    def ordinary(a, b, c=3, d=4):  # type: ignore[no-untyped-def]
        return a, b, c, d

    def rich(a, /, b, c=3, *rest, d, e=5, **extra):  # type: ignore[no-untyped-def]
        return a, b, c, rest, d, e, extra

    def strict(a, b=2, /):  # type: ignore[no-untyped-def]
        return a, b

    for function in (plain, ordinary, rich, strict):
        parameters = of(function)
        try:
            expected = function(*args, **kwargs)
        except TypeError:
            with pytest.raises(InvalidArguments):
                parameters.encode(tuple(args), kwargs, MESSAGEPACK)
            with pytest.raises(InvalidArguments):
                parameters.decode(encode_unbound(tuple(args), kwargs, MESSAGEPACK), MESSAGEPACK, False)
        else:
            assert there_and_back(function, *args, **kwargs) == expected


def test_what_was_not_given_is_not_sent_so_the_workers_own_default_applies() -> None:
    payload = of(with_defaults).encode(("a",), {}, MESSAGEPACK)
    assert msgspec.msgpack.decode(payload) == {"path": "a"}

    def changed(path: str, width: int = 128, *, color: Color = Color.RED, sizes: list[Size] | None = None) -> Any:
        return width

    args, kwargs = of(changed).decode(payload, MESSAGEPACK)
    assert changed(*args, **kwargs) == 128


def test_the_payload_names_each_parameter() -> None:
    assert json.loads(of(awkward_names).encode((1, 2, 3, 4, 5, 6), {}, JSON)) == {
        "self": 1,
        "cls": 2,
        "__private": 3,
        "mro": 4,
        "_x": 5,
        "type": 6,
    }


# What a caller gets wrong


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "parameter", "words"),
    [
        (plain, ("a",), {}, "width", "missing"),
        (plain, (), {}, "path", "missing"),
        (plain, ("a", 1, 2), {}, None, "too many positional arguments"),
        (plain, ("a", 1), {"path": "b"}, "path", "multiple values"),
        (plain, ("a", 1), {"heigth": 1}, "heigth", "unexpected keyword"),
        (keyword_only, (1,), {}, None, "too many positional arguments"),
        (keyword_only, (), {}, "a", "missing"),
        (open_ended, (), {}, "first", "missing"),
    ],
)
def test_a_call_of_the_wrong_shape_names_the_parameter_and_the_signature(
    function: Any, args: Any, kwargs: Any, parameter: str | None, words: str
) -> None:
    error = refused(function, *args, **kwargs)
    assert error.parameter == parameter
    assert words in str(error)
    assert of(function).signature_text in str(error)


def typed(
    number: int = 0,
    share: float = 0,
    text: str = "",
    data: bytes = b"",
    flag: bool = False,
    color: Color = Color.RED,
    mode: Literal["a", "b"] = "a",
    at: datetime.datetime | None = None,
    size: Size | None = None,
    numbers: list[int] = [],  # noqa: B006
    table: dict[str, list[Size]] = {},  # noqa: B006
    small: Int8 = 0,
    large: UInt64 = 0,
    few: Annotated[list[int], msgspec.Meta(max_length=2)] = [],  # noqa: B006
    pair: tuple[int, str] = (0, ""),
) -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("number", "5", "argument \"number\": expected int, got str ('5')"),
        ("number", True, 'argument "number": expected int, got bool (True)'),
        ("number", 5.0, 'argument "number": expected int, got float (5.0)'),
        ("number", None, 'argument "number": expected int, got None'),
        ("number", [1], 'argument "number": expected int, got list ([1])'),
        ("share", "1.5", "argument \"share\": expected float, got str ('1.5')"),
        ("share", True, 'argument "share": expected float, got bool (True)'),
        ("text", 5, 'argument "text": expected str, got int (5)'),
        ("text", b"x", "argument \"text\": expected str, got bytes (b'x')"),
        ("data", "x", "argument \"data\": expected bytes, got str ('x')"),
        ("flag", 1, 'argument "flag": expected bool, got int (1)'),
        ("color", "green", "argument \"color\": expected Color, got str ('green'): Invalid enum value 'green'"),
        ("mode", "c", "argument \"mode\": expected Literal['a', 'b'], got str ('c'): Invalid enum value 'c'"),
        ("at", "soon", "expected datetime | None, got str ('soon'): Invalid RFC3339 encoded datetime"),
        ("at", 5, 'argument "at": expected datetime | None, got int (5)'),
        ("size", 5, 'argument "size": expected Size | None, got int (5)'),
        ("size", {"width": 1, "w": 2}, None),
        ("size", {"height": 2}, "missing required field `width`"),
        ("size", {"width": "x"}, 'argument "size".width: expected int, got str'),
        ("numbers", [1, "x"], 'argument "numbers"[1]: expected int, got str'),
        ("numbers", 7, 'argument "numbers": expected list[int], got int (7)'),
        ("table", {"k": [{"width": None}]}, 'argument "table"[...][0].width: expected int, got None'),
        ("table", {1: []}, 'argument "table" (a key): expected str, got int'),
        ("small", 128, 'argument "small": expected int <= 127, got int (128)'),
        ("small", -129, 'argument "small": expected int >= -128, got int (-129)'),
        ("large", 2**64, "expected UInt64 (int from 0 to 2**64 - 1), got int (18446744073709551616)"),
        ("large", -1, "expected UInt64 (int from 0 to 2**64 - 1), got int (-1)"),
        ("few", [1, 2, 3], 'argument "few": expected list of length <= 2, got list ([1, 2, 3])'),
        ("pair", (1,), 'argument "pair": expected list of length 2, got tuple ((1,))'),
        ("pair", (1, 2), 'argument "pair"[1]: expected str, got int'),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_plain_words(name: str, value: Any, message: str | None) -> None:
    if message is None:
        of(typed).encode((), {name: value}, MESSAGEPACK)  # a dataclass takes no harm from a field that it lacks
        return
    error = refused(typed, **{name: value})
    assert message in str(error)
    assert str(error).startswith("resize: ")
    assert error.parameter == name
    assert error.expected
    assert error.expected in str(error)


def test_expected_and_given_are_attributes_of_the_error() -> None:
    error = refused(plain, "cat.png", "abc")
    assert str(error) == "resize: argument \"width\": expected int, got str ('abc')"
    assert (error.parameter, error.expected, error.given) == ("width", "int", "str ('abc')")


def test_a_long_value_is_cut_in_the_error() -> None:
    assert len(str(refused(plain, "a", "x" * 10_000))) < 200


@every_codec
def test_positional_and_keyword_arguments_beyond_the_named_ones_are_checked(codec: Any) -> None:
    error = refused(open_ended, 1, 2, "x", codec=codec)
    assert error.parameter == "rest"
    assert 'argument "rest"[1]: expected int, got str' in str(error)
    error = refused(open_ended, 1, good=1.5, bad="x", codec=codec)
    assert error.parameter == "bad"
    assert "argument \"bad\": expected float, got str ('x')" in str(error)


@every_codec
def test_a_value_that_cannot_be_sent_names_its_parameter(codec: Any) -> None:
    error = refused(unannotated, 1, [object()], codec=codec)
    assert error.parameter == "b"
    assert 'argument "b" cannot be sent as' in str(error)
    assert "app.types.register(object, encode, decode)" in str(error)
    assert error.given.startswith("list")


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    error = refused(unannotated, endless)
    assert error.parameter == "a"
    assert "nested too deeply" in str(error)


def test_nan_is_refused_by_json_and_named() -> None:
    error = refused(typed, share=float("nan"), codec=JSON)
    assert error.parameter == "share"
    assert "JSON has no nan" in str(error)


def test_whole_numbers_are_floats_where_floats_are_asked_for() -> None:
    parameters = of(typed)
    _, kwargs = parameters.decode(parameters.encode((), {"share": 3}, MESSAGEPACK), MESSAGEPACK)
    assert type(kwargs["share"]) is float


# What the worker gets wrong bytes for


@pytest.mark.parametrize(
    ("plain_payload", "parameter"),
    [
        ({"path": "a"}, "width"),
        ({"path": "a", "width": 1, "height": 2}, "height"),
        ({"path": "a", "width": "1"}, "width"),
        ([], None),
        (None, None),
        ("x", None),
    ],
)
@every_codec
def test_a_payload_that_no_longer_fits_is_invalid(codec: Any, plain_payload: Any, parameter: str | None) -> None:
    with pytest.raises(InvalidArguments) as caught:
        of(plain).decode(codec.encode(plain_payload), codec)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith("resize: ")


@pytest.mark.parametrize(
    "unbound",
    [None, [], [[], {}, 1], [{}, {}], [[], []], [["a", 1], {1: 2}], [["a"], {}], [["a", "b"], {}], {"path": "a"}],
)
def test_an_unbound_payload_of_another_shape_is_invalid(unbound: Any) -> None:
    with pytest.raises(InvalidArguments, match="resize"):
        of(plain).decode(MESSAGEPACK.encode(unbound), MESSAGEPACK, False)


@every_codec
@given(data=st.binary(), bound=st.booleans())
def test_random_bytes_are_invalid_and_nothing_else(codec: Any, data: bytes, bound: bool) -> None:
    for function in (plain, open_ended, typed):
        with contextlib.suppress(InvalidArguments):
            of_cached(function).decode(data, codec, bound)


@functools.cache
def of_cached(function: Callable[..., Any]) -> Parameters:
    return of(function)


def test_a_crafted_payload_cannot_name_a_parameter_twice() -> None:
    payload = MESSAGEPACK.encode({"first": 1, "extra": {"first": 2.0}})
    with pytest.raises(InvalidArguments, match='"first" is not for the caller'):
        of(open_ended).decode(payload, MESSAGEPACK)


def test_a_crafted_payload_cannot_leave_a_hole_in_positional_arguments() -> None:
    def holed(a: int = 1, b: int = 2, /) -> None: ...

    def followed(a: int = 1, *rest: int) -> None: ...

    with pytest.raises(InvalidArguments, match='"a" is missing'):
        of(holed).decode(MESSAGEPACK.encode({"b": 5}), MESSAGEPACK)
    with pytest.raises(InvalidArguments, match='"a" is missing'):
        of(followed).decode(MESSAGEPACK.encode({"rest": [5]}), MESSAGEPACK)


# What the worker supplies


class Context:
    pass


CONTEXT = Context()


def supplied(function: Callable[..., Any], *args: Any, skip_first: bool, context: str | None, **kwargs: Any) -> Any:
    parameters = of(function, skip_first=skip_first, context_parameter=context)
    arguments = parameters.decode(parameters.encode(args, kwargs, MESSAGEPACK), MESSAGEPACK)
    args, kwargs = parameters.supply(arguments, "the-id", CONTEXT)
    return function(*args, **kwargs)


def test_the_id_comes_first() -> None:
    def task(id: str, a: int, b: int = 2, *rest: int) -> Any:
        return id, a, b, rest

    assert supplied(task, 1, skip_first=True, context=None) == ("the-id", 1, 2, ())
    assert supplied(task, 1, 2, 3, skip_first=True, context=None) == ("the-id", 1, 2, (3,))


@pytest.mark.parametrize("args", [(1,), (1, 2), (1, 2, 3)])
def test_the_context_goes_where_the_function_takes_it(args: tuple[int, ...]) -> None:
    def first(context: Context, a: int, b: int = 0, *rest: int) -> Any:
        return context, (a, b, *rest)

    def second(a: int, context: Context, b: int = 0, *rest: int) -> Any:
        return context, (a, b, *rest)

    def only_position(a: int, context: Context, /, b: int = 0, *rest: int) -> Any:
        return context, (a, b, *rest)

    def by_name(a: int, b: int = 0, *rest: int, context: Context) -> Any:
        return context, (a, b, *rest)

    for function in (first, second, only_position, by_name):
        context, given_back = supplied(function, *args, skip_first=False, context="context")
        assert context is CONTEXT
        assert given_back[: len(args)] == args


def test_the_context_is_given_by_name_behind_a_default_that_applies() -> None:
    def task(a: int = 1, context: Context | None = None, b: int = 2) -> Any:
        return a, context, b

    assert supplied(task, b=5, skip_first=False, context="context") == (1, CONTEXT, 5)


@pytest.mark.parametrize("kwargs", [{}, {"a": 7}])
def test_id_and_context_are_supplied_together(kwargs: dict[str, int]) -> None:
    def context_first(context: Context, id: str, a: int = 1) -> Any:
        return id, context, a

    def id_first(id: str, context: Context, a: int = 1) -> Any:
        return id, context, a

    for function in (context_first, id_first):
        expected = ("the-id", CONTEXT, kwargs.get("a", 1))
        assert supplied(function, skip_first=True, context="context", **kwargs) == expected


def test_callers_cannot_give_what_the_worker_supplies() -> None:
    def task(id: str, context: Context, **extra: int) -> None: ...

    parameters = of(task, skip_first=True, context_parameter="context")
    assert parameters.signature_text == "(**extra: int) -> None"
    for name in ("id", "context"):
        with pytest.raises(InvalidArguments, match=f'"{name}" is not for the caller to give'):
            parameters.encode((), {name: 1}, MESSAGEPACK)


def test_a_function_with_no_place_for_what_is_supplied_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="id_as_first_arg needs a positional parameter"):
        of(keyword_only, skip_first=True)
    with pytest.raises(ConfigurationError, match='no parameter "context"'):
        of(plain, context_parameter="context")
    with pytest.raises(ConfigurationError, match='"rest" cannot take the context'):
        of(open_ended, context_parameter="rest")


def test_the_type_of_the_context_need_not_be_there_at_run_time() -> None:
    def task(context: Unknown, a: int) -> None: ...

    assert of(task, context_parameter="context").signature_text == "(a: int) -> None"


# Registration


def test_an_annotation_that_cannot_be_resolved_is_a_configuration_error_that_names_it() -> None:
    def task(a: int, thing: list[Unknown]) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        of(task)
    assert 'task resize: parameter "thing"' in str(caught.value)
    assert "name 'Unknown' is not defined" in str(caught.value)


def test_a_local_class_is_found_where_the_function_uses_it() -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    def task(local: Local) -> Any:
        return isinstance(local, Local)

    assert there_and_back(task, Local(3)) is True


def test_a_union_that_msgspec_refuses_is_a_configuration_error_that_names_the_parameter() -> None:
    def task(a: int, when: datetime.datetime | str) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        of(task)
    assert 'task resize: parameter "when": datetime | str is not supported' in str(caught.value)
    assert "more than one str-like type" in str(caught.value)


def test_a_refused_type_behind_an_awkward_name_or_among_the_surplus_is_named_too() -> None:
    def task(__when: datetime.datetime | str) -> None: ...  # noqa: PYI063

    def surplus(**when: datetime.datetime | str) -> None: ...

    for function, name in ((task, "__when"), (surplus, "when")):
        with pytest.raises(ConfigurationError, match=f'parameter "{name}"'):
            of(function)


def test_a_builtin_without_a_signature_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="signature cannot be read"):
        of(dict)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (plain, "(path: str, width: int) -> Any"),
        (
            with_defaults,
            "(path: str, width: int = 64, *, color: Color = <Color.RED: 'red'>, sizes: list[Size] | None = None)"
            " -> Any",
        ),
        (open_ended, "(first: int, *rest: int, flag: bool = False, **extra: float) -> Any"),
        (unannotated, "(a, b=2, *rest, **extra)"),
        (nothing, "() -> Any"),
    ],
)
def test_the_signature_is_shown_with_short_names(function: Any, text: str) -> None:
    assert of(function).signature_text == text


def test_sized_numbers_constraints_and_nested_types_are_shown_as_they_are_written() -> None:
    def task(
        a: dict[str, Int8] | None,
        b: tuple[UInt64, ...],
        c: Annotated[int, msgspec.Meta(ge=3)],
        d: Literal["x.y", 3],
        e: Any,
        f: Callable[[int], str],
        g: None = None,
    ) -> None: ...

    assert of(task).signature_text == (
        "(a: dict[str, Int8] | None, b: tuple[UInt64, ...], c: Annotated[int, Meta(ge=3)], "
        "d: Literal['x.y', 3], e: Any, f: Callable[[int], str], g: None = None) -> None"
    )


# For display


def test_given_shows_the_arguments_in_their_types() -> None:
    parameters = of(with_defaults)
    payload = parameters.encode(("a",), {"sizes": [Size(1)]}, MESSAGEPACK)
    assert parameters.given(payload, MESSAGEPACK, True) == (("a",), {"sizes": [Size(1)]})


def test_given_shows_plain_values_where_they_do_not_fit_any_more() -> None:
    assert of(plain).given(MESSAGEPACK.encode({"old": 1}), MESSAGEPACK, True) == ((), {"old": 1})
    assert of(plain).given(b"\xc1", MESSAGEPACK, True) == ((), {})


def test_given_unbound_reads_what_it_can_without_the_function() -> None:
    assert given_unbound(encode_unbound((1, "b"), {"c": 3}, JSON), JSON, False) == ((1, "b"), {"c": 3})
    assert given_unbound(of(plain).encode(("a", 1), {}, JSON), JSON, True) == ((), {"path": "a", "width": 1})
    assert given_unbound(b"garbage", JSON, True) == ((), {})
    assert given_unbound(b"garbage", JSON, False) == ((), {})


def test_an_unbound_argument_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(InvalidArguments) as caught:
        encode_unbound((1, object()), {}, MESSAGEPACK)
    assert caught.value.parameter == "1"
    with pytest.raises(InvalidArguments, match='resize: argument "color" cannot be sent') as caught:
        encode_unbound((1,), {"color": object()}, MESSAGEPACK, "resize")
    assert caught.value.parameter == "color"


# Results


def returning(annotation: Any) -> ReturnType:
    return ReturnType(annotation, types=TYPES, task="resize")


@every_codec
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**100),
        (Size, Size(1, 2)),
        (list[Size], [Size(1, 2)]),
        (set[int], {1, 2}),
        (bytes, b"\x00\xff"),
        (None, None),
        (Any, [1, {"a": None}]),
        (datetime.datetime, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)),
    ],
)
def test_a_result_comes_back_in_its_annotated_type(annotation: Any, value: Any, codec: Any) -> None:
    returned = returning(annotation)
    again = returned.decode(returned.encode(value, codec), codec)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(("annotation", "value"), [(int, "not a number"), (Size, [1, 2]), (None, 5), (NoReturn, "x")])
def test_a_result_that_does_not_fit_its_annotation_is_not_lost(annotation: Any, value: Any) -> None:
    returned = returning(annotation)
    assert returned.decode(returned.encode(value, MESSAGEPACK), MESSAGEPACK) == value


@every_codec
def test_a_result_that_cannot_be_written_is_an_error_that_names_the_task(codec: Any) -> None:
    with pytest.raises(TypeError, match=r"resize returned what cannot be stored as .*object"):
        returning(Any).encode(object(), codec)
    with pytest.raises(TypeError, match=r"resize saved what cannot be stored as .*object"):
        returning(Any).encode(object(), codec, "saved")


def test_a_result_that_json_has_no_word_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="resize returned what cannot be stored as application/json: JSON has no nan"):
        returning(float).encode(float("nan"), JSON)


def test_a_return_annotation_that_msgspec_refuses_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"task resize: its return annotation datetime \| str"):
        returning(datetime.datetime | str)


def test_own_types_are_arguments_and_results() -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    types = TypeRegistry()
    types.register(Money, lambda money: money.cents, Money)

    def total(amounts: list[Money], tip: Money) -> Money:
        return Money(sum(each.cents for each in amounts) + tip.cents)

    total.__annotations__.update(amounts=list[Money], tip=Money)
    parameters = Parameters.of(total, task="total", types=types)
    for content_type in ("application/msgpack", "application/json"):
        codec = Codecs(types).get(content_type)
        args, kwargs = parameters.decode(parameters.encode(([Money(1), Money(2)],), {"tip": Money(3)}, codec), codec)
        returned = ReturnType(Money, types, "total")
        assert returned.decode(returned.encode(total(*args, **kwargs), codec), codec).cents == 6
    with pytest.raises(InvalidArguments, match='argument "tip"'):
        parameters.encode(([],), {"tip": "x" * 3 and object()}, MESSAGEPACK)
