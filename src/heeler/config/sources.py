"""Where settings are written down: the environment, and one file, `HEELER_CONFIG` or the nearest pyproject.toml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heeler.config.table import PREFIX, SETTINGS, variable
from heeler.errors import ConfigurationError
from heeler.url import suggestion

__all__ = ["CONFIG_VARIABLE", "Sources", "read_sources"]

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_VARIABLES = {variable(name): name for name in SETTINGS}
_TYPO = 0.8  # how alike an unknown variable must be to a known one to be taken for a slip


@dataclass(frozen=True, slots=True)
class Sources:
    """What is written down, not yet read as values. `table` names the place within the file."""

    environment: Mapping[str, str] = field(default_factory=dict)
    in_file: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    table: str = ""
    unknown: tuple[str, ...] = ()  # variables HEELER_… that mean nothing here

    @property
    def place(self) -> str:
        """The file for people."""
        return "" if self.file is None else _place(self.file, self.table)


def read_sources() -> Sources:
    """What the environment and the file say now.

    Raises ConfigurationError for a file that cannot be read, a key that no setting has, or a variable whose name is
    nearly that of a setting.
    """
    environment: dict[str, str] = {}
    unknown: list[str] = []
    for name, text in os.environ.items():
        if name in _VARIABLES:
            if text:
                environment[_VARIABLES[name]] = text
        elif name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            close = difflib.get_close_matches(name, _VARIABLES, n=1, cutoff=_TYPO)
            if close and _is_slip(name, close[0]):
                raise ConfigurationError(f"{name} in the environment is no setting (did you mean {close[0]}?)")
            unknown.append(name)
    file, table, in_file = _read_file()
    return Sources(environment, in_file, file, table, tuple(sorted(unknown)))


def _is_slip(name: str, known: str) -> bool:
    """Alike without the prefix that both have."""
    ours, theirs = name.removeprefix(PREFIX), known.removeprefix(PREFIX)
    return difflib.SequenceMatcher(None, ours, theirs).ratio() >= _TYPO


def _read_file() -> tuple[Path | None, str, Mapping[str, Any]]:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        file = Path(named)
        content = _parse(file, f"{CONFIG_VARIABLE}={named}")
        table = content.get("tool", {}).get("heeler")
        if table is not None:
            return file, "[tool.heeler]", _checked(file, "[tool.heeler]", table)
        return file, "", _checked(file, "", content)
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            table = _parse(file, _place(file, "")).get("tool", {}).get("heeler")
            if table is not None:
                return file, "[tool.heeler]", _checked(file, "[tool.heeler]", table)
    return None, "", {}


def _place(file: Path, table: str) -> str:
    """The file, and the table in it, for people: relative where it is below the working directory."""
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return f"{shown} {table}".strip()


_parsed: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}  # by file, as long as it has not changed


def _parse(file: Path, shown: str) -> dict[str, Any]:
    try:
        stat = file.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        known = _parsed.get(file)
        if known is not None and known[0] == version and file.is_absolute():
            return known[1]
        import tomllib  # only where there is such a file

        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{shown} cannot be read: {error}") from error
    _parsed[file] = (version, content)
    return content


def _checked(file: Path, table: str, content: Any) -> Mapping[str, Any]:
    place = _place(file, table)
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{place} must be a table of settings, got {content!r}")
    for key in content:
        if key not in SETTINGS:
            hint = suggestion(key, SETTINGS) or f"; known are {', '.join(sorted(SETTINGS))}"
            raise ConfigurationError(f"{place} has an unknown key {key!r}{hint}")
    return content
