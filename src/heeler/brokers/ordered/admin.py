"""Administration of a composed broker's queues and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import dropwhile, islice
from typing import Any

import msgspec

from heeler.brokers.ordered.sender import Sender
from heeler.clock import Clock
from heeler.contracts import JobState, OrderedStore, PlainBroker, QueueAdmin, QueueSize, Unsent
from heeler.errors import ConfigurationError
from heeler.model import DeadLetter, ResultRecord

__all__ = ["OrderedQueueAdmin"]

_AT_ONCE = 500


class OrderedQueueAdmin(QueueAdmin):
    """Counts and letters come from the plain broker, pauses from the store. What waits cannot be looked at.

    `on_resume` is called when a queue was resumed from here.
    """

    def __init__(
        self,
        plain: PlainBroker,
        store: OrderedStore,
        sender: Sender,
        clock: Clock,
        on_resume: Callable[[], None],
    ) -> None:
        self._plain = plain
        self._store = store
        self._sender = sender
        self._clock = clock
        self._on_resume = on_resume

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        paused = await self._store.paused()
        sizes = await self._plain.sizes(queues)
        known = {size.queue for size in sizes}
        if queues is None:
            sizes += [QueueSize(queue=name) for name in paused - known]
            sizes.sort(key=lambda size: size.queue)
        return [msgspec.structs.replace(size, paused=size.queue in paused) for size in sizes]

    async def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        raise ConfigurationError(
            f"this broker cannot list {state} jobs: they are in a message server, which hands them out in order and "
            "shows none; a single one is found by its id"
        )

    async def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        return await self.list_jobs("waiting", queue, limit)

    async def purge(self, queue: str, *, scheduled: bool = False) -> int:
        if scheduled:
            raise ConfigurationError(
                f"this broker cannot purge the scheduled jobs of {queue}: cancel them by their ids, or purge again "
                "when they are due"
            )
        reason = f"dropped by a purge of the queue {queue}"
        count = 0
        following: list[Unsent] = []  # sent at the end, because it may wait in this queue, and nobody purged that
        others: list[Any] = []  # of jobs that somebody holds, or that are over
        while messages := await self._plain.take(queue, _AT_ONCE):
            ends = await self._store.drop([message.envelope for message in messages], reason)
            dropped = [(message, end) for message, end in zip(messages, ends, strict=True) if end is not None]
            await self._plain.acknowledge([message.tag for message, _ in dropped])
            self._sender.clear_soon([end.key for _, end in dropped if not end.messages])
            following += [end for _, end in dropped if end.messages]
            count += len(dropped)
            others += [message.tag for message, end in zip(messages, ends, strict=True) if end is None]
        await self._sender.send(following)
        self._sender.clear_soon([end.key for end in following])
        if others:
            await self._plain.give_back(others, untouched=False)
        return count

    async def pause(self, queue: str) -> None:
        await self._store.pause(queue)

    async def resume(self, queue: str) -> None:
        await self._store.resume(queue)
        self._on_resume()

    async def dead_letters(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        found = await self._plain.dead_letters.find(queue=queue, task=task)
        found.reverse()
        if after is not None and any(letter.id == after for letter in found):
            return list(islice(dropwhile(lambda letter: letter.id != after, found), 1, limit + 1))
        return found[:limit]

    async def dead_letter(self, id: str) -> DeadLetter | None:
        found = await self._plain.dead_letters.find([id])
        return found[-1] if found else None

    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        found = await self._plain.dead_letters.find(ids, queue=queue, task=task)
        letters = [letter for letter in found if letter.envelope is not None]
        return sum(
            [await self._sender.revive(letters[start : start + _AT_ONCE]) for start in range(0, len(letters), _AT_ONCE)]
        )

    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        found = await self._plain.dead_letters.find(ids, queue=queue, task=task)
        return await self._plain.dead_letters.remove([letter.id for letter in found])
