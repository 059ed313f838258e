"""The result store as users of a composed broker see it."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.ordered.sender import Sender
from heeler.contracts import CancelAnswer, Inbox, OrderedStore, ResultStore
from heeler.model import ResultRecord

__all__ = ["ComposedResultStore"]


class ComposedResultStore(ResultStore):
    """Reads from the store; what follows from cancelling a job is sent as well."""

    def __init__(self, store: OrderedStore, sender: Sender) -> None:
        self._store = store
        self._sender = sender

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
        return [one.answer for one in cancelled]
