"""The options of commands that log: how much, and in which form."""

from __future__ import annotations

import enum
import logging

from heeler.logs import configure

__all__ = ["LogFormat", "LogLevel", "configure_logging"]


class LogLevel(enum.StrEnum):
    """The levels that `--log-level` takes."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(enum.StrEnum):
    """What `--log-format` takes."""

    text = "text"
    json = "json"


def configure_logging(logger: logging.Logger, level: LogLevel | None, form: LogFormat | None = None) -> None:
    """Send all logs to stderr, from INFO on, unless the app has configured logging itself.

    A `level` or a `form` that was asked for counts in either case.
    """
    configure(logger, level and level.value, None if form is None else "json" if form is LogFormat.json else "text")
