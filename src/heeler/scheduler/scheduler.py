"""A scheduler without a worker: in a thread, in the caller's loop, or as all that a process does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from heeler.connections import Connections
from heeler.errors import HeelerError
from heeler.scheduler.loop import SchedulerLoop

__all__ = ["Scheduler"]


class Scheduler:
    """Starts what schedules say, and runs no job. Works once, from its start to its stop.

    `run()` blocks, `await arun()` works until it is cancelled or stopped, `start()` returns at once. As a context
    manager it works from entry to exit.
    """

    def __init__(
        self, name: str, connections: Connections, make_loop: Callable[[], SchedulerLoop], logger: logging.Logger
    ) -> None:
        self.name = name
        self._connections = connections
        self._make_loop = make_loop
        self._logger = logger
        self._working: concurrent.futures.Future[None] | None = None
        self._stop: asyncio.Event | None = None
        self._stop_asked = False
        self._ready = threading.Event()

    def __repr__(self) -> str:
        return f"<Scheduler {self.name}>"

    def start(self) -> None:
        """Work from now on. A fault is logged, and raised by `wait`."""
        if self._working is not None:
            raise HeelerError(f"scheduler {self.name} has been started before; make another one")
        self._working = self._connections.io.submit(self._work())
        self._working.add_done_callback(lambda _: self._ready.set())

    def stop(self) -> None:
        """Ask it to stop, from any thread. Harmless twice."""
        self._stop_asked = True
        if self._stop is not None and self._working is not None and not self._working.done():
            self._connections.io.loop.call_soon_threadsafe(self._stop.set)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has stopped; False if that took longer than `timeout` seconds. Raises its fault."""
        if self._working is None:
            return True
        try:
            self._working.result(timeout)
        except concurrent.futures.CancelledError:
            return True
        except TimeoutError:
            if self._working.done():
                raise
            return False
        return True

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until what the code declares is stored, and changes reach it; False if it is not so in time."""
        return self._ready.wait(timeout) and self._working is not None and not self._working.done()

    def run(self, handle_signals: bool = True) -> None:
        """Work until stopped. SIGTERM and SIGINT stop it. Raises what kept it from starting or from going on."""
        self.start()
        with self._signals(handle_signals and threading.current_thread() is threading.main_thread()):
            self.wait()

    async def arun(self) -> None:
        """Work until it is stopped or the caller is cancelled."""
        self.start()
        assert self._working is not None
        try:
            await asyncio.wrap_future(self._working)
        finally:
            self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.wait()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await asyncio.to_thread(self.wait)

    async def _work(self) -> None:
        """On the I/O thread."""
        self._stop = asyncio.Event()
        if self._stop_asked:
            return
        loop = self._make_loop()
        running = asyncio.create_task(loop.run(), name=f"heeler-scheduler {self.name}")
        helpers: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._say_ready(loop)),
        ]
        try:
            await asyncio.wait([running, helpers[0]], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                self._logger.error("scheduler %s: works no more: %s", self.name, running.exception())
                running.result()
        finally:
            for task in (running, *helpers):
                task.cancel()
            await asyncio.gather(running, *helpers, return_exceptions=True)
            self._logger.info("scheduler %s: stopped", self.name)

    async def _say_ready(self, loop: SchedulerLoop) -> None:
        await loop.ready.wait()
        self._logger.info("scheduler %s: running", self.name)
        self._ready.set()

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Any:
        if not handle:
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stop()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
