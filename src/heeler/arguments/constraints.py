"""Constraints that annotations carry in other packages' words (annotated-types, pydantic), as msgspec reads them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta

__all__ = ["with_constraints"]

_SAID = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def with_constraints(annotation: Any) -> Any:
    """The annotation with `Ge(0)`, `Len(1, 3)`, `Field(gt=0)` and the like also said as `msgspec.Meta`.

    Duck typing, so that neither package is needed: what counts are the names of their attributes. Fields of classes
    are left to who reads the class.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is typing.Literal:
        return annotation
    if origin is Annotated:
        inner, said = with_constraints(arguments[0]), _constraints(arguments[1:])
        known = tuple(item for item in arguments[1:] if isinstance(item, Meta))
        if not said:
            return Annotated[(inner, *arguments[1:])]
        return Annotated[(inner, *known, Meta(**said))]
    changed = tuple(with_constraints(argument) for argument in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    if origin in (typing.Union, types.UnionType):
        return typing.Union[changed]  # noqa: UP007 - its members are known at run time only
    try:
        return annotation.copy_with(changed)  # of typing: List[…]
    except AttributeError:
        return origin[changed]


def _constraints(metadata: Iterable[Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for item in _flat(metadata):
        for name in _SAID:
            value = getattr(item, name, None)
            if value is not None:
                said[name] = getattr(value, "pattern", value) if name == "pattern" else value
    return said


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    """What stands for several constraints as those: pydantic's Field has a list, Interval and Len are iterable."""
    for item in metadata:
        if isinstance(item, (Meta, type, str)):
            continue
        several = getattr(item, "metadata", None)
        if isinstance(several, (list, tuple)):
            yield from _flat(several)
        elif isinstance(item, Iterable):
            yield from _flat(item)
        else:
            yield item
