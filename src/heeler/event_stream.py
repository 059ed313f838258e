"""Following what happens in all processes of an app: the user's end of the events."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Self

from heeler.connections import Connections
from heeler.contracts import ControlChannel, EventInbox
from heeler.errors import ConfigurationError, HeelerError
from heeler.event_teller import FOLLOWED_FOR, EventTeller
from heeler.model import EVENT_KINDS, EVENT_LEVELS, Command, Event, EventBatch

__all__ = ["AsyncEvents", "EventFilter", "Events"]

_REPEATED_AFTER = FOLLOWED_FOR * 0.375
_MISSED_AFTER = 5.0  # seconds between looks for workers that are gone without a word

logger = logging.getLogger("heeler.events")


class EventFilter:
    """Which events somebody wants. Raises ValueError for a kind or level that there is not."""

    def __init__(self, kinds: str | Iterable[str] | None, level: str | int | None, queue: str | None) -> None:
        asked = [kinds] if isinstance(kinds, str) else kinds
        self._kinds = frozenset(EVENT_KINDS if asked is None else (kind for name in asked for kind in _kinds(name)))
        self._levels = _levels_from(level)
        self._queue = queue

    def passes(self, event: Event) -> bool:
        return (
            event.kind in self._kinds
            and event.level in self._levels
            and (self._queue is None or event.queue == self._queue)
        )


def _kinds(name: str) -> list[str]:
    """All kinds that a word means: itself, or all that begin with it."""
    found = [kind for kind in EVENT_KINDS if kind == name or kind.startswith(f"{name}.")]
    if not found:
        raise ValueError(f"events: {name!r} is no kind; there are job, worker, error, and {', '.join(EVENT_KINDS)}")
    return found


def _levels_from(level: str | int | None) -> Collection[str]:
    """The levels from this one on: a name, or a number of `logging`."""
    if level is None:
        return EVENT_LEVELS
    name = logging.getLevelName(level).lower() if isinstance(level, int) else level.lower()
    if name not in EVENT_LEVELS:
        raise ValueError(f"events: {level!r} is no level; there are {', '.join(EVENT_LEVELS)}")
    return EVENT_LEVELS[EVENT_LEVELS.index(name) :]


class _Following:
    """What goes on behind a stream: the inbox is emptied into a buffer of limited size, whoever reads from that."""

    def __init__(self, connections: Connections, teller: EventTeller, wanted: EventFilter, buffer: int) -> None:
        self._connections = connections
        self._teller = teller
        self._wanted = wanted
        self._size = buffer
        self._events: deque[Event] = deque()
        self._next: dict[str, int] = {}  # by source: the number of its next event
        self._workers: set[str] = set()  # that were live when last looked, and have not said goodbye
        self.dropped = 0
        self.ended = False
        self.news = threading.Condition()
        self.listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._opened: concurrent.futures.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> concurrent.futures.Future[None]:
        """Start to follow; the future is done when nothing that happens later is missed."""
        self._opened = self._connections.io.submit(self._open())
        return self._opened

    async def _open(self) -> None:
        control = (await self._connections.opened()).control
        if control is None:
            raise ConfigurationError(f"{self._connections.shown_url} has no control channel, so it carries no events")
        inbox = await control.follow()
        self._teller.followed()
        spawn = self._connections.io.spawn
        self._tasks = [spawn(self._take_all(inbox), name="heeler-events")]
        await self._say(control)
        self._tasks.append(spawn(self._keep_saying(control), name="heeler-events-kept"))

    async def _say(self, control: ControlChannel) -> None:
        await control.send(Command(kind="follow"))

    async def _keep_saying(self, control: ControlChannel) -> None:
        """Repeat that somebody follows, and miss workers that are gone without a word."""
        clock = self._connections.clock
        said = clock.monotonic()
        missing: frozenset[str] = frozenset()
        while True:
            try:
                missing = self._miss({worker.id for worker in await control.live()}, missing)
                if clock.monotonic() - said >= _REPEATED_AFTER:
                    said = clock.monotonic()
                    self._teller.followed()
                    await self._say(control)
            except HeelerError as error:
                logger.debug("workers cannot be told that somebody follows: %s", error)
            await clock.sleep(_MISSED_AFTER)

    async def _take_all(self, inbox: EventInbox) -> None:
        try:
            while True:
                try:
                    for batch in await inbox.receive():
                        self._take(batch)
                except HeelerError as error:
                    logger.debug("events cannot be received: %s", error)
                    await asyncio.sleep(0.5)
        finally:
            self._end()
            await inbox.close()

    def _take(self, batch: EventBatch) -> None:
        expected = self._next.get(batch.source, batch.first)
        self._next[batch.source] = max(expected, batch.first + len(batch.events))
        for event in batch.events:
            if event.kind == "worker.stopped":
                self._workers.discard(event.worker)
        self._add([event for event in batch.events if self._wanted.passes(event)], max(0, batch.first - expected))

    def _miss(self, live: set[str], missing: frozenset[str]) -> frozenset[str]:
        """Tell of workers that are gone since the look before the last one; who is missing since the last one."""
        lost = (self._workers & missing) - live
        self._workers -= lost
        now = self._connections.clock.time()
        events = [Event("worker.lost", now, worker=worker, message="gone without a word") for worker in sorted(lost)]
        self._add([event for event in events if self._wanted.passes(event)], 0)
        gone = frozenset(self._workers - live)
        self._workers |= live
        return gone

    def _add(self, events: list[Event], lost: int) -> None:
        if not events and not lost:
            return
        with self.news:
            self.dropped += lost
            for event in events:
                if len(self._events) == self._size:
                    self._events.popleft()
                    self.dropped += 1
                self._events.append(event)
            self._ring()

    def _end(self) -> None:
        with self.news:
            self.ended = True
            self._ring()

    def _ring(self) -> None:
        self.news.notify_all()
        for loop, bell in self.listeners:
            with contextlib.suppress(RuntimeError):  # its loop is closed, so nobody waits there
                loop.call_soon_threadsafe(bell.set)

    def pop(self) -> Event | None:
        """The next event, if there is one; with `news` held."""
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Follow no more; from any thread, harmless twice."""
        opened, io = self._opened, self._connections.io
        self._end()
        if opened is None or not io.started:
            return
        opened.cancel()

        def cancel() -> None:
            for task in self._tasks:
                task.cancel()

        with contextlib.suppress(RuntimeError):  # the thread has ended, and these tasks with it
            io.loop.call_soon_threadsafe(cancel)


class _Stream:
    """What both kinds of stream share."""

    def __init__(
        self, connections: Connections, teller: EventTeller, wanted: EventFilter, buffer: int, timeout: float | None
    ) -> None:
        if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
            raise ValueError(f"events: buffer must be 1 or more, got {buffer!r}")
        self._following = _Following(connections, teller, wanted, buffer)
        self._timeout = timeout
        self._opened = self._following.begin()
        weakref.finalize(self, self._following.close)

    @property
    def dropped(self) -> int:
        """How many events were lost so far: they came faster than they were read, or than they could be sent."""
        return self._following.dropped

    def close(self) -> None:
        """Follow no more; harmless twice."""
        self._following.close()


class Events(_Stream):
    """Events as they happen, from the moment it was made on: an iterator that waits for the next one.

    Ends when it is closed, as by the end of a `with` block, and with a `timeout` when nothing has come for so many
    seconds.
    """

    def __init__(
        self,
        connections: Connections,
        teller: EventTeller,
        wanted: EventFilter,
        buffer: int,
        timeout: float | None,
    ) -> None:
        super().__init__(connections, teller, wanted, buffer, timeout)
        self._opened.result()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        following = self._following
        with following.news:
            while (event := following.pop()) is None:
                if following.ended or not following.news.wait(self._timeout):
                    raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncEvents(_Stream):
    """`Events` for async code. It begins to follow when it is made, and surely does from its first wait on."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        await self._ready()
        following = self._following
        bell = asyncio.Event()
        entry = (asyncio.get_running_loop(), bell)
        following.listeners.append(entry)
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    bell.clear()
                    with following.news:
                        event = following.pop()
                    if event is not None:
                        return event
                    if following.ended:
                        raise StopAsyncIteration
                    await bell.wait()
        except TimeoutError:
            raise StopAsyncIteration from None
        finally:
            following.listeners.remove(entry)

    async def _ready(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._opened))

    async def aclose(self) -> None:
        """`close`; nothing has to be waited for."""
        self.close()

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
