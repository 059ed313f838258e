"""Administration of queues and dead letters in Redis."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.reading import OWN_JOBS
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import NotStored, decode_errors, read_content
from heeler.contracts import JobState, QueueAdmin, QueueSize
from heeler.model import DeadLetter, Envelope, ErrorRecord, ResultRecord

__all__ = ["RedisQueueAdmin"]

_BATCH = 500  # jobs in one script
_SIZE_FIELDS = 7
_LETTER_FIELDS = 10

logger = logging.getLogger("heeler.broker.redis")


class RedisQueueAdmin(QueueAdmin):
    """Counts are read off the sorted sets; what changes many jobs does so in batches."""

    def __init__(self, link: Callable[[], Link], options: RedisOptions, prefix: str) -> None:
        self._link = link
        self._options = options
        self._prefix = prefix

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        if queues is not None and not queues:
            return []
        asked = queues or ()
        said = await self._once_pruned("sizes", len(asked), *asked)
        sizes = []
        for n in range(1, len(said), _SIZE_FIELDS):
            name, waiting, scheduled, running, dead, paused, oldest = said[n : n + _SIZE_FIELDS]
            sizes.append(
                QueueSize(
                    queue=name.decode(),
                    waiting=int(waiting),
                    scheduled=int(scheduled),
                    running=int(running),
                    dead=int(dead),
                    paused=bool(paused),
                    oldest=max(0.0, float(said[0]) - float(oldest)) if oldest else None,
                )
            )
        return sizes

    async def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        link = self._link()
        queues = [queue]
        if queue is None:
            queues = [size.queue for size in await self.sizes()]
            if after is not None:
                last = (await OWN_JOBS.read(link, [after]))[0]
                if last is not None and last.envelope.queue in queues:
                    queues = queues[queues.index(last.envelope.queue) :]
        ids: list[str] = []
        for number, name in enumerate(queues):
            if len(ids) < limit:
                begin = after if number == 0 and after is not None else ""
                found = await link.run(script("list"), name or "", state, limit - len(ids), begin)
                ids += [id.decode() for id in found]
        return [record for record in await OWN_JOBS.read(link, ids, in_line=True) if record is not None]

    async def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        return await self.list_jobs("waiting", queue, limit)

    async def purge(self, queue: str, *, scheduled: bool = False) -> int:
        count = before = 0
        reason = f"dropped by a purge of the queue {queue}"
        for state in ("waiting", "scheduled") if scheduled else ("waiting",):
            dropped = _BATCH
            while dropped:
                dropped, began = await self._link().run(script("purge"), queue, state, before, _BATCH, reason)
                before = int(began)
                count += dropped
        return count

    async def pause(self, queue: str) -> None:
        await self._link().command("SADD", f"{self._prefix}paused", queue)
        await self._link().command("SADD", f"{self._prefix}queues", queue)

    async def resume(self, queue: str) -> None:
        await self._link().run(script("resume"), queue)

    async def dead_letters(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        if limit > 0:
            most = min(limit, _BATCH) if queue is None and task is None else _BATCH
            async for batch in self._walk("new", queue, task, after or "", most):
                letters += batch
                if len(letters) >= limit:
                    break
        return letters[:limit]

    async def dead_letter(self, id: str) -> DeadLetter | None:
        async for letters in self._named([id]):
            return letters[0] if letters else None
        return None

    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        count = 0
        async for batch in self._walk("old", queue, task) if ids is None else self._named(ids):
            arguments: list[str | float] = []
            for letter in batch:
                if letter.envelope is not None and _matches(letter, queue, task):
                    expires = "" if letter.envelope.expires_in is None else letter.envelope.expires_in
                    arguments += [letter.envelope.id, expires, letter.envelope.reply_to or ""]
            if arguments:
                count += await self._link().run(script("redrive"), len(arguments) // 3, *arguments)
        return count

    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        count: int = 0
        meant = (queue or "", task or "")
        if ids is not None:
            for start in range(0, len(ids), _BATCH):
                part = ids[start : start + _BATCH]
                count += (await self._link().run(script("purge_dead"), *meant, "ids", len(part), *part))[0]
            return count
        after = last = b""
        while True:
            dropped, after, last = await self._link().run(script("purge_dead"), *meant, "all", after, last, _BATCH)
            count += dropped
            if not last:
                return count

    # Dead letters are read in batches of a bounded size, and none is held longer than its batch.

    async def _walk(
        self, order: str, queue: str | None, task: str | None, begin: str = "", most: int = _BATCH
    ) -> AsyncIterator[list[DeadLetter]]:
        """All that were there at first; "new" or "old" says which come first, `begin` after which to begin."""
        after = last = b""
        while True:
            meant = (order, queue or "", task or "", begin)
            _, after, last, said = await self._once_pruned("dead", *meant, after, last, most)
            yield _letters(said)
            if not last:
                return

    async def _named(self, ids: Sequence[str]) -> AsyncIterator[list[DeadLetter]]:
        start = 0
        while start < len(ids):
            part = ids[start : start + _BATCH]
            looked, _, _, said = await self._once_pruned("dead", "ids", len(part), *part)
            yield _letters(said)
            start += looked

    async def _once_pruned(self, name: str, *arguments: Argument) -> Any:
        """What the script says when the dead letters are gone that are kept no longer; it drops some in each call."""
        kept = (self._options.dead_letter_ttl, self._options.dead_letter_limit)
        while (said := await self._link().run(script(name), *kept, *arguments)) is None:
            pass
        return said


def _matches(letter: DeadLetter, queue: str | None, task: str | None) -> bool:
    return (queue is None or letter.queue == queue) and (task is None or letter.task == task)


def _letters(said: Sequence[bytes]) -> list[DeadLetter]:
    return [_letter(*said[n : n + _LETTER_FIELDS]) for n in range(0, len(said), _LETTER_FIELDS)]


def _letter(
    id: bytes,
    queue: bytes,
    task: bytes,
    reason: bytes,
    died_at: bytes,
    attempts: bytes,
    crashes: bytes,
    errors: bytes,
    is_raw: bytes,
    content: bytes,
) -> DeadLetter:
    envelope: Envelope | None = None
    known: tuple[ErrorRecord, ...] = ()
    if not is_raw:
        try:
            envelope = read_content(content)
            known = decode_errors(errors)
        except (NotStored, msgspec.DecodeError) as error:
            logger.error("the dead letter %s cannot be read: %s", id.decode(errors="replace"), error)
    return DeadLetter(
        id=id.decode(errors="replace"),
        queue=queue.decode(errors="replace"),
        reason=reason.decode(errors="replace"),
        died_at=float(died_at),
        task=task.decode(errors="replace"),
        envelope=envelope,
        raw=b"" if envelope is not None else content,
        errors=known,
        attempts=int(attempts),
        crashes=int(crashes),
    )
