"""One listener per process for everybody who waits for a job: thousands of waiters cost one inbox.

Lives on the I/O thread. Those who wait register a callback for an id; news come through the store's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from heeler.connections import Connections
from heeler.contracts import Inbox
from heeler.errors import BrokerUnavailable
from heeler.forks import call_in_child
from heeler.model import Notice, ResultRecord, RunReport, TaskStatus

__all__ = ["ResultListener"]

NoticeCallback = Callable[[Notice], None]


class ResultListener:
    """Distributes the notices of one inbox to callbacks by id."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._begin()
        call_in_child(self._begin)

    def _begin(self) -> None:
        """Nobody waits, nothing is open: at first, and in a forked child."""
        self._inbox: Inbox | None = None
        self._opening: asyncio.Task[Inbox] | None = None
        self._task: asyncio.Task[None] | None = None
        self._callbacks: dict[str, list[NoticeCallback]] = {}
        self._watched: set[str] = set()

    @property
    def address(self) -> str | None:
        """What producers stamp on envelopes so that news come unasked; None until somebody waited once."""
        return None if self._inbox is None else self._inbox.address

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
        self, ids: Sequence[str], callback: NoticeCallback, *, addressed: frozenset[str] = frozenset()
    ) -> list[ResultRecord | None]:
        """Call back with every notice of these ids from now on; the answer is what is known of each now.

        `addressed` are those whose envelope carries our address, so that they need no registration in the store.
        """
        inbox = await self._opened()
        for id in ids:
            self._callbacks.setdefault(id, []).append(callback)
        try:
            strangers = [id for id in ids if id not in addressed and id not in self._watched]
            known: dict[str, ResultRecord | None] = {}
            if strangers:
                self._watched.update(strangers)
                known.update(zip(strangers, await inbox.watch(strangers), strict=True))
            others = [id for id in ids if id not in known]
            if others:
                known.update(zip(others, await self._connections.needed_store().get(others), strict=True))
        except BaseException:
            await self.unfollow(ids, callback)
            raise
        return [known[id] for id in ids]

    async def unfollow(self, ids: Sequence[str], callback: NoticeCallback) -> None:
        """Undo `follow`."""
        gone = []
        for id in ids:
            callbacks = self._callbacks.get(id, [])
            with contextlib.suppress(ValueError):
                callbacks.remove(callback)
            if not callbacks and self._callbacks.pop(id, None) is not None and id in self._watched:
                self._watched.discard(id)
                gone.append(id)
        if gone and self._inbox is not None and self._connections.is_open:
            with contextlib.suppress(BrokerUnavailable):  # the store forgets watches of the dead by itself
                await self._inbox.unwatch(gone)

    async def finished(
        self,
        ids: Sequence[str],
        ended: dict[str, ResultRecord | None],
        *,
        addressed: frozenset[str] = frozenset(),
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
            for id, record in zip(unique, await self.follow(unique, on_notice, addressed=addressed), strict=True):
                if id in open_ids and (record is None or record.status.is_finished):
                    take(id, record)
            await enough
        finally:
            await self.unfollow(unique, on_notice)

    async def notices(self, id: str, *, addressed: bool) -> AsyncIterator[ResultRecord | Notice | None]:
        """First the record as it is now (None: unknown), then every notice until the job has ended."""
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        records = await self.follow([id], queue.put_nowait, addressed=frozenset({id}) if addressed else frozenset())
        try:
            yield records[0]
            while True:
                notice = await queue.get()
                yield notice
                if notice.status.is_finished:
                    return
        finally:
            await self.unfollow([id], queue.put_nowait)

    async def _listen(self, inbox: Inbox) -> None:
        while True:
            try:
                async with asyncio.timeout(inbox.sweep):
                    notices = await inbox.receive()
            except TimeoutError:
                notices = []
            except BrokerUnavailable as error:
                self._connections.logger.warning("waiting for results: %s", error)
                await self._connections.clock.sleep(1.0)
                notices = []
            try:
                await self._distribute(notices or await self._swept())
            except BrokerUnavailable as error:
                self._connections.logger.warning("reading results: %s", error)
                await self._connections.clock.sleep(1.0)

    async def _swept(self) -> list[Notice]:
        """The state of everything waited for, read again: the net under news that were lost."""
        ids = list(self._callbacks)
        notices = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            for id, record in zip(part, await self._connections.needed_store().get(part), strict=True):
                if record is None or record.status.is_finished:
                    notices.append(_as_notice(id, record))
        return notices

    async def _distribute(self, notices: list[Notice]) -> None:
        unread = list({n.id for n in notices if n.status.is_finished and n.record is None and n.id in self._callbacks})
        records: dict[str, ResultRecord | None] = {}
        if unread:
            records = dict(zip(unread, await self._connections.needed_store().get(unread), strict=True))
        for notice in notices:
            callbacks = self._callbacks.get(notice.id)
            if not callbacks:
                continue
            if notice.id in records:
                notice = _as_notice(notice.id, records[notice.id], otherwise=notice)
            for callback in list(callbacks):
                callback(notice)

    async def close(self) -> None:
        """Stop listening and give the inbox back."""
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
