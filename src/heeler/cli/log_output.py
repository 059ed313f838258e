"""Where a worker's log lines go when nobody has said."""

from __future__ import annotations

import enum
import logging
import sys

__all__ = ["LogLevel", "configure_logging"]

# A terminal has 80 columns and one reader, who knows what day it is; a log file has many lines and no end.
_TERMINAL = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
_FILE = logging.Formatter("%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")


class LogLevel(enum.StrEnum):
    """The levels that `--log-level` takes."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def configure_logging(logger: logging.Logger, level: LogLevel | None) -> None:
    """Send the app's log to stderr, from INFO on, unless the app has configured logging itself.

    A `level` that was asked for is set in either case.
    """
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_TERMINAL if sys.stderr.isatty() else _FILE)
        logger.addHandler(handler)
        level = level or LogLevel.info
    if level is not None:
        logger.setLevel(level.upper())
