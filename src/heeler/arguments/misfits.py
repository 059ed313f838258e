"""From what msgspec says of a value that does not fit to an error in the words of the task's signature."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from heeler.arguments.annotations import annotation_text
from heeler.errors import InvalidArguments

__all__ = ["describe", "misfit", "place_of"]

_EXPECTED = re.compile(r"Expected `(?P<kind>[^`]+)`(?P<bounds>.*?)(?:, got `?(?P<given>[^`]+)`?)?", re.DOTALL)
_FIELD = re.compile(r"Object (missing required|contains unknown) field `([^`]+)`")
_PLACE = re.compile(r"(?P<text>.*) - at (?P<key>`key` in )?`\$\.(?P<name>\w+)(?P<rest>.*)`", re.DOTALL)
_PYTHON_WORDS = {"null": "None", "object": "dict", "array": "list", "binary": "bytes"}

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlong = 40


def describe(value: Any) -> str:
    """The type of a value and the beginning of its text."""
    if value is None:
        return "None"
    return f"{type(value).__name__} ({_short.repr(value)})"


def place_of(text: str) -> tuple[str | None, str]:
    """The parameter that msgspec's message points to (None: none in particular), and the path inside it."""
    found = _PLACE.fullmatch(text)
    return (found["name"], found["rest"]) if found else (None, "")


def misfit(
    task: str,
    text: str,
    annotations: Mapping[str, Any],
    values: Mapping[str, Any] | None,
    signature: str,
) -> InvalidArguments:
    """The error for msgspec's message `text`. `values` are the arguments where they are at hand (at enqueue)."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return _wrong_shape(task, text, annotations, signature)
    name, inner = found["name"], found["rest"]
    whole = not inner and not found["key"]
    known = annotation_text(annotations.get(name, Any))
    said = _EXPECTED.fullmatch(found["text"])
    if said is None:
        expected, detail = known, f": {found['text']}"
    elif whole and not said["bounds"]:
        expected, detail = known, ""
    else:
        expected, detail = _in_python(said["kind"]) + said["bounds"], ""
    if whole and values is not None and name in values:
        given = describe(values[name])
    else:
        given = _in_python(said["given"]) if said and said["given"] else ""
    place = f'argument "{name}"{inner}' + (" (a key)" if found["key"] else "")
    but = f", got {given}" if given else ""
    return InvalidArguments(
        f"{task}: {place}: expected {expected}{but}{detail}", task=task, parameter=name, expected=expected, given=given
    )


def _wrong_shape(task: str, text: str, annotations: Mapping[str, Any], signature: str) -> InvalidArguments:
    field = _FIELD.fullmatch(text)
    if field is None:
        return InvalidArguments(f"{task}: {text}; it takes {signature}", task=task, expected=signature)
    what, name = field.groups()
    if what == "missing required":
        expected = annotation_text(annotations.get(name, Any))
        return InvalidArguments(
            f'{task}: argument "{name}" ({expected}) is missing; it takes {signature}',
            task=task,
            parameter=name,
            expected=expected,
            given="nothing",
        )
    return InvalidArguments(
        f'{task}: there is no parameter "{name}"; it takes {signature}', task=task, parameter=name, expected=signature
    )


def _in_python(words: str) -> str:
    return " | ".join(_PYTHON_WORDS.get(word, word) for word in words.split(" | "))
