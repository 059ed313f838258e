"""Administration of queues and dead letters: looking and tidying, never part of a job's way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from heeler.model import DeadLetter, ResultRecord

__all__ = ["JobState", "QueueAdmin", "QueueSize"]

JobState = Literal["waiting", "scheduled", "running"]


class QueueSize(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue are where. `oldest` is the age in seconds of the one that waits longest."""

    queue: str
    waiting: int = 0  # may start now
    scheduled: int = 0  # READY with a due time in the future
    running: int = 0  # on lease
    dead: int = 0
    paused: bool = False
    oldest: float | None = None

    @property
    def queue_name(self) -> str:
        """The queue, under the name that jobs have it by."""
        return self.queue


class QueueAdmin(ABC):
    """All queues that hold or held something, or are paused, are known."""

    @abstractmethod
    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        """By queue name; None means all known queues. A named queue that is unknown counts zero."""

    @abstractmethod
    async def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        """Jobs in that state, in the order in which they would start; `after` is the id that ended the last page."""

    @abstractmethod
    async def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        """The jobs that would be fetched next; changes nothing."""

    @abstractmethod
    async def purge(self, queue: str, *, scheduled: bool = False) -> int:
        """Drop waiting jobs (and scheduled ones); how many. They end CANCELLED and their latches are told SKIPPED."""

    @abstractmethod
    async def pause(self, queue: str) -> None:
        """No job of the queue is fetched until `resume`; what runs goes on."""

    @abstractmethod
    async def resume(self, queue: str) -> None: ...

    @abstractmethod
    async def dead_letters(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        """Newest first; `after` is the id that ended the last page."""

    @abstractmethod
    async def dead_letter(self, id: str) -> DeadLetter | None: ...

    @abstractmethod
    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        """Put dead letters back on their queues as new: counters at zero, READY. None for all means every one.

        Their latches are told REVIVED. Raw bytes that are no envelope stay. Returns how many went back.
        """

    @abstractmethod
    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        """Drop dead letters for good; how many."""
