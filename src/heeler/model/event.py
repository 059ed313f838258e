"""What happens in all processes of an app, as it is told to who follows it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["EVENT_KINDS", "EVENT_LEVELS", "Event", "EventBatch", "EventLevel"]

EventLevel = Literal["debug", "info", "warning", "error"]

EVENT_LEVELS: tuple[EventLevel, ...] = ("debug", "info", "warning", "error")
EVENT_KINDS: dict[str, EventLevel] = {
    "job.enqueued": "info",
    "job.started": "debug",
    "job.progress": "debug",
    "job.succeeded": "info",
    "job.retrying": "warning",
    "job.failed": "error",
    "job.cancelled": "info",
    "job.released": "info",
    "job.lost": "warning",
    "worker.started": "info",
    "worker.quiet": "info",
    "worker.stopping": "info",
    "worker.stopped": "info",
    "worker.lost": "error",
    "error": "error",
}


class Event(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Something that happened. `at` is epoch seconds, by the clock of the process that tells it.

    The kind begins with what it is about: `job.…`, `worker.…`, or `error` (a fault of a worker's part or of the
    broker). Of a job there are `id`, `task`, `queue`, `attempt` and, where a worker tells it, `worker` (its id);
    `message` and `error` (a class path) say why it failed or how far it is. A worker tells of itself with `worker`.
    """

    kind: str
    at: float
    queue: str = ""
    task: str = ""
    id: str = ""
    worker: str = ""
    attempt: int = 0
    message: str = ""
    error: str = ""
    fraction: float | None = None
    next_at: float | None = None  # when a retry, or a delayed job, is due
    ran: float | None = None  # seconds

    @property
    def level(self) -> EventLevel:
        return EVENT_KINDS.get(self.kind, "info")


class EventBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Events of one source, which counts all that it has to tell: a gap before `first` tells of lost ones."""

    source: str
    first: int  # the number of the first event
    events: tuple[Event, ...]
