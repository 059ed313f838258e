"""Where news of jobs reach one process: datagrams with ids, from whoever settled them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from heeler.brokers.sqlite.mailbox import Mailbox
from heeler.brokers.sqlite.post import decode_news
from heeler.brokers.sqlite.records import records_of
from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.step import Step
from heeler.contracts import Inbox
from heeler.model import Notice, ResultRecord

__all__ = ["SqliteInbox"]


class SqliteInbox(Inbox):
    """Its address in an envelope's `reply_to` is enough to hear of that job; other ids stand in a table.

    `records` reads what is known of jobs.
    """

    def __init__(
        self,
        session: Session,
        records: Callable[[Step, Sequence[str]], list[ResultRecord | None]] = records_of,
    ) -> None:
        self._records = records
        self._session = session
        self._mailbox = Mailbox(session.database.path, self._take)
        self._notices: list[Notice] = []
        self._arrived = asyncio.Event()
        self._watched: set[str] = set()
        self._closed = False
        self.address = self._mailbox.address
        session.on_close(self._mailbox.close)

    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._session.step() as step:
            step.run_many("watch", [(id, self.address) for id in ids])
        self._watched.update(ids)
        with self._session.brisk.reading() as reader:
            return self._records(reader, ids)

    async def unwatch(self, ids: Sequence[str]) -> None:
        ours = [(id, self.address) for id in ids if id in self._watched]
        if ours:
            self._watched.difference_update(ids)
            with self._session.step() as step:
                step.run_many("unwatch", ours)

    async def receive(self) -> list[Notice]:
        while not self._notices:
            self._arrived.clear()
            await self._arrived.wait()
        notices, self._notices = self._notices, []
        return notices

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._mailbox.close()
        if self._watched:
            with self._session.step() as step:
                step.run("unwatch_all", (self.address,))

    def _take(self, datagram: bytes) -> None:
        try:
            events = decode_news(datagram)
        except msgspec.DecodeError:
            return  # not from us
        for event in events:
            self._notices.append(Notice(id=event.id, status=event.status, report=event.report, next_at=event.next_at))
        self._arrived.set()
