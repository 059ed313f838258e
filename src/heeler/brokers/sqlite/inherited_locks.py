"""Gives a forked child the lock on a database file that it inherited only the memory of.

SQLite keeps its POSIX locks in a table by inode, one for the whole process. A forked child inherits that table, so
its own new connection believes that this process holds the SHARED lock already and never asks the kernel for it;
but POSIX locks are not inherited. Unseen by others, the child would have the write-ahead log deleted under it by
whoever closes the file last. So the child takes that lock itself, once for each file, and keeps it until it ends.
(https://sqlite.org/lockingv3.html; the byte range is that of SQLite's os_unix.c.)
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

__all__ = ["remember", "take_inherited"]

_SHARED_FIRST = 0x40000002
_SHARED_SIZE = 510

_lock = threading.Lock()
_opened: set[tuple[int, int]] = set()  # files that SQLite has opened in this process
_inherited: set[tuple[int, int]] = set()  # those that it opened in a parent of this process, not locked here yet
_held: list[int] = []  # never closed: closing one descriptor of a file drops all locks of the process on it


def remember(path: Path) -> None:
    """SQLite has opened this file here: a child forked from now on inherits its memory of the lock."""
    with _lock:
        _opened.add(_identity(path))


def take_inherited(path: Path) -> None:
    """Before SQLite opens the file: take the lock that it will believe to have. May raise OSError."""
    with _lock:
        if not _inherited or not path.exists() or _identity(path) not in _inherited:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        _held.append(descriptor)
        fcntl.lockf(descriptor, fcntl.LOCK_SH, _SHARED_SIZE, _SHARED_FIRST)
        _inherited.discard(_identity(path))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.update(_opened)
    _held.clear()  # the parent's descriptors stay open here, and hold nothing


os.register_at_fork(after_in_child=_in_child)
