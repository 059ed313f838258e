"""Turns sqlite3's exceptions into Heeler's, each with what is wrong, where, and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError, PayloadTooLarge

__all__ = ["translated"]

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def translated(error: sqlite3.Error, path: Path, *, committing: bool = False) -> HeelerError:
    """The Heeler error for what sqlite3 raised while working on `path`.

    `committing`: it was raised by a COMMIT; after an I/O error there nobody knows whether it was carried out.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return BrokerUnavailable(
            f"SQLite database {path} is locked by another program; close what writes to it, or raise ?busy_timeout"
        )
    if code == sqlite3.SQLITE_FULL:
        return BrokerUnavailable(f"no space left for SQLite database {path}; free some on its disk, then go on")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return ConfigurationError(
            f"SQLite database {path} cannot be written: give this user the right to write the file and its folder "
            f"({error})"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        misplaced = path.is_dir() or not path.parent.is_dir()  # waiting would not help
        kind = ConfigurationError if misplaced else BrokerUnavailable
        return kind(f"SQLite database {path} cannot be opened: {_why_not_open(path)} ({error})")
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(
            f"{path} is not a SQLite database; name another file in the URL, or move this one away"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return BrokerUnavailable(
            f"SQLite database {path} is damaged ({error}); stop all that use it and restore a backup, or save what "
            f"can be saved with: sqlite3 {path} .recover | sqlite3 new.db"
        )
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
        return PayloadTooLarge(f"SQLite database {path} takes no value of this size ({error})")
    return BrokerUnavailable(
        f"SQLite database {path}: {error}; `heeler doctor` looks at the file and its disk",
        outcome_unknown=committing and code == sqlite3.SQLITE_IOERR,
    )


def _why_not_open(path: Path) -> str:
    if not path.parent.is_dir():
        return f"make the folder {path.parent} first"
    if path.is_dir():
        return "it is a folder; name a file in it"
    return "see to it that this user may read and write the file and its folder"
