"""Who is there: what a worker announces of itself, and the commands that reach it from afar."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Command", "WorkerPresence"]


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
    state: Literal["starting", "running", "quiet"] = "running"
    running: int = 0
    at: float = 0.0
    ttl: float = 45.0


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something for workers to do at once. `workers` names who is meant; empty means all."""

    kind: Literal["cancel", "quiet", "stop"]
    ids: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
