"""Reading a function's annotations, and writing them for people."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from heeler import types as sized
from heeler.arguments.constraints import with_constraints
from heeler.errors import ConfigurationError

__all__ = ["annotation_text", "resolve", "resolve_return", "signature_text"]


def resolve(function: Callable[..., Any], parameters: Iterable[inspect.Parameter], task: str) -> dict[str, Any]:
    """The annotation of each parameter as an object; Any where there is none.

    Each is resolved on its own, so what is not asked for (a context's type imported for type checkers only) need
    not be there. Raises ConfigurationError that names the parameter and the reason.
    """
    holder = _holder(function)
    return {
        parameter.name: with_constraints(
            _resolve_one(parameter.annotation, holder, f'task {task}: parameter "{parameter.name}"')
        )
        for parameter in parameters
    }


def resolve_return(function: Callable[..., Any], task: str) -> Any:
    """The same for what the function returns."""
    holder = _holder(function)
    annotations = getattr(holder, "__annotations__", {})
    return _resolve_one(annotations.get("return", inspect.Parameter.empty), holder, f"task {task}: what it returns")


def _resolve_one(annotation: Any, holder: Any, where: str) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    annotated = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(
            annotated, getattr(holder, "__globals__", {}), _closure(holder), include_extras=True
        )["it"]
    except Exception as error:
        raise ConfigurationError(
            f"{where}: the annotation {annotation!r} cannot be resolved: {error}; define or import that name at the "
            "top level of the module (not only for type checkers)"
        ) from error


def _holder(function: Callable[..., Any]) -> Any:
    """The function in whose scope the annotations were written."""
    target: Any = function
    while True:
        if isinstance(target, functools.partial):
            target = target.func
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        elif inspect.ismethod(target):
            target = target.__func__
        elif inspect.isfunction(target):
            return target
        elif inspect.isfunction(getattr(type(target), "__call__", None)):  # noqa: B004
            target = type(target).__call__
        else:
            return target


def _closure(function: Any) -> dict[str, Any]:
    found = {parameter.__name__: parameter for parameter in getattr(function, "__type_params__", ())}
    code = getattr(function, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def signature_text(signature: inspect.Signature, annotations: dict[str, Any], returns: Any) -> str:
    """The signature as `heeler tasks` shows it, with short names in place of full paths."""
    shown = [
        parameter.replace(
            annotation=parameter.empty
            if parameter.annotation is parameter.empty
            else _Text(annotations[parameter.name])
        )
        for parameter in signature.parameters.values()
    ]
    empty = inspect.Signature.empty
    return str(inspect.Signature(shown, return_annotation=returns if returns is empty else _Text(returns)))


class _Text:
    """Stands in a signature for an annotation and shows itself as its short text."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def __repr__(self) -> str:
        return annotation_text(self._annotation)


_SIZED = {
    getattr(sized, name): name
    for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32")
}


def annotation_text(annotation: Any) -> str:
    """An annotation as a person would write it: `dict[str, Int8] | None`."""
    try:
        if annotation in _SIZED:
            return _SIZED[annotation]
    except TypeError:  # not hashable
        pass
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        rest = ", ".join(repr(item).removeprefix("msgspec.") for item in arguments[1:])
        return f"Annotated[{annotation_text(arguments[0])}, {rest}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(annotation_text(item) for item in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(repr(item) for item in arguments)}]"
    if origin is not None and arguments:
        name = getattr(annotation, "__name__", None) or annotation_text(origin)
        return f"{name}[{', '.join(annotation_text(item) for item in arguments)}]"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(annotation_text(item) for item in annotation)}]"
    if isinstance(annotation, type):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return repr(annotation).removeprefix("typing.")
