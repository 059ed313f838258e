"""Durations as people write and read them: `30`, `45s`, `5m`, `2h`, `1d`, `1h30m`."""

from __future__ import annotations

import typer

from heeler.durations import parse_duration

__all__ = ["brief_duration", "duration_text", "read_duration"]


def read_duration(text: str, option: str) -> float:
    """The seconds that the text means; a bare number is seconds. Raises a usage error that names the option."""
    try:
        return parse_duration(text)
    except ValueError:
        raise typer.BadParameter(f"{option} takes a time like 30, 45s, 5m, 2h or 1h30m, got {text!r}") from None


def duration_text(seconds: float) -> str:
    """The duration in one or two units, as exact as a person needs it."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return _two_units(round(seconds), 60, "min", "s")
    if seconds < 84600:
        return _two_units(round(seconds / 60), 60, "h", "min")
    return _two_units(round(seconds / 3600), 24, "d", "h")


def brief_duration(seconds: float) -> str:
    """The same in the fewest letters: 250ms, 5s, 1m15s, 23h59m, 3d."""
    return duration_text(seconds).replace("min", "m").replace(" ", "")


def _two_units(count: int, size: int, larger: str, smaller: str) -> str:
    whole, rest = divmod(count, size)
    return f"{whole} {larger} {rest} {smaller}" if rest else f"{whole} {larger}"
