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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from heeler.clock import new_id
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import QueueShare, WireFormat
from heeler.errors import HeelerError
from heeler.event_teller import EventTeller
from heeler.executors import ProcessExecutor
from heeler.hooks import Hooks, State
from heeler.logs import for_children
from heeler.middleware import all_ready, hooks_called, report_error
from heeler.worker.children import EXIT_RECYCLE, STOP_SIGNALS
from heeler.worker.health_door import HealthDoor, HealthPlace, MetricsSource
from heeler.worker.interpreter import tuned_interpreter
from heeler.worker.io_side import Beside, IoSide, Profile, WorkerState
from heeler.worker.label import label_of
from heeler.worker.log_records import tagged_records
from heeler.worker.remote_run import ENTRY_POINT
from heeler.worker.slots import Slots
from heeler.worker.task_side import TaskSide
from heeler.worker.vitals import Vitals, WorkerHealth

__all__ = ["Worker"]

READY_WITHIN = 1.0  # a context is entered when the worker takes jobs, or goes on trying after that time
LEAVE_WITHIN = 3.0  # what of the user's code does not end for so long after the end is blocked for good
# A loop waits at its end for all its coroutines and for their `asyncio.to_thread` calls.
_STILL_GOES_ON = "a coroutine that does not let itself be cancelled, or a thread of one, still goes on"


class Worker:
    """Takes jobs from its queues and runs them, up to `concurrency` at once. Works once, from its start to its stop.

    `run()` blocks, `await arun()` works in the caller's loop, `start()` in a thread of its own. As a context manager it
    works from entry to exit: `with` in a thread, `async with` in the caller's loop; what it encloses begins when the
    worker takes jobs, or after a second where the broker cannot be reached so soon. `exit_code` is what a process that
    is only this worker should exit with.
    """

    def __init__(
        self,
        *,
        name: str,
        connections: Connections,
        teller: EventTeller,
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
        beside: Callable[[], Beside] | None = None,
        health: HealthPlace | None = None,
        metrics: Callable[[Worker], MetricsSource | None] | None = None,
        on_stopped: Callable[[Worker], None] | None = None,
    ) -> None:
        self.name = name
        self._label = label_of(name)
        self.id = f"{name}@{socket.gethostname()}:{os.getpid()}:{new_id()[-6:]}"
        self.state: WorkerState = "new"
        self.health = health or HealthPlace()
        """Where it tells how it is; may be replaced before it starts."""
        self.health_port: int | None = None
        """The port where it does so, once it has started."""
        self._connections = connections
        self._teller = teller
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
        self._beside = beside
        self._on_stopped = on_stopped
        self._slots = Slots(concurrency)
        self._vitals: Vitals
        self._find_metrics = metrics
        self._metrics: MetricsSource | None = None
        self._io_side: IoSide | None = None
        self._stop_asked = False
        self._was_told = False  # to stop, by somebody else than itself
        self._recycles = False
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

    @property
    def exit_code(self) -> int:
        """That of a process that only works: one that is worn out asks for another, unless it was told to stop."""
        return EXIT_RECYCLE if self._recycles and not self._was_told else 0

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
        self._was_told = True
        self._ask_to_stop(grace)

    def _ask_to_stop(self, grace: float | None) -> None:
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
        try:
            self._ready.wait(READY_WITHIN)
        except BaseException:  # Ctrl-C: there will be no exit
            self.stop()
            raise
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
        try:
            await asyncio.to_thread(self._ready.wait, READY_WITHIN)
        except BaseException:  # cancelled: there will be no exit
            self.stop()
            raise
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
            raise HeelerError(f"{self._label} has been started before; make another one")
        self.state = "starting"
        if self._find_metrics is not None and self.health.is_anywhere:
            self._metrics = self._find_metrics(self)  # here already, so that what is enqueued from now on is counted
            if self._metrics is not None:
                self._middleware += self._metrics.middleware

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
        self._logger.error("%s: works no more: %s: %s", self._label, type(error).__name__, error)

    async def _work(self) -> None:
        state = State()
        self._vitals = Vitals(
            self.name, self._clock, self.health.patience, lambda: self._slots.running, lambda: self.state
        )
        self._io_side = io_side = IoSide(
            self._profile,
            self._connections,
            self._slots,
            self._logger,
            on_error=self._report_error if self._middleware else None,
            on_settled=hooks_called("on_settled", self._middleware),
            on_sent=hooks_called("on_sent", self._middleware),
            teller=self._teller,
            may_fetch=self._may_fetch,
            on_state=self._enter_state,
            codecs=self._codecs,
            formats=self._formats,
            beside=self._beside,
            vitals=self._vitals,
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
            async with self._told_health():
                await self._hooks.run_startup(state)
                try:
                    async with self._watched(task_side):
                        await self._wait_for(self._connections.io.submit(io_side.work(task_side)))
                finally:
                    await task_side.close()
                    await self._hooks.run_shutdown(state, self._logger)
        finally:
            self._logger.info("%s: stopped", self._label)

    @contextlib.asynccontextmanager
    async def _told_health(self) -> AsyncIterator[None]:
        """Meanwhile others can ask whether this worker is well, where that is wanted."""
        if not self.health.is_anywhere:
            yield
            return
        io = self._connections.io
        door = HealthDoor(self.health, self._look, None if self._metrics is None else self._metrics.tell, self._logger)
        self.health_port = await io.arun(door.open())
        if self.health_port is not None:
            self._logger.info("%s: health on port %d", self._label, self.health_port)
        try:
            yield
        finally:
            await io.arun(door.close())

    async def _look(self) -> list[WorkerHealth]:
        return [self._vitals.now()]

    @contextlib.asynccontextmanager
    async def _watched(self, task_side: TaskSide) -> AsyncIterator[None]:
        """Meanwhile the task loop is asked for signs of life, where somebody wants to know."""
        if not self.health.is_anywhere:
            yield
            return
        watching = self._connections.io.submit(self._vitals.watch(task_side.ping))
        try:
            yield
        finally:
            watching.cancel()

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
            self._logger.warning("%s: %s; leaving without it", self._label, obstacle)
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
            self._was_told = True
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
                "%s: running; queues %s, up to %d jobs at once",
                self._label,
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
            setup=("heeler.logs:configure_child", logging_here) if (logging_here := for_children()) else None,
        )

    def _wear_out(self) -> None:
        """Too many abandoned threads still go on: only a new process gets rid of them."""
        if self._worn_out:
            return
        self._worn_out = True
        if self._owns_process:
            self._logger.warning(
                "%s: too many threads whose jobs timed out still go on; this process stops so that a new one "
                "can take over (exit code %d)",
                self._label,
                EXIT_RECYCLE,
            )
            self._recycles = True
            self._ask_to_stop(None)
        else:
            self._logger.warning(
                "%s: too many threads whose jobs timed out still go on, and each keeps its memory; "
                "give those jobs timeouts of their own, or executor='process'",
                self._label,
            )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """That of uvloop where the extra `heeler[fast]` is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
