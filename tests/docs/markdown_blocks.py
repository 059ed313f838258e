"""Finds the fenced blocks of a Markdown page, with the lines on which they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

__all__ = ["Block", "blocks_of"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]+)?(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')


class Block(NamedTuple):
    """One fenced block; `line` is where its first line of code stands."""

    language: str
    title: str
    code: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match["info"] or "")
        found.append(
            Block(
                language=match["language"] or "",
                title=title[1] if title else "",
                code=textwrap.dedent(match["code"]),
                line=text.count("\n", 0, match.start("code")) + 1,
            )
        )
    return found
