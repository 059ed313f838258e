"""Datagrams between the processes that share a database file: hints that there is something to look at.

A datagram says no more than that; what it hints at is in the file. So a lost one costs time, and a false one nothing.
On Linux the sockets have abstract names, which need no file and vanish with their process; elsewhere they are files in
a folder that only this user can enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["Mailbox", "Sender"]

_AT_ONCE = 256  # datagrams that are read before the loop turns
_LARGEST = 1 << 18
_RETRY_AFTER = 0.002  # seconds, while a receiver's queue is full
_MOST_UNSENT = 1000  # datagrams kept for one receiver; the sweep of who waits covers the rest
_MOST_GONE = 10_000


class Mailbox:
    """A socket of one process, read on its loop. `deliver` is called with each datagram."""

    def __init__(self, database: Path, deliver: Callable[[bytes], None], *, abstract: bool | None = None) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.address = _free_address(database, sys.platform.startswith("linux") if abstract is None else abstract)
        try:
            self._socket.bind(_native(self.address))
        except OSError:
            self._socket.close()
            raise
        self._pid = os.getpid()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            self._deliver(data)

    def close(self) -> None:
        """Harmless twice, and in a forked child, whose parent goes on with the socket."""
        if self._pid != os.getpid() or self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        if not self.address.startswith("@"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)


class Sender:
    """Sends datagrams without ever waiting; those that a full receiver does not take are tried again on `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._unsent: dict[str, list[bytes]] = {}
        self._gone: set[str] = set()  # an address is never used again
        self._retry: asyncio.TimerHandle | None = None

    def send(self, address: str, data: bytes) -> bool:
        """From any thread. False: nobody is there (any more)."""
        if address in self._gone:
            return False
        if address in self._unsent:
            self._keep(address, data)
            return True
        try:
            self._socket.sendto(data, _native(address))
        except BlockingIOError:
            self._keep(address, data)
        except OSError:  # nobody is bound there, or it is no address of ours at all
            self._forget(address)
            return False
        return True

    def _forget(self, address: str) -> None:
        if len(self._gone) >= _MOST_GONE:
            self._gone.clear()
        self._gone.add(address)

    def _keep(self, address: str, data: bytes) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._keep_here, address, data)

    def _keep_here(self, address: str, data: bytes) -> None:
        waiting = self._unsent.setdefault(address, [])
        if len(waiting) < _MOST_UNSENT:
            waiting.append(data)
        if self._retry is None and self._loop is not None:
            self._retry = self._loop.call_later(_RETRY_AFTER, self._send_again)

    def _send_again(self) -> None:
        self._retry = None
        unsent, self._unsent = self._unsent, {}
        for address, datagrams in unsent.items():
            for index, data in enumerate(datagrams):
                try:
                    self._socket.sendto(data, _native(address))
                except BlockingIOError:
                    for later in datagrams[index:]:
                        self._keep_here(address, later)
                    break
                except OSError:
                    self._forget(address)
                    break

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._socket.close()


def _free_address(database: Path, abstract: bool) -> str:
    digest = hashlib.blake2b(os.fsencode(database), digest_size=8).hexdigest()
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    if abstract:
        return f"@heeler/{digest}/{name}"
    folder = Path(tempfile.gettempdir()) / f"heeler-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder / name)


def _native(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address
