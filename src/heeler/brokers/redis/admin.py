"""Administration of queues and dead letters in Redis."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

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
        asked, options = queues or (), self._options
        kept = (options.dead_letter_ttl, options.dead_letter_limit)
        said = await self._link().run(script("sizes"), *kept, len(asked), *asked)
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
            async for letter in self._each_letter("new", queue, task, after or ""):
                letters.append(letter)
                if len(letters) == limit:
                    break
        return letters

    async def dead_letter(self, id: str) -> DeadLetter | None:
        letters = await self._letters([id])
        return letters[0] if letters else None

    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        count = 0
        for batch in await self._batches(ids, queue, task):
            arguments: list[str | float] = []
            jobs = [letter.envelope for letter in batch if letter.envelope is not None]
            for envelope in jobs:
                expires = "" if envelope.expires_in is None else envelope.expires_in
                arguments += [envelope.id, expires, envelope.reply_to or ""]
            count += await self._link().run(script("redrive"), len(jobs), *arguments)
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

    async def _batches(self, ids: Sequence[str] | None, queue: str | None, task: str | None) -> list[list[DeadLetter]]:
        """The dead letters that are meant, oldest first, as many at a time as one script should take."""
        if ids is not None:
            chosen = []
            for start in range(0, len(ids), _BATCH):
                chosen += await self._letters(ids[start : start + _BATCH])
            chosen = [letter for letter in chosen if _matches(letter, queue, task)]
        else:
            chosen = [letter async for letter in self._each_letter("old", queue, task)]
        return [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]

    async def _each_letter(
        self, order: str, queue: str | None = None, task: str | None = None, after: str = ""
    ) -> AsyncIterator[DeadLetter]:
        while True:
            letters = await self._letters((), order, after)
            for letter in letters:
                if _matches(letter, queue, task):
                    yield letter
            if not letters:
                return
            after = letters[-1].id

    async def _letters(self, ids: Sequence[str], order: str = "new", after: str = "") -> list[DeadLetter]:
        options = self._options
        said = await self._link().run(
            script("dead"), options.dead_letter_ttl, options.dead_letter_limit, len(ids), *ids, order, after, _BATCH
        )
        return [_letter(*said[n : n + _LETTER_FIELDS]) for n in range(0, len(said), _LETTER_FIELDS)]


def _matches(letter: DeadLetter, queue: str | None, task: str | None) -> bool:
    return (queue is None or letter.queue == queue) and (task is None or letter.task == task)


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
