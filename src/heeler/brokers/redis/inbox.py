"""Where news of jobs reach one process: a channel, to which scripts publish what has become of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.reading import RecordReader
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import STATUSES, NotStored, frames
from heeler.contracts import Inbox
from heeler.errors import HeelerError
from heeler.model import Notice, ResultRecord, RunReport

__all__ = ["RedisInbox"]

_FIELDS = 5  # of one notice, see lua/news.lua

logger = logging.getLogger("heeler.broker.redis")
_decode_report = msgspec.msgpack.Decoder(RunReport).decode


class RedisInbox(Inbox):
    """Its address in an envelope's `reply_to` is enough to hear of that job; other ids are watched."""

    def __init__(self, link: Link, listener: Listener, reader: RecordReader) -> None:
        self._link = link
        self._listener = listener
        self._reader = reader
        self._notices: list[Notice] = []
        self._arrived = asyncio.Event()
        self._watched: set[str] = set()
        self._closed = False
        self._has_gap = False

    async def open(self) -> None:
        """Raises BrokerUnavailable or ConfigurationError."""
        self.address = await self._listener.listen(self._take, self._missed)

    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        self._watched.update(ids)
        return await self._reader.read(self._link, ids, self.address)

    async def unwatch(self, ids: Sequence[str]) -> None:
        ours = [id for id in ids if id in self._watched]
        if ours:
            self._watched.difference_update(ours)
            await self._link.run(script("unwatch"), self.address, len(ours), *ours)

    async def receive(self) -> list[Notice]:
        while not self._notices and not self._has_gap:
            self._arrived.clear()
            await self._arrived.wait()
        if self._has_gap:
            self._has_gap = False
            return []
        notices, self._notices = self._notices, []
        return notices

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._listener.stop(self.address)
        if self._watched:
            try:
                await self.unwatch(list(self._watched))
            except HeelerError as error:
                logger.debug("watches could not be given back; they are forgotten after a day: %s", error)

    def _missed(self) -> None:
        self._has_gap = True
        self._arrived.set()

    def _take(self, message: bytes) -> None:
        try:
            told = frames(message)
            for n in range(0, len(told), _FIELDS):
                self._notices.append(self._notice(*told[n : n + _FIELDS]))
        except (NotStored, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            logger.error("a message on the channel of results is none of ours: %s", error)
        self._arrived.set()

    def _notice(self, id: bytes, status: bytes, next_at: bytes, report: bytes, stored: bytes) -> Notice:
        return Notice(
            id=id.decode(),
            status=STATUSES[status],
            record=self._reader.record_of(stored) if stored else None,
            report=_decode_report(report) if report else None,
            next_at=float(next_at) if next_at else None,
        )
