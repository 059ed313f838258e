"""The result store as users of a composed broker see it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from heeler.brokers.ordered.sender import Sender
from heeler.contracts import CancelAnswer, ControlChannel, Inbox, OrderedStore, ResultStore
from heeler.errors import HeelerError
from heeler.model import Command, ResultRecord

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

    async def _stop(self, ids: Sequence[str]) -> None:
        """A run that nobody has renewed yet looks like a job that waits; a worker that has it learns of it now."""
        if self._control is not None:
            try:
                await self._control.send(Command(kind="cancel", ids=tuple(ids)))
            except HeelerError as error:  # its next renewal tells it, too
                _log.debug("workers are not told at once that %d jobs are cancelled: %s", len(ids), error)
