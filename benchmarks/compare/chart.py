"""The figures as bars on a logarithmic scale, in one SVG file that needs nothing else."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.compare.figures import DRAINS, ENQUEUES, LATENCIES, Row

CHARTED = [*DRAINS, *ENQUEUES, *LATENCIES]
COLOURS = ["#0b7a75", "#d1495b", "#edae49", "#66a182", "#5b6c9d", "#8d6a9f", "#a0a0a0"]
WIDTH, LEFT, RIGHT = 1000, 280, 110
BAR, GAP, HEAD = 13, 16, 80


def draw(all_figures: Mapping[str, Mapping[str, float]], captions: Sequence[str]) -> str:
    """The whole picture: a group of bars for each row, a bar for each system."""
    names = list(all_figures)
    parts = [
        _text(16, 26, "Heeler beside other task queues (logarithmic)", 17, weight="bold"),
        *(_text(16, 44 + 15 * line, caption, 11) for line, caption in enumerate(captions)),
    ]
    y = HEAD
    for row in CHARTED:
        values = {name: all_figures[name][row.figure] for name in names if row.figure in all_figures[name]}
        if values:
            parts += _group(row, values, names, y)
            y += BAR * len(values) + GAP
    for place, name in enumerate(names):
        x = LEFT + place * 110
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{_colour(place)}"/>')
        parts.append(_text(x + 15, y + 9, name, 12))
    height = y + 28
    style = '<rect width="100%" height="100%" fill="white"/>'
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{style}{"".join(parts)}</svg>\n'


def _group(row: Row, values: Mapping[str, float], names: Sequence[str], y: float) -> list[str]:
    note = " (shorter is better)" if row.smaller_is_better else ""
    parts = [_text(LEFT - 10, y + 10, row.label, 12, anchor="end")]
    if note:
        parts.append(_text(LEFT - 10, y + 24, note, 10, anchor="end"))
    # A decade below the smallest, so that the smallest still has a bar.
    low = math.floor(math.log10(max(min(values.values()), 1e-3))) - 0.5
    high = math.log10(max(*values.values(), 1e-2))
    for place, (name, value) in enumerate(values.items()):
        share = max(0.01, (math.log10(max(value, 1e-3)) - low) / max(high - low, 1e-9))
        width = share * (WIDTH - LEFT - RIGHT)
        top = y + place * BAR
        colour = _colour(names.index(name))
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>')
        parts.append(_text(LEFT + width + 5, top + 10, row.shown(value), 11))
    return parts


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _text(x: float, y: float, text: str, size: int, anchor: str = "start", weight: str = "normal") -> str:
    look = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="#222"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'
