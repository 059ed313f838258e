"""Constraints of annotations, in msgspec's words and in those of annotated-types and pydantic."""

from decimal import Decimal
from typing import Annotated, Any

import annotated_types
import pydantic
import pytest
from msgspec import Meta

from heeler import ConfigurationError, Heeler, InvalidArguments

Choice = Annotated[str, pydantic.StringConstraints(min_length=2, pattern="^x")]


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "expected"),
    [
        (Annotated[int, Meta(ge=0)], 0, -1, "int >= 0"),
        (Annotated[int, annotated_types.Ge(0), annotated_types.Lt(10)], 9, 10, "int <= 9"),
        (Annotated[int, Meta(ge=0), annotated_types.Le(3)], 3, -1, "int >= 0"),
        (Annotated[float, annotated_types.Interval(ge=0, le=1)], 1.0, 1.5, "float <= 1.0"),
        (Annotated[int, annotated_types.MultipleOf(2)], 4, 3, "int that's a multiple of 2"),
        (Annotated[list[str], annotated_types.Len(1, 2)], ["a"], [], "list of length >= 1"),
        (Annotated[int, pydantic.Field(gt=0, le=5)], 5, 6, "int <= 5"),
        (pydantic.PositiveInt, 1, 0, "int >= 1"),
        (Choice, "xy", "yx", "str matching regex '^x'"),
        (list[Annotated[int, pydantic.Field(ge=0)]] | None, [1], [-1], "int >= 0"),
        (Annotated[int, annotated_types.Gt(3)] | None, None, 3, "int >= 4"),
        (dict[str, Choice], {"a": "xx"}, {"a": "x"}, "str of length >= 2"),
    ],
)
def test_a_constraint_is_checked_at_enqueue(annotation: Any, good: Any, bad: Any, expected: str) -> None:
    def work(value: Any) -> None: ...

    work.__annotations__["value"] = annotation
    with Heeler("memory://") as app:
        task = app.task(name="work")(work)
        assert task.enqueue(good).args == (good,)
        with pytest.raises(InvalidArguments) as caught:
            task.enqueue(bad)
    assert expected in str(caught.value)


def test_what_is_no_constraint_changes_nothing() -> None:
    def work(value: Annotated[int, pydantic.Field(description="how many"), "a note"]) -> None: ...

    with Heeler("memory://") as app:
        assert app.task(name="work")(work).enqueue(-1).args == (-1,)


def test_a_constraint_that_cannot_be_checked_is_refused_at_registration() -> None:
    def pay(amount: Annotated[Decimal, annotated_types.Gt(0)]) -> None: ...

    with pytest.raises(ConfigurationError, match=r'parameter "amount": .*Decimal.* is not supported'):
        Heeler("memory://").task(name="pay")(pay)
