"""Looking through the jobs of an app, whatever has become of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heeler.model import JobFilter, TaskStatus
from heeler.task import Task
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import MomentOrDelay, moment_or_delay

__all__ = ["JobList"]


class JobList:
    """Reads from the broker's own store, also where the app keeps no results: what waits is known there anyway."""

    def __init__(self, source: ResultSource) -> None:
        self._source = source

    def wanted(
        self,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None,
        scheduled: bool,
        queue_name: str | None,
        task: str | Task[..., Any] | None,
        since: MomentOrDelay | None,
    ) -> JobFilter:
        """The filter that these arguments of `app.jobs` ask for. Raises ValueError or TypeError for wrong ones."""
        asked = [status] if isinstance(status, str) else status
        return JobFilter(
            statuses=frozenset(TaskStatus if asked is None else map(_status, asked)),
            scheduled=scheduled,
            queue=queue_name,
            task=task.name if isinstance(task, Task) else task,
            since=None if since is None else self._moment(since),
        )

    def _moment(self, since: MomentOrDelay) -> float:
        moment, ago = moment_or_delay(since, "jobs: since")
        return moment if moment is not None else self._source.clock.time() - ago

    async def page(self, wanted: JobFilter, limit: int, after: str | TaskResult[Any] | None) -> list[TaskResult[Any]]:
        """On the I/O thread. Raises what `app.jobs` says."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"jobs: limit must be 1 or more, got {limit!r}")
        broker = await self._source.connections.opened()
        store = broker.store if broker.store is not None else self._source.connections.needed_store()
        last = after.id if isinstance(after, TaskResult) else after
        return [TaskResult(self._source, record) for record in await store.list_records(wanted, limit, last)]


def _status(status: TaskStatus | str) -> TaskStatus:
    try:
        return TaskStatus(status.upper())
    except (ValueError, AttributeError):
        known = ", ".join(known.value for known in TaskStatus)
        raise ValueError(f"jobs: {status!r} is no status; there are {known}") from None
