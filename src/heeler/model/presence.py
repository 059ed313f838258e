"""Who is there: what a worker announces of itself, and the commands that reach it from afar."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Command", "RunningJob", "WorkerPresence"]


class RunningJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that a worker runs. `age` is how many seconds it had run when the worker said so, by its own clock."""

    id: str
    task: str
    queue: str
    attempt: int = 1
    age: float = 0.0
    fraction: float | None = None
    message: str | None = None


class WorkerPresence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A live worker. `at` is the broker's time of the last announcement, `ttl` how many seconds it holds."""

    id: str  # unique: name, host, process
    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    version: str
    started_at: float
    concurrency: int = 0
    state: Literal["starting", "running", "quiet", "stopping"] = "running"
    running: int = 0
    jobs: tuple[RunningJob, ...] = ()  # those that run for longest
    ended: int = 0  # jobs that it has done with since its start
    done: dict[str, int] = {}  # by queue: jobs that ended for good since it began to count, because it is asked often
    rate: float = 0.0  # jobs that end per second, over the last ten seconds or so
    memory: int = 0  # bytes that its process keeps resident, without pool children; 0: not known
    at: float = 0.0
    ttl: float = 45.0


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something for workers to do at once. `workers` names who is meant, by id or name; empty means all.

    `schedules` is for schedulers: something has changed, look again. `follow`: somebody follows the events for a while,
    so tell them.
    """

    kind: Literal["cancel", "quiet", "stop", "announce", "schedules", "follow"]
    ids: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
