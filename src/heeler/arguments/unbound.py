"""Arguments of a task whose function is not at hand: sent as they were given, bound by the worker."""

from __future__ import annotations

from typing import Any

from heeler.arguments.misfits import describe
from heeler.contracts import TypedCodec
from heeler.errors import InvalidArguments

__all__ = ["encode_unbound", "given_unbound", "read_unbound", "refusal"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def encode_unbound(args: tuple[Any, ...], kwargs: dict[str, Any], codec: TypedCodec, task: str = "") -> bytes:
    """Positional and keyword arguments as bytes, with no signature to check them. Raises InvalidArguments."""
    try:
        return codec.encode([args, kwargs])
    except Exception as error:
        values = {str(index): value for index, value in enumerate(args)} | kwargs
        raise refusal(task, values, codec, error) from error


def read_unbound(payload: bytes, codec: TypedCodec) -> Arguments:
    """What `encode_unbound` wrote, as plain values. Raises ValueError for another shape, else the codec's errors."""
    plain = codec.decode(payload)
    if isinstance(plain, list) and len(plain) == 2:
        args, kwargs = plain
        if isinstance(args, list) and isinstance(kwargs, dict) and all(isinstance(name, str) for name in kwargs):
            return tuple(args), kwargs
    raise ValueError(f"the arguments must be a list and a map of names, got {describe(plain)}")


def given_unbound(payload: bytes, codec: TypedCodec, bound: bool) -> Arguments:
    """The arguments for display, as plain values, as far as they can be read without the function."""
    try:
        if not bound:
            return read_unbound(payload, codec)
        plain = codec.decode(payload)
    except Exception:
        return (), {}
    return (), plain if isinstance(plain, dict) else {}


def refusal(task: str, values: dict[str, Any], codec: TypedCodec, error: Exception) -> InvalidArguments:
    """The error for arguments that the codec cannot write: finds out which of them it is."""
    where = f"{task}: " if task else ""
    for name, value in values.items():
        try:
            codec.encode(value)
        except Exception as reason:
            said = "it is nested too deeply" if isinstance(reason, RecursionError) else str(reason)
            return InvalidArguments(
                f'{where}argument "{name}" cannot be sent as {codec.content_type}: {said}',
                task=task,
                parameter=name,
                expected=f"a value that {codec.content_type} can carry",
                given=describe(value),
            )
    return InvalidArguments(f"{where}the arguments cannot be sent as {codec.content_type}: {error}", task=task)
