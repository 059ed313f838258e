"""Workflows as they are drawn: a line for each job and part, indented below what it is part of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from heeler.cli.durations import brief_duration
from heeler.cli.output import count_text, local_time, visible
from heeler.workflow_outline import Outline, PartState

__all__ = ["draw"]

BAR = 24  # columns
_COLUMNS = (("STATE", 10), ("STARTED", 8), ("TOOK", 8), ("TRIES", 5))
_FIXED = sum(width + 2 for _, width in _COLUMNS)
_LEAST = 20  # columns for names

_SIGNS = {
    PartState.WAITS: ("·", "dim"),
    PartState.READY: ("○", ""),
    PartState.RUNNING: ("●", "cyan"),
    PartState.SUCCESSFUL: ("✓", "green"),
    PartState.FAILED: ("✗", "bold red"),
    PartState.CANCELLED: ("⊘", "yellow"),
    PartState.SKIPPED: ("⊘", "dim"),
}


class _Row(NamedTuple):
    """A line: what stands before the name, the name, what is said beside it, and of what it is."""

    guide: str
    name: Text
    outline: Outline | None


def draw(whole: Outline, now: datetime, width: int | None) -> RenderableType:
    """The picture, `width` columns wide; None: as wide as the names are."""
    rows = list(_below(whole, ""))
    widest = max((len(row.guide) + row.name.cell_len for row in rows), default=0)
    room = max(_LEAST, widest if width is None else min(widest, width - _FIXED))
    lines = [*_head(whole, now, width), Text("")]
    if rows:
        lines.append(Text(f"{'PART':{room}}" + _cells([title for title, _ in _COLUMNS]), "bold"))
    lines += [_line(row, room, now) for row in rows]
    return Group(*(_cut(line, width) for line in lines))


def _head(whole: Outline, now: datetime, width: int | None) -> Iterator[Text]:
    sign, style = _SIGNS[whole.state]
    title = Text.assemble((f"{sign} ", style), (visible(whole.name), "bold"))
    if whole.name != whole.kind:
        title.append(f"  {whole.kind}", "dim")
    yield title.append("  ").append(str(whole.state), style)
    yield Text(f"  {visible(whole.id)}  {_when(whole)}".rstrip(), "dim")
    text = Text("  ")
    if whole.total is None:
        text.append(f"{whole.done:,} jobs done, more are being added")
    else:
        share = whole.done / whole.total if whole.total else 1.0
        filled = int(share * BAR)
        text.append("━" * filled, style or "white").append("─" * (BAR - filled), "bright_black")
        text.append(f" {int(share * 100)} %  {whole.done:,} of {count_text(whole.total, 'job')}")
    if whole.started_at is not None:
        text.append(f"  {'took' if whole.finished_at is not None else 'for'} {_took(whole, now)}", "dim")
    yield text


def _when(whole: Outline) -> str:
    return "" if whole.started_at is None else f"started {local_time(whole.started_at)}"


def _below(outline: Outline, indent: str) -> Iterator[_Row]:
    """What a part is made of, and what follows it."""
    below: list[Outline | Text] = [*outline.parts]
    if outline.left_out:
        below.append(_counted(outline))
    below += outline.callbacks
    for number, one in enumerate(below):
        is_last = number == len(below) - 1
        corner, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        if isinstance(one, Text):
            yield _Row(indent + corner, one, None)
            continue
        yield _Row(indent + corner, _name(one), one)
        yield from _remarks(one, indent + rest)
        yield from _below(one, indent + rest)


def _name(one: Outline) -> Text:
    sign, style = _SIGNS[one.state]
    text = Text.assemble((f"{sign} ", style))
    if one.role:
        text.append(f"{one.role}: ", "dim")
    text.append(visible(one.name))
    if one.kind != "job":
        if one.name != one.kind:
            text.append(f" {one.kind}", "dim")
        text.append(f" {one.done:,}/{one.total or 0:,}")
    if one.after:
        sign = {"any": "⇠", "always": "⇐"}.get(one.when, "←")
        text.append(f" {sign} {visible(', '.join(one.after))}", "dim")
    return text


def _counted(outline: Outline) -> Text:
    parts = [f"{count:,} {'waiting' if state == 'WAITS' else state.lower()}" for state, count in outline.counts.items()]
    what = "members" if outline.kind == "group" else "parts"
    return Text(f"… of {sum(outline.counts.values()):,} {what}: {', '.join(parts)}")


def _remarks(one: Outline, indent: str) -> Iterator[_Row]:
    """What a job says of itself, on a line of its own."""
    mark = "│  " if one.parts or one.callbacks or one.left_out else "   "
    if one.error and one.state is not PartState.SKIPPED:
        yield _Row(indent + mark, Text(visible(" ".join(one.error.split())), "red"), None)
    elif one.state is PartState.RUNNING and (one.fraction is not None or one.message):
        said = [f"{one.fraction:.0%}"] if one.fraction is not None else []
        yield _Row(indent + mark, Text(visible(" ".join([*said, one.message])), "cyan"), None)


def _line(row: _Row, room: int, now: datetime) -> Text:
    line = Text().append(row.guide, "bright_black")
    if row.outline is None:
        return line.append_text(row.name)
    one = row.outline
    name = row.name.copy()
    name.truncate(max(1, room - len(row.guide)), overflow="ellipsis", pad=True)
    started = "-" if one.started_at is None else local_time(one.started_at)[-8:]
    tries = str(one.attempts) if one.attempts else "-" if one.kind == "job" else ""
    cells = Text(_cells([str(one.state), started, _took(one, now), tries]))
    cells.stylize(_SIGNS[one.state][1], 0, 2 + _COLUMNS[0][1])
    if one.attempts > 1:
        cells.stylize("yellow", len(cells) - _COLUMNS[-1][1])
    return line.append_text(name).append_text(cells)


def _cells(texts: list[str]) -> str:
    """What stands right of the name: the state begins at the left of its column, all else ends at its right."""
    aligned = [
        text.rjust(width) if number else text.ljust(width)
        for number, (text, (_, width)) in enumerate(zip(texts, _COLUMNS, strict=True))
    ]
    return "".join(f"  {text}" for text in aligned)


def _took(one: Outline, now: datetime) -> str:
    """How long it ran, or runs; when it is to start, where that is known."""
    if one.started_at is None:
        if one.next_at is not None and one.state is PartState.READY and one.next_at > now.timestamp():
            return f"in {brief_duration(one.next_at - now.timestamp())}"
        return "-"
    end = one.finished_at if one.finished_at is not None else now.timestamp()
    if one.finished_at is None and one.state.is_finished:
        return "-"
    return brief_duration(max(0.0, end - one.started_at))


def _cut(line: Text, width: int | None) -> Text:
    line.rstrip()
    line.no_wrap = True
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line
