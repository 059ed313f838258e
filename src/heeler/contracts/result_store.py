"""The result store: what is known of each job, for whoever holds its id, and the push that tells those who wait.

All coroutines run on the process's I/O thread.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heeler.model import Notice, ResultRecord

__all__ = ["CancelAnswer", "Inbox", "ResultStore"]


class CancelAnswer(enum.Enum):
    CANCELLED = "CANCELLED"  # it is over: it was waiting and is CANCELLED now (or was before)
    REQUESTED = "REQUESTED"  # it runs: its worker is told
    ENDED = "ENDED"  # it had ended otherwise
    NOT_FOUND = "NOT_FOUND"


class Inbox(ABC):
    """Where news of jobs reaches one process: one for all its waiters.

    `address` goes into `Envelope.reply_to`, so news of jobs enqueued from then on come without `watch`. `sweep` is
    after how many seconds of silence a waiter should read what it waits for again: a net under lost news, for
    a sender that died between its commit and its push.
    """

    address: str
    sweep: float = 2.0

    @abstractmethod
    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        """From now on news of these ids come here too; the answer is what is known of each now (None: nothing)."""

    @abstractmethod
    async def unwatch(self, ids: Sequence[str]) -> None:
        """No more news of these ids are needed."""

    @abstractmethod
    async def receive(self) -> list[Notice]:
        """Wait for news and return them; may be cancelled without losing any. An id may come more than once."""

    @abstractmethod
    async def close(self) -> None: ...


class ResultStore(ABC):
    """Records of jobs, from their enqueueing on where the broker is also the store, until `keep` after their end."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        """What is known of each id, in order; a job that waits is READY. None: unknown or no longer kept."""

    @abstractmethod
    async def inbox(self) -> Inbox:
        """The place where this process gets news; opened at its first wait."""

    @abstractmethod
    async def forget(self, ids: Sequence[str]) -> int:
        """Drop the records of ended jobs; how many there were. Jobs that have not ended are left alone."""

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        """End waiting jobs as CANCELLED and mark running ones, so that `extend` tells their worker."""
