"""Heeler in a web application on Starlette or FastAPI: connected before the first request, closed after the last.

It needs neither of them: a lifespan is a function of the application that gives an async context manager.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from heeler.app import Heeler

__all__ = ["lifespan"]


def lifespan(
    queue: Heeler, *, worker: bool | Mapping[str, Any] = False, inner: Callable[[Any], Any] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """The lifespan of a web application that enqueues jobs: `FastAPI(lifespan=lifespan(queue))`.

    The broker is connected at the start, so that a wrong setting or a broker that is away stops the start and not the
    first request; handlers find `queue` as `request.state.heeler`, too. With `worker` a worker runs in the same process
    (a mapping has its options): good for development and small sites. `inner` is a lifespan of your own, entered after
    this one. The application may be started again afterwards, as tests do.
    """

    @asynccontextmanager
    async def around(application: Any) -> AsyncIterator[dict[str, Any]]:
        try:
            await queue.connections.io.arun(queue.connections.opened())
            async with AsyncExitStack() as stack:
                if worker or isinstance(worker, Mapping):
                    options = worker if isinstance(worker, Mapping) else {}
                    await stack.enter_async_context(queue.worker(**options))
                state = None
                if inner is not None:
                    state = await stack.enter_async_context(inner(application))
                yield {"heeler": queue, **(state or {})}
        finally:
            await asyncio.to_thread(queue.connections.disconnect)

    return around
