"""The effective settings: an argument before the environment, that before the file, that before the default."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import Any, Final

from heeler.config.sources import Sources, read_sources
from heeler.config.table import SETTINGS, Setting, variable
from heeler.errors import ConfigurationError
from heeler.url import redact

__all__ = ["UNSET", "Chosen", "Config", "Unset"]


class Unset(enum.Enum):
    """Stands for an argument that was not given: its value comes from the environment, the file, or the default."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Chosen:
    """A setting's effective value, and where it came from."""

    setting: Setting
    value: Any
    origin: str

    @property
    def shown(self) -> Any:
        """The value as it may be printed: passwords hidden, objects by their names."""
        text = self.setting.kind.write(self.value)
        return _shown(self.value) if text is None else text


class Config:
    """What one app or one command is configured with. Raises ConfigurationError for what is written wrongly."""

    def __init__(self, sources: Sources | None = None) -> None:
        self.sources = read_sources() if sources is None else sources
        self._chosen: dict[str, Chosen] = {}

    def choose(self, name: str, argument: object = UNSET) -> Any:
        """The value of a setting; `argument` where it was given goes before all else.

        Raises ConfigurationError that names the place of a value that cannot be right.
        """
        setting = SETTINGS[name]
        if argument is not UNSET:
            chosen = Chosen(setting, argument, "argument")
        elif name in self.sources.environment:
            chosen = self._read(setting, self.sources.environment[name], variable(name), variable(name))
        elif name in self.sources.in_file:
            place = self.sources.place
            chosen = self._read(setting, self.sources.in_file[name], place, f"{place} {name}")
        else:
            chosen = Chosen(setting, setting.default, "default")
        self._chosen[name] = chosen
        return chosen.value

    def chosen(self, name: str) -> Chosen:
        """The same with its origin; a setting that nobody asked for yet is chosen now."""
        if name not in self._chosen:
            self.choose(name)
        return self._chosen[name]

    @staticmethod
    def _read(setting: Setting, given: Any, origin: str, place: str) -> Chosen:
        try:
            return Chosen(setting, setting.kind.read(given), origin)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            why = f" ({error})" if error.__cause__ is not None else ""
            shown = redact(given) if isinstance(given, str) else given
            raise ConfigurationError(f"{place} must be {setting.kind.expected}, got {shown!r}{why}") from error


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, logging.Logger):
        return value.name
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else type(value).__qualname__
