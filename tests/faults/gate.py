"""A gate between processes: runs wait before it until the test opens it, without a poll on either side."""

from __future__ import annotations

import fcntl
import os


class Gate:
    """Closed while the test holds the lock of a file; a process that dies before it leaves nothing behind."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)


def pass_through(path: str) -> None:
    """Wait until the gate is open."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)
