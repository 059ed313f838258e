"""Waking and telling coroutines of any loop in this process."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from heeler.model import Envelope, Notice

__all__ = ["Bell", "Mailbox", "News"]

T = TypeVar("T")


class Bell:
    """Wakes the coroutine that waits for it on the loop it was made on; a ring with nobody waiting is kept."""

    __slots__ = ("_event", "_loop", "_thread")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def ring(self) -> bool:
        """Ring from any thread. False: its loop is closed, so nobody will ever hear it."""
        if self._loop.is_closed():
            return False
        if self._thread == threading.get_ident():
            self._event.set()
            return True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # closed since we looked
            return False
        return True

    def reset(self) -> None:
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()


class Mailbox(Generic[T]):
    """Letters for one coroutine, put in from any thread."""

    __slots__ = ("_bell", "_letters")

    def __init__(self) -> None:
        self._letters: deque[T] = deque()
        self._bell = Bell()

    def put(self, letters: Iterable[T]) -> bool:
        """Add letters. False: the owner's loop is closed."""
        self._letters.extend(letters)
        return self._bell.ring()

    async def receive(self) -> list[T]:
        """Wait for letters and take all; cancelling loses none."""
        while True:
            self._bell.reset()
            letters: list[T] = []
            while self._letters:
                letters.append(self._letters.popleft())
            if letters:
                return letters
            await self._bell.wait()


class News:
    """Who hears of which job: the inbox that its envelope names, and those that watch its id.

    What one step of the broker has to tell is collected and put into each inbox at once.
    """

    __slots__ = ("_inboxes", "_pending", "watchers")

    def __init__(self) -> None:
        self._inboxes: dict[str, Mailbox[Notice]] = {}
        self._pending: dict[str, list[Notice]] = {}
        self.watchers: dict[str, set[str]] = {}

    def open(self, address: str, mailbox: Mailbox[Notice]) -> None:
        self._inboxes[address] = mailbox

    def close(self, address: str) -> None:
        self._inboxes.pop(address, None)
        for watched in [key for key, addresses in self.watchers.items() if address in addresses]:
            self.unwatch(address, watched)

    def watch(self, address: str, id: str) -> None:
        self.watchers.setdefault(id, set()).add(address)

    def unwatch(self, address: str, id: str) -> None:
        addresses = self.watchers.get(id)
        if addresses is not None:
            addresses.discard(address)
            if not addresses:
                del self.watchers[id]

    def heard(self, envelope: Envelope) -> bool:
        """Whether anybody would hear of this job."""
        return envelope.reply_to in self._inboxes or envelope.id in self.watchers

    def tell(self, envelope: Envelope, notice: Notice) -> None:
        self.tell_of(notice, envelope.reply_to)

    def tell_of(self, notice: Notice, reply_to: str | None) -> None:
        """The same for what has no envelope."""
        addresses = self.watchers.get(notice.id, set())
        if reply_to is not None and reply_to in self._inboxes:
            addresses = {*addresses, reply_to}
        for address in addresses:
            self._pending.setdefault(address, []).append(notice)

    def flush(self) -> None:
        """Deliver what was told since the last flush."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        for address, notices in pending.items():
            if not self._inboxes[address].put(notices):
                self.close(address)
