"""A worker: builds its parts, ties those on the task loop to those on the I/O thread, and waits for the end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import FrameType, SimpleNamespace, TracebackType
from typing import Any, Self

from heeler.clock import new_id
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import QueueShare, WireFormat
from heeler.errors import HeelerError
from heeler.executors import ProcessExecutor
from heeler.hooks import Hooks
from heeler.middleware import all_ready, report_error
from heeler.model import WorkerPresence
from heeler.worker.children import EXIT_RECYCLE, STOP_SIGNALS
from heeler.worker.interpreter import tuned_interpreter
from heeler.worker.io_side import IoSide, Profile, WorkerState
from heeler.worker.log_records import tagged_records
from heeler.worker.remote_run import ENTRY_POINT
from heeler.worker.slots import Slots
from heeler.worker.task_side import TaskSide

__all__ = ["Worker"]

LEAVE_WITHIN = 3.0  # what of the user's code does not end for so long after the end is blocked for good
# A loop waits at its end for all its coroutines and for their `asyncio.to_thread` calls.
_STILL_GOES_ON = "a coroutine that does not let itself be cancelled, or a thread of one, still goes on"


class Worker:
    """Takes jobs from its queues and runs them, up to `concurrency` at once. Works once, from its start to its stop.

    `run()` blocks, `await arun()` works in the caller's loop, `start()` in a thread of its own. As a context manager it
    works from entry to exit: `with` in a thread, `async with` in the caller's loop. `exit_code` is what a process that
    is only this worker should exit with.
    """

    def __init__(
        self,
        *,
        name: str,
        connections: Connections,
        tasks: Mapping[str, Any],
        queues: Sequence[QueueShare],
        concurrency: int = 20,
        lease: float = 30.0,
        grace: float = 25.0,
        middleware: Sequence[Any] = (),
        hooks: Hooks | None = None,
        codecs: Codecs | None = None,
        formats: Mapping[str, WireFormat] | None = None,
        logger: logging.Logger | None = None,
        burst: bool = False,
        max_jobs_per_child: int | None = None,
        imports: Sequence[str] = (),
        on_stopped: Callable[[Worker], None] | None = None,
    ) -> None:
        self.name = name
        self.id = f"{name}@{socket.gethostname()}:{os.getpid()}:{new_id()[-6:]}"
        self.state: WorkerState = "new"
        self.exit_code = 0
        self._connections = connections
        self._clock = connections.clock
        self._profile = Profile(
            id=self.id,
            name=name,
            tasks=tasks,
            queues=queues,
            concurrency=concurrency,
            lease=lease,
            grace=grace,
            burst=burst,
        )
        self._middleware = tuple(middleware)
        self._hooks = hooks or Hooks()
        self._codecs = codecs or Codecs()
        self._formats = dict(formats or {})
        self._logger = (logger or logging.getLogger("heeler")).getChild("worker")
        self._max_jobs_per_child = max_jobs_per_child
        self._imports = tuple(imports)
        self._on_stopped = on_stopped
        self._slots = Slots(concurrency)
        self._started_at = 0.0
        self._io_side: IoSide | None = None
        self._stop_asked = False
        self._stop_grace: float | None = None
        self._owns_process = False
        self._worn_out = False
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._turned = threading.Event()
        self._closed = threading.Event()
        self._fault: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.name} {self.state}>"

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return self._slots.running

    @property
    def concurrency(self) -> int:
        return self._profile.concurrency

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(share.queue for share in self._profile.queues)

    # Starting and stopping

    def run(self, handle_signals: bool = True) -> None:
        """Work in this thread until stopped. SIGTERM and SIGINT stop it calmly, a second one at once.

        Raises what kept it from starting, or from going on.
        """
        handle_signals = handle_signals and threading.current_thread() is threading.main_thread()
        self._owns_process = handle_signals
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self.arun(handle_signals))
            if self._owns_process:
                self._leave_unless(self._closed, _STILL_GOES_ON)
        self._closed.set()

    async def arun(self, handle_signals: bool = False) -> None:
        """Work in this event loop until stopped. If the caller is cancelled, what runs is finished first."""
        self._begin()
        try:
            await self._live(handle_signals)
        except BaseException as error:
            self._fault = error
            raise
        finally:
            self._leave()

    def start(self) -> None:
        """Work in a thread of its own, from now on; returns at once. A fault is logged, and raised by `wait`."""
        self._begin()

        def work() -> None:
            try:
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    runner.run(self._live())
                    self._leave_unless(self._closed, _STILL_GOES_ON)
            except BaseException as error:
                self._failed(error)
            finally:
                self._closed.set()
                self._leave()

        self._thread = threading.Thread(target=work, name=f"heeler-worker {self.name}", daemon=True)
        self._thread.start()

    def stop(self, grace: float | None = None) -> None:
        """Ask it to stop, from any thread; what runs gets `grace` seconds (default: the worker's). Harmless twice."""
        self._stop_asked = True
        self._stop_grace = grace
        side = self._io_side
        if side is not None and self.state != "stopped":
            self._connections.io.loop.call_soon_threadsafe(side.request.stop, grace)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has stopped; False if that took longer than `timeout` seconds. Raises its fault."""
        if self.state == "new":
            return True
        if not self._stopped.wait(timeout):
            return False
        if self._fault is not None and not isinstance(self._fault, asyncio.CancelledError):
            raise self._fault
        return True

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until it takes jobs; False if it does not within `timeout` seconds, or has stopped before."""
        return self._ready.wait(timeout) and self.state != "stopped"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.wait()

    async def __aenter__(self) -> Self:
        self._begin()
        self._task = asyncio.create_task(self._live(), name=f"heeler-worker {self.name}")
        self._task.add_done_callback(self._task_done)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert self._task is not None
        await self._task

    # Its life

    def _begin(self) -> None:
        if self.state != "new":
            raise HeelerError(f"worker {self.name} has been started before; make another one")
        self.state = "starting"

    async def _live(self, handle_signals: bool = False) -> None:
        """From the start to the end, whoever turns the loop."""
        with tuned_interpreter(), tagged_records(), self._signals(handle_signals):
            await self._work()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
        self._leave()

    def _failed(self, error: BaseException) -> None:
        """Said at once, because nobody may be waiting for this worker yet, while its jobs wait in vain."""
        self._fault = error
        self._logger.error("worker %s: works no more: %s: %s", self.name, type(error).__name__, error)

    async def _work(self) -> None:
        self._started_at = self._clock.time()
        state = SimpleNamespace()
        self._io_side = io_side = IoSide(
            self._profile,
            self._connections,
            self._slots,
            self._logger,
            on_error=self._report_error if self._middleware else None,
            may_fetch=self._may_fetch,
            on_state=self._enter_state,
            presence=self._presence,
        )
        if self._stop_asked:
            self.stop(self._stop_grace)
        task_side = TaskSide(
            self._profile,
            io_side,
            self._slots,
            self._clock,
            self._logger,
            codecs=self._codecs,
            formats=self._formats,
            middleware=self._middleware,
            state=state,
            pool=self._make_pool,
            on_worn_out=self._wear_out,
        )
        try:
            await self._hooks.run_startup(state)
            try:
                await self._wait_for(self._connections.io.submit(io_side.work(task_side)))
            finally:
                await task_side.close()
                await self._hooks.run_shutdown(state, self._logger)
        finally:
            self._logger.info("worker %s: stopped", self.name)

    async def _wait_for(self, working: concurrent.futures.Future[None]) -> None:
        """Until the I/O side is done. A cancel of the caller is a wish to stop, a second one a wish for haste."""
        if self._owns_process or self._thread is not None:
            # All is settled then. If a task blocks the loop even so, nothing but the end of the process can end it.
            working.add_done_callback(lambda _: self._leave_unless(self._turned, "a task still blocks its event loop"))
        done = asyncio.wrap_future(working)
        cancelled = False
        while not done.done():
            try:
                await asyncio.wait({done})
            except asyncio.CancelledError:
                cancelled = True
                assert self._io_side is not None
                self._connections.io.loop.call_soon_threadsafe(self._io_side.request.signalled)
        self._turned.set()
        done.result()
        if cancelled:
            raise asyncio.CancelledError

    def _leave_unless(self, event: threading.Event, obstacle: str) -> None:
        """If the event does not come soon, end the process, or count as stopped where it is not this worker's."""

        def watch() -> None:
            if event.wait(LEAVE_WITHIN):
                return
            self._logger.warning("worker %s: %s; leaving without it", self.name, obstacle)
            if not self._owns_process:
                self._leave()
            else:
                logging.shutdown()
                sys.stdout.flush()
                os._exit(self.exit_code)

        threading.Thread(target=watch, name="heeler-last-watch", daemon=True).start()

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Iterator[None]:
        """Plain handlers: they run between two bytecodes even while a task blocks the event loop."""
        if not handle:
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self._io_side is None:
                self._stop_asked = True
            else:
                self._connections.io.loop.call_soon_threadsafe(self._io_side.request.signalled)

        before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _leave(self) -> None:
        if self.state != "stopped":
            self.state = "stopped"
            if self._on_stopped is not None:
                self._on_stopped(self)
        self._ready.set()
        self._stopped.set()

    def _enter_state(self, state: WorkerState) -> None:
        if state == "running":
            profile = self._profile
            self._logger.info(
                "worker %s: running; queues %s, up to %d jobs at once",
                self.name,
                ", ".join(self.queues),
                profile.concurrency,
            )
        self.state = state
        if state == "running":
            self._ready.set()

    def _may_fetch(self) -> bool:
        return not self._middleware or all_ready(self._middleware, self)

    def _report_error(self, error: BaseException, where: str) -> None:
        report_error(self._middleware, error, where)

    def _make_pool(self) -> ProcessExecutor:
        """Child processes that have imported whatever registers the tasks."""
        modules = [task.spec.defined_in for task in self._profile.tasks.values() if task.spec.importable]
        return ProcessExecutor(
            ENTRY_POINT,
            imports=tuple(dict.fromkeys((*self._imports, *modules))),
            max_jobs_per_child=self._max_jobs_per_child,
        )

    def _wear_out(self) -> None:
        """Too many abandoned threads still go on: only a new process gets rid of them."""
        if self._worn_out:
            return
        self._worn_out = True
        if self._owns_process:
            self._logger.warning(
                "worker %s: too many threads whose jobs timed out still go on; this process stops so that a new one "
                "can take over (exit code %d)",
                self.name,
                EXIT_RECYCLE,
            )
            self.exit_code = EXIT_RECYCLE
            self.stop()
        else:
            self._logger.warning(
                "worker %s: too many threads whose jobs timed out still go on, and each keeps its memory; "
                "give those jobs timeouts of their own, or executor='process'",
                self.name,
            )

    def _presence(self) -> WorkerPresence:
        return WorkerPresence(
            id=self.id,
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.queues,
            tasks=tuple(name for name, task in self._profile.tasks.items() if task.spec.function is not None),
            version=version("heeler"),
            started_at=self._started_at,
            concurrency=self._profile.concurrency,
            state="quiet" if self.state in ("quiet", "stopping") else "running",
            running=self._slots.running,
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """That of uvloop where the extra `heeler[fast]` is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
