"""What an app is configured with before it does anything: defaults, and where they come from."""

from __future__ import annotations

import os

__all__ = ["DEFAULT_URL", "URL_VARIABLE", "broker_url"]

URL_VARIABLE = "HEELER_URL"
DEFAULT_URL = "sqlite:///heeler.db"


def broker_url(given: str | None) -> str:
    """The broker's URL: as given, else from the environment, else a SQLite file in the working directory."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL if given is None else given
