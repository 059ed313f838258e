"""One writer at a time, in turn, across threads and processes.

SQLite lets a writer who finds the file locked sleep and try again, so under load one of them can wait for ever. Here
writers wait in the kernel, on two byte locks of a side file: who comes takes the turnstile, waits for the write lock
holding it, and lets it go once inside. So who has just written queues behind who waits. The kernel frees both locks of
a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
import time
from pathlib import Path

from heeler.errors import BrokerUnavailable, ConfigurationError

__all__ = ["WriterLock", "writer_lock"]

_WRITE, _TURNSTILE = 0, 1  # the bytes of the side file
_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
_SLICE = 0.001  # seconds in which a process that has queued may write again without: it saves half of the calls


class WriterLock:
    """The right to write to one database file; one object for each file and process (see `writer_lock`).

    Its users are counted: closing any descriptor of a file gives up all record locks that the process has on it, so the
    side file is closed when nobody here wants to write any more, and not before. `_write` is held while it is.

    Record locks belong to the whole process, so its threads queue at a turnstile of their own first. `fcntl` knows no
    time limit: where the lock is not to be had at once, a waiter thread goes for it while the caller waits with one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _cannot_open(path, error) from error
        self._turnstile = threading.Lock()
        self._write = threading.Lock()
        self._waiter = _Waiter(self._file)
        self._queued_at = float("-inf")
        self._users = 0
        self._is_closed = False

    def acquire(self, timeout: float) -> None:
        """Wait for the turn. Raises BrokerUnavailable after `timeout` seconds, and once all users have let it go."""
        # Nobody else writes: the usual case, in which nothing here waits or looks at a clock.
        entered = not self._turnstile.locked() and self._write.acquire(False)
        if entered and self._waiter.idle and not self._is_closed and self._take_at_once():
            return
        deadline = time.monotonic() + timeout
        if not entered and self._turnstile.acquire(timeout=timeout):
            entered = self._write.acquire(timeout=max(0.0, deadline - time.monotonic()))
            self._turnstile.release()
        if not entered:
            raise self._timed_out(timeout)
        if self._is_closed:
            self._write.release()
            raise BrokerUnavailable(f"the writers' lock {self._path} is closed; open the database again first")
        if not self._waiter.take(max(0.0, deadline - time.monotonic())):
            self._write.release()
            raise self._timed_out(timeout)

    def release(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _WRITE)
        self._write.release()

    def let_go(self) -> None:
        """One user less; to be called once for each call of `writer_lock`."""
        with _registry:
            self._users -= 1
            if self._users or _locks.get(self._path) is not self or not self._write.acquire(False):
                return
            try:
                if self._waiter.end():
                    self._is_closed = True
                    del _locks[self._path]
                    os.close(self._file)
            finally:
                self._write.release()

    def _take_at_once(self) -> bool:
        now = time.monotonic()
        queues = now - self._queued_at > _SLICE
        try:
            if queues:
                fcntl.lockf(self._file, _AT_ONCE, 1, _TURNSTILE)
                self._queued_at = now
            fcntl.lockf(self._file, _AT_ONCE, 1, _WRITE)
        except BlockingIOError:
            return False
        finally:
            if queues:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURNSTILE)
        return True

    def _timed_out(self, timeout: float) -> BrokerUnavailable:
        holder = None if self._is_closed else _holder(self._file)
        who = "another thread of this process" if holder is None else f"process {holder}"
        return BrokerUnavailable(
            f"waited {timeout:g} s to write to the database beside {self._path}, which {who} holds; if that process "
            f"is stopped or hangs, continue or end it"
        )


class _Waiter:
    """A thread that waits for the record locks, so that who wants them can stop waiting; one wish at a time."""

    def __init__(self, file: int) -> None:
        self.idle = True
        self._file = file
        self._gate = threading.Lock()
        self._sent = threading.Semaphore(0)
        self._got = threading.Semaphore(0)
        self._wished = False
        self._is_ended = False
        self._thread: threading.Thread | None = None

    def take(self, timeout: float) -> bool:
        with self._gate:
            self._wished = True
            if self.idle:
                self.idle = False
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="heeler-sqlite-lock", daemon=True)
                    self._thread.start()
                self._sent.release()
        if self._got.acquire(timeout=timeout):
            return True
        with self._gate:
            self._wished = False
            return self._got.acquire(blocking=False)  # it came between the two lines above

    def end(self) -> bool:
        """Have the thread end, unless it still waits for others; whether it does not touch the file any more."""
        with self._gate:
            self._is_ended = self.idle
            if self._is_ended:
                self._sent.release()
            return self._is_ended

    def _run(self) -> None:
        while True:
            self._sent.acquire()
            if self._is_ended:
                return
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _TURNSTILE)
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _WRITE)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURNSTILE)
            with self._gate:
                self.idle = True
                if self._wished:
                    self._wished = False
                    self._got.release()
                else:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _WRITE)


_locks: dict[Path, WriterLock] = {}
_parked: list[WriterLock] = []
_registry = threading.Lock()


def writer_lock(path: Path) -> WriterLock:
    """The lock of this side file in this process, for one user more, who lets it go in the end."""
    with _registry:
        lock = _locks.get(path)
        if lock is None:
            lock = _locks[path] = WriterLock(path)
        lock._users += 1
        return lock


def _after_fork() -> None:
    """The child has none of its parent's record locks and threads: it starts anew."""
    global _registry
    _registry = threading.Lock()
    _parked.extend(_locks.values())
    _locks.clear()


os.register_at_fork(after_in_child=_after_fork)


def _holder(file: int) -> int | None:
    """The process that has the write lock, where the system tells."""
    if not sys.platform.startswith("linux"):
        return None
    flock = struct.Struct("hhqqi4x")
    asked = flock.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE, 1, 0)
    kind, _, _, _, process = flock.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(process)


def _cannot_open(path: Path, error: OSError) -> Exception:
    if not path.parent.is_dir():
        return BrokerUnavailable(f"SQLite database: the folder {path.parent} does not exist; make it first")
    return ConfigurationError(
        f"SQLite database: cannot write {path} ({error.strerror}); give this user the right to write in its folder"
    )
