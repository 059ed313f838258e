"""Durations as people write them: `30`, `45s`, `5m`, `2h`, `1d`, `1h30m`."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw]?)\s*")


def parse_duration(text: str) -> float:
    """The seconds that the text means; a bare number is seconds. Raises ValueError for anything else."""
    seconds, end = 0.0, 0
    stripped = text.strip()
    while match := _PART.match(stripped, end):
        seconds += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if not stripped or end != len(stripped):
        raise ValueError(f"not a duration: {text!r}")
    return seconds
