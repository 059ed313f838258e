"""The Lua scripts: files that name the parts they need, put together once."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib.resources import files

__all__ = ["Script", "script"]

_NEEDS = re.compile(r"^-- Needs: (.*)$", re.MULTILINE)


class Script:
    """The text of a script, and the digest by which a server that has seen it knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@functools.cache
def script(name: str) -> Script:
    """The script `lua/NAME.lua` behind the parts that it needs, in the order in which it names them."""
    own = _read(name)
    needs = _NEEDS.search(own)
    assert needs is not None, f"{name}.lua does not say what it needs"
    return Script(name, "".join([*(_read(part) for part in needs[1].split(", ")), own]))


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
