"""Log lines where nobody has configured logging: for a terminal, for a file, or as JSON; in pool children, too."""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Any, Literal

import msgspec

__all__ = ["Form", "JsonFormatter", "LineFormatter", "LogSetup", "configure", "configure_child", "for_children"]

# A terminal has 80 columns and one reader, who knows what day it is; a log file has many lines and no end.
_TERMINAL = ("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
_FILE = ("%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
Form = Literal["text", "json"]
_TAGS = ("task_id", "task_name", "task_attempt")


class LineFormatter(logging.Formatter):
    """A line of text; one that was logged inside a task ends with the task's name, its id, and the attempt."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(*(_TERMINAL if terminal else _FILE))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        id = getattr(record, "task_id", "")
        if not id or id in line:
            return line
        attempt = getattr(record, "task_attempt", 1)
        again = f" attempt {attempt}" if attempt != 1 else ""
        return f"{line} [{getattr(record, 'task_name', '')} {id}{again}]"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: what every record has, the task it was logged in, and what `extra` gave it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        said: dict[str, Any] = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        given = vars(record)
        said |= {tag: given[tag] for tag in _TAGS if given.get(tag)}
        said |= {name: value for name, value in given.items() if name not in _STANDARD and name not in _TAGS}
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["exception"] = record.exc_text
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return msgspec.json.encode(said, enc_hook=str).decode()


class LogSetup(msgspec.Struct, frozen=True):
    """How logging was set up here, so that child processes can do the same. `logger` is the app's."""

    logger: str
    level: str | None
    form: Form


_done: LogSetup | None = None


def configure(logger: logging.Logger, level: str | None, form: Form | None) -> None:
    """Send all logs to stderr, from INFO on, unless the program has configured logging itself.

    A `level` or a `form` that was asked for counts in either case.
    """
    global _done
    root = logging.getLogger()
    unconfigured = not logger.hasHandlers()
    if unconfigured:
        stderr = logging.StreamHandler(sys.stderr)
        stderr.setFormatter(LineFormatter(sys.stderr.isatty()))
        (root if _reaches(logger, root) else logger).addHandler(stderr)
        level = level or "info"
        if _reaches(logger, root):
            root.setLevel(level.upper())
    if form is not None:
        for handler in _handlers(logger):
            handler.setFormatter(JsonFormatter() if form == "json" else LineFormatter(sys.stderr.isatty()))
    if level is not None:
        logger.setLevel(level.upper())
    _done = LogSetup(logger.name, level, form or "text") if unconfigured or level or form else None


def for_children() -> str:
    """What `configure_child` needs to do the same; empty if nothing was configured here."""
    return "" if _done is None else msgspec.json.encode(_done).decode()


def configure_child(setup: str) -> None:
    """Set logging up as in the process that this one works for, after the user's own modules have had their say."""
    given = msgspec.json.decode(setup, type=LogSetup)
    configure(logging.getLogger(given.logger), given.level, given.form)


def _reaches(logger: logging.Logger, root: logging.Logger) -> bool:
    """Whether what it logs comes to the root logger."""
    current: logging.Logger | None = logger
    while current is not None and current is not root:
        if not current.propagate:
            return False
        current = current.parent
    return current is root


def _handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Those that get what the logger logs."""
    found: list[logging.Handler] = []
    current: logging.Logger | None = logger
    while current is not None:
        found += current.handlers
        current = current.parent if current.propagate else None
    return found
