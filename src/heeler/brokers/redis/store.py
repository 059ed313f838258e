"""The Redis broker as a result store: records are read where the broker itself writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.redis.inbox import RedisInbox
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.reading import read_records
from heeler.brokers.redis.scripts import script
from heeler.contracts import CancelAnswer, Inbox, ResultStore
from heeler.model import ResultRecord

__all__ = ["RedisResultStore"]

_AT_ONCE = 500  # ids in one script
_ANSWERS = {
    b"C": CancelAnswer.CANCELLED,
    b"R": CancelAnswer.REQUESTED,
    b"E": CancelAnswer.ENDED,
    b"": CancelAnswer.NOT_FOUND,
}


class RedisResultStore(ResultStore):
    """`link` and `listener` are those of the open broker."""

    def __init__(self, link: Callable[[], Link], listener: Callable[[], Listener]) -> None:
        self._link = link
        self._listener = listener

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        return await read_records(self._link(), ids)

    async def inbox(self) -> Inbox:
        inbox = RedisInbox(self._link(), self._listener())
        await inbox.open()
        return inbox

    async def forget(self, ids: Sequence[str]) -> int:
        count = 0
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            count += await self._link().run(script("forget"), len(part), *part)
        return count

    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        answers: list[CancelAnswer] = []
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            said = await self._link().run(script("cancel"), len(part), *part)
            answers += [_ANSWERS[letter] for letter in said]
        return answers
