"""The Redis broker as a result store: records are read where the broker itself writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.inbox import RedisInbox
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.listing import list_records
from heeler.brokers.redis.reading import OWN_JOBS, latch_records
from heeler.brokers.redis.scripts import script
from heeler.contracts import CancelAnswer, Inbox, ResultStore
from heeler.model import JobFilter, LatchRecord, ResultRecord, TaskStatus

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
        return await OWN_JOBS.read(self._link(), ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        return await list_records(self._link(), wanted, limit, after)

    async def inbox(self) -> Inbox:
        inbox = RedisInbox(self._link(), self._listener(), OWN_JOBS)
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

    async def revive(self, ids: Sequence[str]) -> int:
        count = 0
        for start in range(0, len(ids), _AT_ONCE):
            arguments: list[Argument] = []
            for record in await self.get(ids[start : start + _AT_ONCE]):
                if record is not None and record.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
                    envelope = record.envelope
                    expires = "" if envelope.expires_in is None else envelope.expires_in
                    arguments += [envelope.id, expires, envelope.reply_to or ""]
            if arguments:
                count += await self._link().run(script("revive"), len(arguments) // 3, *arguments)
        return count

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        return await latch_records(self._link(), ids, with_data)

    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        said = await self._link().run(script("break_latches"), by, "1" if cancelled else "", len(ids), *ids)
        return [bool(answer) for answer in said]

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        for start in range(0, max(len(jobs), len(latches)), _AT_ONCE):
            some, others = jobs[start : start + _AT_ONCE], latches[start : start + _AT_ONCE]
            await self._link().run(script("expire"), seconds, len(some), *some, len(others), *others)
