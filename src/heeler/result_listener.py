"""One listener per process for everybody who waits for a job: thousands of waiters cost one inbox.

Lives on the I/O thread. Those who wait register a callback for an id; news come through the store's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec

from heeler.connections import Connections
from heeler.contracts import Inbox
from heeler.errors import BrokerUnavailable
from heeler.expiry_watch import ExpiryWatch, expires_at
from heeler.forks import call_in_child
from heeler.io_thread import closed_meanwhile
from heeler.model import Notice, ResultRecord, RunReport, TaskStatus

__all__ = ["ResultListener"]

_SWEEP_ANYWAY = 30.0  # seconds after the last sweep, where news never cease
_MOST_UNCLAIMED = 1000
_LARGE = 8192  # bytes


class Handle(Protocol):
    """Who holds what is known of a job in this process."""

    id: str
    _record: ResultRecord

    def _take(self, record: ResultRecord | None) -> None:
        """Hold this from now on."""


NoticeCallback = Callable[[Notice], None]


class _BlockedThread:
    """A thread that waits for one job: it is woken by the news themselves, without a task of the loop between."""

    __slots__ = ("_told", "generation", "id", "record", "was_cut_off")

    def __init__(self, id: str, generation: int) -> None:
        self.id = id
        self.generation = generation
        self.record: ResultRecord | None = None
        self.was_cut_off = False  # nothing is heard here any more
        self._told = threading.Lock()
        self._told.acquire()

    def wait(self, timeout: float | None) -> None:
        """Return when it was told, or after so many seconds."""
        self._told.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def tell(self, record: ResultRecord | None) -> None:
        """How the job ended; None: it will not be heard here."""
        self.record = record
        if self._told.locked():
            self._told.release()

    def __call__(self, notice: Notice) -> None:
        if notice.status.is_finished:
            self.tell(notice.record)


class ResultListener:
    """Distributes the notices of one inbox to callbacks by id."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.generation = 0
        """Grows whenever news may have been lost or were let go: of a job addressed since, all news are known."""
        self.is_only_source = connections.store is not None and not connections.store.readable
        """Whether nothing but what comes here tells of jobs: then their handles are to be held by `expect`."""
        if self.is_only_source:
            connections.on_opening = self._open_first
        self._begin()
        call_in_child(self._begin)
        connections.on_disconnect.append(self._part)

    def _begin(self) -> None:
        """Nobody waits, nothing is open: at first, after a disconnection, and in a forked child."""
        self._unclaimed: dict[str, ResultRecord] = {}  # of ended jobs for which nobody waits yet
        self.generation += 1
        self._inbox: Inbox | None = None
        self._opening: asyncio.Task[Inbox] | None = None
        self._task: asyncio.Task[None] | None = None
        self._callbacks: dict[str, list[NoticeCallback]] = {}
        self._watched: set[str] = set()
        self._blocked: set[_BlockedThread] = set()  # those among the callbacks, and on their way to them
        self._expiring: ExpiryWatch | None = None
        self._handles: WeakValueDictionary[str, Handle] = WeakValueDictionary()

    def _part(self) -> None:
        """After a disconnection: the loop on which all was heard is gone, and with it who was about to be admitted."""
        self._cut_off_all()
        self._begin()

    def _cut_off_all(self) -> None:
        for waiter in list(self._blocked):
            self._dismiss(waiter)
            waiter.was_cut_off = True
            waiter.tell(None)

    @property
    def address(self) -> str | None:
        """What producers stamp on envelopes so that news come unasked; None until somebody waited once."""
        return None if self._inbox is None else self._inbox.address

    def expect(self, handle: Handle) -> None:
        """Fill in this handle when its job has ended, also if nobody waits then; to be called before it is sent."""
        self._handles[handle.id] = handle

    async def _open_first(self) -> None:
        self._opening = self._connections.io.spawn(self._open(), name="heeler-inbox")
        await asyncio.shield(self._opening)

    async def _opened(self) -> Inbox:
        await self._connections.opened()
        if self._opening is None:
            self._opening = self._connections.io.spawn(self._open(), name="heeler-inbox")
        try:
            return await asyncio.shield(self._opening)
        except Exception:
            self._opening = None  # the next waiter tries again
            raise

    async def _open(self) -> Inbox:
        inbox = await self._connections.needed_store().inbox()
        self._inbox = inbox
        self._task = self._connections.io.spawn(self._listen(inbox), name="heeler-results")
        return inbox

    async def follow(
        self, ids: Sequence[str], callback: NoticeCallback, *, addressed: Mapping[str, int], read: bool = False
    ) -> dict[str, ResultRecord | None]:
        """Call back with every notice of these ids from now on; the answer is what is known of them now.

        `addressed` are those whose envelope carries our address, so that they need no registration in the store, each
        with the `generation` in which it was sealed. One of the present generation that has not ended may be missing
        in the answer, unless all are to be `read`.
        """
        inbox = await self._opened()
        for id in ids:
            self._callbacks.setdefault(id, []).append(callback)
        try:
            if self.is_only_source:
                handles = [self._handles.get(id) for id in ids]
                if strangers := [id for id, handle in zip(ids, handles, strict=True) if handle is None]:
                    await inbox.watch(strangers)
                return {
                    id: handle._record if handle is not None else None for id, handle in zip(ids, handles, strict=True)
                }
            strangers = [id for id in ids if id not in addressed and id not in self._watched]
            known: dict[str, ResultRecord | None] = {}
            if strangers:
                self._watched.update(strangers)
                known.update(zip(strangers, await inbox.watch(strangers), strict=True))
            others = []
            for id in ids:
                if id in self._unclaimed:
                    known[id] = self._unclaimed.pop(id)
                elif id not in known and (read or addressed.get(id) != self.generation):
                    others.append(id)
            if others:
                known.update(zip(others, await self._connections.needed_store().get(others), strict=True))
            self._watch_expiry(known.values())
        except BaseException:
            await self.unfollow(ids, callback)
            raise
        return known

    async def unfollow(self, ids: Sequence[str], callback: NoticeCallback) -> None:
        """Undo `follow`."""
        gone = []
        for id in ids:
            callbacks = self._callbacks.get(id, [])
            with contextlib.suppress(ValueError):
                callbacks.remove(callback)
            if not callbacks and self._callbacks.pop(id, None) is not None:
                if self._expiring is not None:
                    self._expiring.discard(id)
                if id in self._watched:
                    self._watched.discard(id)
                    gone.append(id)
        if gone and self._inbox is not None and self._connections.is_open:
            with contextlib.suppress(BrokerUnavailable):  # the store forgets watches of the dead by itself
                await self._inbox.unwatch(gone)

    def _watch_expiry(self, records: Collection[ResultRecord | None]) -> None:
        if self._expiring is None:
            if all(record is None or expires_at(record.envelope) is None for record in records):
                return
            store = self._connections.needed_store()
            self._expiring = ExpiryWatch(self._connections.clock, store.get, self._tell_end)
        self._expiring.add(records)

    def _tell_end(self, id: str, record: ResultRecord | None) -> None:
        for callback in tuple(self._callbacks.get(id, ())):
            callback(_as_notice(id, record))

    async def finished(
        self,
        ids: Sequence[str],
        ended: dict[str, ResultRecord | None],
        *,
        addressed: Mapping[str, int],
        until_failure: bool = False,
    ) -> None:
        """Wait until each job has ended, filling `ended` meanwhile; None for one that the store does not know.

        With `until_failure` only until the first has ended in another way than with success.
        """
        open_ids = dict.fromkeys(ids)
        enough = asyncio.get_running_loop().create_future()

        def take(id: str, record: ResultRecord | None) -> None:
            open_ids.pop(id, None)
            ended[id] = record
            failed = record is None or record.status is not TaskStatus.SUCCESSFUL
            if not enough.done() and (not open_ids or (until_failure and failed)):
                enough.set_result(None)

        def on_notice(notice: Notice) -> None:
            if notice.status.is_finished:
                take(notice.id, notice.record)

        unique = list(open_ids)
        try:
            for id, record in (await self.follow(unique, on_notice, addressed=addressed)).items():
                if id in open_ids and (record is None or record.status.is_finished):
                    take(id, record)
            await enough
        finally:
            await self.unfollow(unique, on_notice)

    def wait_blocking(
        self, id: str, generation: int, timeout: float | None
    ) -> tuple[ResultRecord | None, float | None]:
        """Wait in the calling thread for the end of a job that was addressed in that generation.

        The answer is its record, or None and how much of `timeout` is left: then it is for `finished`. Raises
        BrokerUnavailable when the app is closed meanwhile.
        """
        io = self._connections.io
        if self.is_only_source or not self._is_listening() or io.here():
            return None, timeout
        until = None if timeout is None else time.monotonic() + timeout
        waiter = _BlockedThread(id, generation)
        self._blocked.add(waiter)
        try:
            io.loop.call_soon_threadsafe(self._admit, waiter)
            waiter.wait(timeout)
        finally:
            self._blocked.discard(waiter)
            if waiter.record is None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it holds nothing any more
                    io.loop.call_soon_threadsafe(self._dismiss, waiter)
        if waiter.was_cut_off:
            raise closed_meanwhile()
        return waiter.record, None if until is None else max(0.0, until - time.monotonic())

    def _is_listening(self) -> bool:
        return self._task is not None and not self._task.done()

    def _admit(self, waiter: _BlockedThread) -> None:
        if waiter.was_cut_off:
            return
        if waiter.id in self._unclaimed:
            waiter.tell(self._unclaimed.pop(waiter.id))
        elif waiter.generation != self.generation or not self._is_listening():
            waiter.tell(None)
        else:
            self._callbacks.setdefault(waiter.id, []).append(waiter)

    def _dismiss(self, waiter: _BlockedThread) -> None:
        self._blocked.discard(waiter)
        callbacks = self._callbacks.get(waiter.id, [])
        with contextlib.suppress(ValueError):
            callbacks.remove(waiter)
        if not callbacks:
            self._callbacks.pop(waiter.id, None)

    async def notices(self, id: str, *, addressed: int) -> AsyncIterator[ResultRecord | Notice | None]:
        """First the record as it is now (None: unknown), then every notice until the job has ended."""
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        known = await self.follow([id], queue.put_nowait, addressed={id: addressed} if addressed else {}, read=True)
        try:
            yield known[id]
            while True:
                notice = await queue.get()
                yield notice
                if notice.status.is_finished:
                    return
        finally:
            await self.unfollow([id], queue.put_nowait)

    async def _listen(self, inbox: Inbox) -> None:
        try:
            await self._listen_on(inbox)
        finally:
            self._cut_off_all()

    async def _listen_on(self, inbox: Inbox) -> None:
        clock = self._connections.clock
        swept_at = clock.monotonic()
        while True:
            notices: list[Notice] = []
            try:
                async with asyncio.timeout(inbox.sweep):
                    notices = await inbox.receive()
                if not notices:
                    self.generation += 1
            except TimeoutError:
                pass
            except BrokerUnavailable as error:
                self._connections.logger.warning("waiting for results: %s", error)
                self.generation += 1
                await self._connections.clock.sleep(1.0)
            try:
                if not notices or clock.monotonic() - swept_at > _SWEEP_ANYWAY:
                    swept_at = clock.monotonic()
                    notices += await self._swept()
                await self._distribute(notices)
            except BrokerUnavailable as error:
                self._connections.logger.warning("reading results: %s", error)
                await self._connections.clock.sleep(1.0)

    async def _swept(self) -> list[Notice]:
        """The state of everything waited for, read again: the net under news that were lost."""
        ids = [] if self.is_only_source else list(self._callbacks)
        notices = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            for id, record in zip(part, await self._connections.needed_store().get(part), strict=True):
                if record is None or record.status.is_finished:
                    notices.append(_as_notice(id, record))
        return notices

    async def _distribute(self, notices: list[Notice]) -> None:
        if self.is_only_source:
            notices = [self._filled_in(notice) for notice in notices]
        unread = list({n.id for n in notices if n.status.is_finished and n.record is None and n.id in self._callbacks})
        records: dict[str, ResultRecord | None] = {}
        if unread:
            records = dict(zip(unread, await self._connections.needed_store().get(unread), strict=True))
        late: list[Notice] = []  # somebody began to wait for these while the others were read
        for notice in notices:
            callbacks = self._callbacks.get(notice.id)
            if not callbacks:
                self._keep_unclaimed(notice)
                continue
            if notice.id in records:
                notice = _as_notice(notice.id, records[notice.id], otherwise=notice)
            elif notice.status.is_finished and notice.record is None and not self.is_only_source:
                late.append(notice)
                continue
            for callback in list(callbacks):
                callback(notice)
                if type(callback) is _BlockedThread and notice.status.is_finished:
                    self._dismiss(callback)
        if late:
            await self._distribute(late)

    def _filled_in(self, notice: Notice) -> Notice:
        """With the envelope, which only the handle has; which is told of an end."""
        handle = self._handles.get(notice.id)
        if handle is None or notice.record is None:
            return notice
        record = msgspec.structs.replace(notice.record, envelope=handle._record.envelope)
        if record.status.is_finished:
            handle._take(record)
        return msgspec.structs.replace(notice, record=record)

    def _keep_unclaimed(self, notice: Notice) -> None:
        """Who comes to wait for it in a moment needs not ask the store. Large values and old ones are let go."""
        if not notice.status.is_finished or self.is_only_source:
            return
        record = notice.record
        if record is not None and len(record.value or b"") <= _LARGE:
            self._unclaimed[notice.id] = record
            if len(self._unclaimed) <= _MOST_UNCLAIMED:
                return
            del self._unclaimed[next(iter(self._unclaimed))]
        self.generation += 1

    async def close(self) -> None:
        """Stop listening and give the inbox back."""
        if self._expiring is not None:
            self._expiring.close()
            self._expiring = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._inbox is not None:
            inbox, self._inbox = self._inbox, None
            self._opening = None
            await inbox.close()


def _as_notice(id: str, record: ResultRecord | None, otherwise: Notice | None = None) -> Notice:
    """A record as the notice it would have been; a vanished record counts as the end that `otherwise` told of."""
    if record is None:
        return otherwise if otherwise is not None else Notice(id=id, status=TaskStatus.CANCELLED)
    report = RunReport(
        started_at=record.started_at,
        at=record.finished_at or 0.0,
        attempt=record.attempts,
        fraction=record.fraction,
        message=record.message,
        saved=record.saved,
    )
    return Notice(id=id, status=record.status, record=record, report=report, next_at=record.next_at)
