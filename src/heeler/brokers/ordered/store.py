"""The result store as users of a composed broker see it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from heeler.brokers.ordered.sender import Sender
from heeler.contracts import CancelAnswer, ControlChannel, Inbox, OrderedStore, ResultStore
from heeler.errors import HeelerError
from heeler.model import Command, DeadLetter, JobFilter, LatchRecord, ResultRecord, TaskStatus

__all__ = ["ComposedResultStore"]

_log = logging.getLogger("heeler.ordered")


class ComposedResultStore(ResultStore):
    """Reads from the store; what follows from cancelling a job is sent as well."""

    def __init__(self, store: OrderedStore, sender: Sender, control: ControlChannel | None) -> None:
        self._store = store
        self._sender = sender
        self._control = control

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        return await self._store.get(ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        return await self._store.list_records(wanted, limit, after)

    async def inbox(self) -> Inbox:
        return await self._store.inbox()

    async def forget(self, ids: Sequence[str]) -> int:
        return await self._store.forget(ids)

    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        cancelled = await self._store.cancel(ids)
        unsent = [one.unsent for one in cancelled if one.unsent is not None]
        if unsent:
            await self._sender.send(unsent)
            self._sender.clear_soon([one.key for one in unsent], acknowledged=False)
            await self._stop([id for id, one in zip(ids, cancelled, strict=True) if one.unsent is not None])
        return [one.answer for one in cancelled]

    async def revive(self, ids: Sequence[str]) -> int:
        letters = [
            DeadLetter(
                id=record.envelope.id,
                queue=record.envelope.queue,
                reason="",
                died_at=0.0,
                task=record.envelope.task,
                envelope=record.envelope,
            )
            for record in await self._store.get(ids)
            if record is not None and record.status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        ]
        return await self._sender.revive(letters) if letters else 0

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        return await self._store.latches(ids, with_data=with_data)

    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        broken, unsent = await self._store.break_latches(ids, by=by, cancelled=cancelled)
        if unsent is not None:
            await self._sender.send([unsent])
            self._sender.clear_soon([unsent.key])
        return broken

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        await self._store.expire(jobs, latches, seconds)

    async def _stop(self, ids: Sequence[str]) -> None:
        """A run that nobody has renewed yet looks like a job that waits; a worker that has it learns of it now."""
        if self._control is not None:
            try:
                await self._control.send(Command(kind="cancel", ids=tuple(ids)))
            except HeelerError as error:  # its next renewal tells it, too
                _log.debug("workers are not told at once that %d jobs are cancelled: %s", len(ids), error)
