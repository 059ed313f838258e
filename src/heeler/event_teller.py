"""Tells what happens in this process to who follows it; while nobody does, next to nothing is done for it."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Iterable

import msgspec

from heeler.clock import new_id
from heeler.connections import Connections
from heeler.errors import HeelerError
from heeler.forks import call_in_child
from heeler.model import Event, EventBatch, Sending

__all__ = ["FOLLOWED_FOR", "EventTeller"]

FOLLOWED_FOR = 40.0  # seconds for which the word of a follower holds; it is repeated before
_KNOWN_FOR = 1.0  # seconds for which it holds that nobody follows
_HEARD_FOR = 5.0  # the same of somebody who heard what was told
_AT_ONCE = 100  # events in one batch, which all control channels take
_MOST_WAITING = 10_000
_LONGEST_TEXT = 1000  # characters
_LAST_WORDS_WITHIN = 1.0  # seconds that the end of the process waits for what is still to be told

logger = logging.getLogger("heeler.events")


class EventTeller:
    """One for an app in each process; thread-safe.

    Workers are told by a command that somebody follows. Who only enqueues has to ask, at most once a second; what
    happened meanwhile waits for the answer.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._clock = connections.clock
        self._registered = False
        self._begin()
        call_in_child(self._begin)

    def _begin(self) -> None:
        self._source = new_id()
        self._count = 0  # of all that this source had to tell
        self._waiting: deque[tuple[int, Event]] = deque()
        self._lock = threading.Lock()
        self._sending = self._unasked = False
        self._sender: concurrent.futures.Future[None] | None = None
        self._followed_until = 0.0  # monotonic
        self._asked_until = 0.0  # until then the last answer holds; 0: nobody has asked yet

    @property
    def is_followed(self) -> bool:
        """Whether somebody follows, as far as is known here; true as long as nothing is known."""
        return self._clock.monotonic() < self._followed_until or not self._asked_until

    @property
    def may_be_followed(self) -> bool:
        """Whether somebody follows, or it is time to ask."""
        now = self._clock.monotonic()
        return now < self._followed_until or now >= self._asked_until

    def followed(self) -> None:
        """Somebody says that he follows, for a while."""
        self._followed_until = self._clock.monotonic() + FOLLOWED_FOR

    def tell(self, events: Iterable[Event], *, unasked: bool = False) -> None:
        """Send events soon, from any thread, if anybody follows. More than can be sent are counted, not kept.

        `unasked`: send them whether anybody is known to follow or not; that is known afterwards.
        """
        with self._lock:
            self._unasked = self._unasked or unasked
            for event in events:
                self._count += 1
                if len(self._waiting) < _MOST_WAITING:
                    self._waiting.append((self._count, _shortened(event)))
            if self._sending or not self._waiting:
                return
            self._sending = True
        if not self._registered:
            self._registered = True
            atexit.register(_last_words, weakref.ref(self))
        try:
            self._sender = self._connections.io.submit(self._send_all())
        except RuntimeError:  # its loop was closed meanwhile
            self._stop_sending()

    def sent(self, sending: Sending) -> None:
        """Tell of jobs that were enqueued; called like a hook of middleware."""
        self.tell(
            [Event("job.enqueued", sending.ended, job.queue, job.task, job.id) for job in sending.jobs if job.accepted]
        )

    async def drained(self) -> None:
        """On the I/O thread: return when what there is to tell is told, or cannot be told soon."""
        sender = self._sender
        if sender is not None:
            await asyncio.wait([asyncio.wrap_future(sender)], timeout=_LAST_WORDS_WITHIN)

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                if not (self._unasked or self.is_followed or await self._ask()):
                    self._stop_sending()
                    return
                self._unasked = False
                control = (await self._connections.opened()).control
                self._learn(control is not None and await control.tell(batch))
        except HeelerError as error:
            self._stop_sending()
            logger.debug("events cannot be told: %s", error)
        except BaseException:
            self._stop_sending()
            raise

    def _next_batch(self) -> EventBatch | None:
        """Events whose numbers follow each other."""
        waiting = self._waiting
        with self._lock:
            if not waiting:
                self._sending = False
                return None
            first = waiting[0][0]
            events: list[Event] = []
            while waiting and len(events) < _AT_ONCE and waiting[0][0] == first + len(events):
                events.append(waiting.popleft()[1])
            return EventBatch(self._source, first, tuple(events))

    async def _ask(self) -> bool:
        control = (await self._connections.opened()).control
        is_followed = control is not None and await control.is_followed()
        self._learn(is_followed)
        return is_followed

    def _learn(self, is_followed: bool) -> None:
        now = self._clock.monotonic()
        self._followed_until = max(self._followed_until, now + _HEARD_FOR) if is_followed else 0.0
        self._asked_until = now + _KNOWN_FOR

    def _stop_sending(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._sending = False


def _shortened(event: Event) -> Event:
    if len(event.message) <= _LONGEST_TEXT:
        return event
    return msgspec.structs.replace(event, message=f"{event.message[: _LONGEST_TEXT - 1]}…")


def _last_words(known: weakref.ref[EventTeller]) -> None:
    """At the end of the process: see to it that what is on its way is told, if that is quickly done."""
    teller = known()
    if teller is not None and teller._sender is not None and teller._connections.io.started:
        with contextlib.suppress(Exception):  # the process ends: nobody could do anything about it
            teller._sender.result(_LAST_WORDS_WITHIN)
