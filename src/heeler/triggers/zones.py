"""Time zones by their IANA names, from the machine or from the package `tzdata`."""

from __future__ import annotations

import functools
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from heeler.errors import ConfigurationError
from heeler.url import suggestion

__all__ = ["checked_zone", "zone_named"]


@functools.lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Raises ConfigurationError for a name that no zone has."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # not found; no relative path; a folder
        known = {zone.lower(): zone for zone in available_timezones()}
        near = known.get(name.lower()) or _ending(name, list(known.values()))
        hint = f' (did you mean "{near}"?)' if near else suggestion(name, list(known.values()))
        raise ConfigurationError(
            f"unknown time zone {name!r}{hint}; zones have IANA names like Europe/Berlin or UTC"
        ) from None


def checked_zone(zone: Any) -> str:
    """The name of a zone that is given by name or as a ZoneInfo. Raises ConfigurationError for anything else."""
    name = zone.key if isinstance(zone, ZoneInfo) else zone
    if not isinstance(name, str) or not name:
        kind = "a fixed offset" if isinstance(zone, tzinfo) else repr(zone)
        raise ConfigurationError(f"timezone must be the IANA name of a zone, like Europe/Berlin, or UTC; got {kind}")
    return zone_named(name).key


def _ending(name: str, known: list[str]) -> str | None:
    """The one zone whose last part this is."""
    last = name.replace(" ", "_").lower()
    found = [zone for zone in known if zone.lower().rpartition("/")[2] == last and zone.count("/") == 1]
    return found[0] if len(found) == 1 else None
