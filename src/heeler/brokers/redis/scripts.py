"""The Lua scripts: files that name the parts they need, put together once."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib.resources import files

__all__ = ["Script", "script"]

_NEEDS = re.compile(r"^-- Needs: (.*)$", re.MULTILINE)
_SELDOM = re.compile(r"^-- Seldom: (.*)$", re.MULTILINE)
_USED_SELDOM = re.compile(r"\bseldom\(\)\.(\w+)")
_FUNCTION = re.compile(r"^local function (\w+)\((?:.* end\n|.*\n(?:(?!end$).*\n)*end\n)", re.MULTILINE)
_COMMENT = re.compile(r"--.*")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Script:
    """The text of a script, and the digest by which a server that has seen it knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@functools.cache
def script(name: str) -> Script:
    """The script `lua/NAME.lua` behind the parts that it needs, in the order in which it names them.

    Each call of a script makes all its functions anew, so those that it never calls are left out. Of the parts that it
    names in the line `Seldom:` functions are made when the first of them is called, as `seldom().name(…)`.
    """
    own = _read(name)
    needs, seldom = _NEEDS.search(own), _SELDOM.search(own)
    assert needs is not None, f"{name}.lua does not say what it needs"
    wanted = _names_in(own)
    text = _in_front(needs[1], own, wanted)
    if seldom is not None:
        used = sorted(set(_USED_SELDOM.findall(text)))
        made = _in_front(seldom[1], f"return {{{', '.join(f'{name} = {name}' for name in used)}}}\n", set(used))
        own = f"local made_seldom = nil\nlocal function make_seldom()\n{made}end\n{_LAZY}{own}"
        made_there = {function[1] for function in _FUNCTION.finditer(made)}
        text = "local seldom = nil\n" + _in_front(needs[1], own, wanted | (_names_in(made) - made_there))
    return Script(name, text)


_LAZY = """seldom = function()
  made_seldom = made_seldom or make_seldom()
  return made_seldom
end
"""


def _in_front(parts: str, own: str, wanted: set[str]) -> str:
    """The parts, without the functions that neither `wanted` nor another part names, and behind them `own`."""
    text = own
    for part in reversed(parts.split(", ")):
        kept = _only_wanted(_read(part), wanted)
        wanted = wanted | _names_in(kept)
        text = kept + text
    return text


def _only_wanted(part: str, wanted: set[str]) -> str:
    """The part without the functions that neither `wanted` nor the rest of it names."""
    functions = list(_FUNCTION.finditer(part))
    named = wanted | _names_in(_FUNCTION.sub("", part))
    kept: set[str] = set()
    # A function only calls those above it, so one look from below finds all that are needed.
    for function in reversed(functions):
        if function[1] in named:
            kept.add(function[0])
            named |= _names_in(function[0])
    return _FUNCTION.sub(lambda function: function[0] if function[0] in kept else "", part)


def _names_in(text: str) -> set[str]:
    return set(_NAME.findall(_USED_SELDOM.sub("seldom", _COMMENT.sub("", text))))


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
