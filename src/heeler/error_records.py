"""Exceptions as values: recorded where a run failed, rebuilt where somebody reads its result."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import TracebackType
from typing import Any

import msgspec

from heeler.errors import HeelerError
from heeler.main_module import importable_module
from heeler.model import ErrorRecord, class_path

__all__ = ["rebuild_error", "record_error"]

TRACEBACK_LIMIT = 16 << 10  # characters
MESSAGE_LIMIT = 4 << 10  # characters
ARGUMENTS_LIMIT = 4 << 10  # bytes

_HERE = os.path.dirname(os.path.abspath(__file__))
_RUNNER_FILES = tuple(os.path.join(_HERE, part) for part in ("worker" + os.sep, "executors" + os.sep, "middleware.py"))
_SCALARS = (type(None), bool, int, float, str, bytes)


def record_error(error: BaseException, attempt: int, at: float) -> ErrorRecord:
    """What is kept of an exception that ended the run number `attempt` at `at` (epoch seconds).

    The text is bounded, and the frames of Heeler's own runner are left out. Never raises, whatever the user's class
    does in its `__str__`.
    """
    kind = type(error)
    return ErrorRecord(
        exception_class_path=class_path(kind),
        message=_head(_message(error)),
        traceback=_tail(_formatted(error)),
        attempt=attempt,
        at=at,
        arguments=_arguments(error),
        bases=tuple(class_path(base) for base in kind.__mro__[1:-1]),
    )


def rebuild_error(record: ErrorRecord) -> BaseException | None:
    """The exception itself, where its class can be imported and takes the recorded arguments; else None."""
    if not record.arguments:
        return None
    kind = _find_class(record.exception_class_path)
    if kind is None:
        return None
    try:
        error = kind(*msgspec.msgpack.decode(record.arguments, type=list[Any]))
    except Exception:  # the class here is not that of the worker, or not made by its arguments alone
        return None
    return error if isinstance(error, BaseException) else None


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:
        return f"<{type(error).__name__}.__str__ raised {type(fault).__name__}>"


def _formatted(error: BaseException) -> str:
    trace = _without_runner(error.__traceback__)
    try:
        if isinstance(error, HeelerError) and not _leaves_heeler(error):
            return "".join(traceback.format_exception_only(type(error), error))
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as fault:  # formatting calls what the user's classes define, along the whole chain of causes
        return f"<the traceback cannot be formatted: {type(fault).__name__}>\n"


def _leaves_heeler(error: BaseException) -> bool:
    """Whether a frame behind the error, or behind one that led to it, is of other code: that tells a user more."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        chain += (link.__cause__, link.__context__)
        trace = link.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_code.co_filename.startswith(_HERE + os.sep):
                return True
            trace = trace.tb_next
    return False


def _without_runner(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not the runner's; all of it where the runner itself failed."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_RUNNER_FILES):
        inner = inner.tb_next
    return inner or trace


def _arguments(error: BaseException) -> bytes:
    """What makes the exception again, as MessagePack; empty where it does not come out as it went in."""
    try:
        made_by = error.__reduce__()
        if isinstance(made_by, str) or made_by[0] is not type(error):
            return b""
        arguments = made_by[1]
        if not all(_is_plain(argument) for argument in arguments):
            return b""
        encoded = msgspec.msgpack.encode(arguments)
    except Exception:  # __reduce__ is the user's, an integer may be too large, a text not be UTF-8
        return b""
    return encoded if len(encoded) <= ARGUMENTS_LIMIT else b""


def _is_plain(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return type(value) in _SCALARS


def _find_class(path: str) -> type[BaseException] | None:
    parts = path.split(".")
    found: Any = None
    for length in range(len(parts) - 1, 0, -1):
        module = _module(".".join(parts[:length]))
        if module is not None:
            found = module
            for name in parts[length:]:
                found = getattr(found, name, None)
            break
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _module(name: str) -> Any:
    if name == importable_module("__main__"):  # not imported anew, where the class would be another one
        return sys.modules["__main__"]
    if name in sys.modules:
        return sys.modules[name]
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit):  # not a module here, or one that cannot be imported here
        return None


def _head(text: str) -> str:
    text = _encodable(text)
    if len(text) <= MESSAGE_LIMIT:
        return text
    return f"{text[:MESSAGE_LIMIT]}… ({len(text) - MESSAGE_LIMIT} characters more)"


def _tail(text: str) -> str:
    """The end of a traceback is where the error is."""
    text = _encodable(text)
    if len(text) <= TRACEBACK_LIMIT:
        return text
    return f"… ({len(text) - TRACEBACK_LIMIT} characters before)\n{text[-TRACEBACK_LIMIT:]}"


def _encodable(text: str) -> str:
    """The text with lone surrogates (from undecodable file names, say) written out: they have no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
