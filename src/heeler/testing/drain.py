"""Runs what is due inside a test, without a worker process and without waiting."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.app import Heeler
from heeler.worker.drain import Drain

__all__ = ["adrain", "drain"]


def drain(app: Heeler, *, queues: Sequence[str] | None = None, limit: int | None = None) -> int:
    """Run what is due, one job after the other, until nothing due is left; how many runs ended.

    Jobs go through the real worker: codec, middleware, callbacks, timeouts, retries, dead letters. What they enqueue
    is run as well. A job whose time has not come (`run_after`, a retry with a delay) stays: with a `ManualClock` as
    the app's clock, `advance` it and drain again. `queues` drains only these, `limit` ends after so many runs.

    A job's error does not raise here: it is in its result. Raises HeelerError inside a running event loop, where
    `await adrain(app)` does the same.
    """
    return Drain(app.connections, app.burst_worker).run(queues, limit)


async def adrain(app: Heeler, *, queues: Sequence[str] | None = None, limit: int | None = None) -> int:
    """`drain` from async code: coroutine tasks run in the caller's event loop."""
    return await Drain(app.connections, app.burst_worker).arun(queues, limit)
