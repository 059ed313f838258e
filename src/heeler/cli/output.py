"""How everything is printed: tables and facts for people, plain columns for pipes, JSON lines for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heeler.cli.durations import duration_text

__all__ = [
    "Column",
    "ago",
    "count_text",
    "local_time",
    "note",
    "print_facts",
    "print_json",
    "print_lines",
    "print_table",
    "rich_table",
    "say",
    "size_text",
    "stderr",
    "stdout",
    "value_text",
    "visible",
]


class Column(NamedTuple):
    """A column of a table.

    `right` aligns numbers; `folds` lets a terminal break long texts into lines, of at least `least` characters; `width`
    fixes it there.
    """

    title: str
    right: bool = False
    folds: bool = False
    width: int | None = None
    least: int | None = None
    style: str = ""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """The text with its control characters spelled out, so that what a job says cannot steer the terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def stdout() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """One line for people."""
    stdout().print(Text(visible(text), style=style))


def note(text: str) -> None:
    """One line beside the output: it does not disturb who reads that from a pipe."""
    stderr().print(Text(f"heeler: {visible(text)}", style="dim"))


def print_json(records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line. What JSON has no form for is shown as text."""
    for record in records:
        sys.stdout.write(msgspec.json.encode(record, enc_hook=str).decode() + "\n")


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """A table that fits the terminal; where there is none, aligned columns as wide as their texts, a row a line."""
    if stdout().is_terminal:
        Console(highlight=False, markup=False, emoji=False).print(rich_table(columns, rows))
    else:
        _print_plain_table(columns, rows)


def rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> Table:
    """The table as a terminal shows it. A cell with a style of its own is a Text of what is known to be harmless."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.folds,
            width=column.width,
            min_width=column.least,
            style=column.style,
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    return table


def _print_plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    lines = [[column.title for column in columns], *([_one_line(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def print_facts(facts: Sequence[tuple[str, str]], indent: str = "", to: Console | None = None) -> None:
    """Names and what they are, one a line, aligned."""
    print_lines([(Text(f"{indent}{name}", style="dim"), Text(visible(value))) for name, value in facts], to)


def print_lines(lines: Sequence[Sequence[Text]], to: Console | None = None) -> None:
    """Lines of aligned cells; in a terminal the last cell of each is broken into lines where it is too long."""
    console = to or stdout()
    places = range(len(lines[0]) - 1 if lines else 0)
    widths = [max(line[place].cell_len for line in lines) for place in places]
    room = console.width - sum(widths) - 2 * len(widths)
    for line in lines:
        head = Text()
        for cell, width in zip(line, widths, strict=False):
            head.append_text(cell).append(" " * (width - cell.cell_len + 2))
        parts = line[-1].wrap(console, room) if console.is_terminal and room > 10 else line[-1].split("\n")
        for part in parts or [Text()]:
            console.print(head + part)
            head = Text(" " * head.cell_len)


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def value_text(value: object) -> str:
    """A value as JSON where it has that form, else as Python writes it."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        return repr(value)


def size_text(count: int) -> str:
    """Bytes in the largest decimal unit that leaves a number before the point: `48 MB`, `1.2 GB`."""
    number, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.1f} {units[0]}" if number < 9.95 and units[0] not in ("B", "kB") else f"{number:.0f} {units[0]}"


def count_text(count: int, what: str) -> str:
    """`1 job`, `1,200 jobs`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def local_time(moment: datetime | float | None) -> str:
    """A moment on this machine's clock, to the second; a dash where there is none."""
    if moment is None:
        return "-"
    if isinstance(moment, (int, float)):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(seconds: float) -> str:
    return f"{duration_text(max(0.0, seconds))} ago"
