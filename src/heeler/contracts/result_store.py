"""The result store: what is known of each job, for whoever holds its id, and the push that tells those who wait.

All coroutines run on the process's I/O thread.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heeler.errors import ResultNotFound

if TYPE_CHECKING:
    from heeler.model import JobFilter, LatchRecord, Notice, ResultRecord

__all__ = ["CancelAnswer", "Inbox", "ResultStore", "nothing_known_of_page_end"]


def nothing_known_of_page_end(after: str) -> ResultNotFound:
    """What `list_records` raises where nothing is known of `after`."""
    return ResultNotFound(
        f"the list cannot go on after job {after!r}: nothing is known of it (any more), because it was forgotten or "
        f"its time is over; begin again from the newest one"
    )


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
        """Wait for news and return them; may be cancelled without losing any. An id may come more than once.

        An empty list says that some may have been lost.
        """

    @abstractmethod
    async def close(self) -> None: ...


class ResultStore(ABC):
    """Records of jobs, from their enqueueing on where the broker is also the store, until `keep` after their end.

    `readable` False: nothing is kept, and what is known of a job is what the inbox of its producer gets; all other
    verbs then raise ConfigurationError. Such an inbox is opened before the first job is sent.
    """

    readable: bool = True

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        """What is known of each id, in order; a job that waits is READY. None: unknown or no longer kept.

        One that has expired reads as ended, FAILED by `Expired`, also before a worker has met it; `list_records`, the
        inbox and `cancel` (ENDED) say the same.
        """

    @abstractmethod
    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        """Up to `limit` of the jobs that are wanted, the one published last first; fewer only if there are no more.

        `after` is the id that ended the last page. A redriven job counts as published anew. However many jobs have to
        be passed over, others get their turn meanwhile; nothing is changed by looking. Raises ResultNotFound if nothing
        is known of `after` any more.
        """

    @abstractmethod
    async def inbox(self) -> Inbox:
        """The place where this process gets news; opened at its first wait."""

    @abstractmethod
    async def forget(self, ids: Sequence[str]) -> int:
        """Drop the records of ended jobs; how many there were. Jobs that have not ended are left alone."""

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        """End waiting jobs as CANCELLED and mark running ones, so that `extend` tells their worker."""

    @abstractmethod
    async def revive(self, ids: Sequence[str]) -> int:
        """Jobs that ended FAILED or CANCELLED, and whose record is kept, are new again; how many there were.

        As by a redrive: READY, counters at zero, no delay, a new expiry; their latches are told REVIVED, their dead
        letters go.
        """

    @abstractmethod
    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        """What is known of each latch, in order; None where there is none."""

    @abstractmethod
    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        """Break latches from outside, whatever has arrived; False for one that is released or unknown.

        `by` is the job for which that is done, if any; `cancelled` marks all that lies in them as cancelled. An arrival
        of REVIVED, there or at a latch within, undoes it.
        """

    @abstractmethod
    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        """Keep the records of these ended jobs, and these latches in whatever state, for so many seconds from now.

        Jobs that have not ended are left alone.
        """
