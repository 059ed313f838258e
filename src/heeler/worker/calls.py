"""The executors of one worker, and which of its runs each of their calls belongs to."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from heeler.contracts import Call, Executor, Finished, KillAnswer
from heeler.errors import ConfigurationError
from heeler.executors import ProcessExecutor, ThreadExecutor
from heeler.worker.run import Run

__all__ = ["Calls"]

_taken: set[Executor] = set()  # those of the user's that workers of this process have now
_lock = threading.Lock()


class Calls:
    """Lives on the task loop. Executors are started at their first use.

    `pool` makes an executor of child processes. `on_finished` is told how a run's call ended, `on_signal` what a run in
    a child says meanwhile.
    """

    def __init__(self, concurrency: int, pool: Callable[[], ProcessExecutor], logger: logging.Logger) -> None:
        self.on_finished: Callable[[Run, Finished], None] = lambda run, finished: None
        self.on_signal: Callable[[Run, bytes], None] = lambda run, data: None
        self._concurrency = concurrency
        self._pool = pool
        self._logger = logger
        self._threads: ThreadExecutor | None = None
        self._processes: ProcessExecutor | None = None
        self._alone: ProcessExecutor | None = None
        self._given: set[Executor] = set()
        self._running: dict[str, Run] = {}
        self._waiting: list[tuple[Executor, list[Call]]] = []

    def executor(self, wanted: Executor | str) -> Executor:
        """The executor that a task names. Raises what keeps it from starting."""
        if wanted == "thread":
            if self._threads is None:
                self._threads = ThreadExecutor()
                self._start(self._threads, self._concurrency)
            return self._threads
        if wanted == "process":
            if self._processes is None:
                self._processes = self._pool()
                self._start(self._processes, self._concurrency)
            return self._processes
        assert isinstance(wanted, Executor)
        if wanted not in self._given:
            self._take(wanted)
        return wanted

    def alone(self) -> Executor:
        """The one warm child in which suspects run, one at a time."""
        if self._alone is None:
            self._alone = self._pool()
            self._start(self._alone, 1)
        return self._alone

    def submit(self, run: Run, executor: Executor, call: Call) -> None:
        """Make the call at the next `flush`."""
        run.executor = executor
        run.call_id = call.id
        self._running[call.id] = run
        for waiting, calls in self._waiting:
            if waiting is executor:
                calls.append(call)
                return
        self._waiting.append((executor, [call]))

    def flush(self) -> None:
        """Hand over what was submitted, in one batch for each executor."""
        if self._waiting:
            batches, self._waiting = self._waiting, []
            for executor, calls in batches:
                try:
                    executor.submit(calls)
                except Exception as error:  # an executor of the user's must not leave jobs in nobody's hands
                    self._done([Finished(id=call.id, error=error) for call in calls])

    def kill(self, run: Run) -> KillAnswer:
        """End the run's call or abandon it; no one is told of its end any more."""
        self._running.pop(run.call_id, None)
        assert run.executor is not None
        self.flush()
        return run.executor.kill(run.call_id)

    @property
    def abandoned(self) -> int:
        """How many abandoned calls still go on in threads of this process."""
        return sum(executor.abandoned for executor in self._all())

    async def close(self) -> None:
        """End all executors; what still runs there is killed or abandoned."""
        self._running.clear()
        for closed in await asyncio.gather(*(executor.close() for executor in self._all()), return_exceptions=True):
            if isinstance(closed, Exception):
                self._logger.error("an executor could not be closed", exc_info=closed)
        with _lock:
            _taken.difference_update(self._given)
        self._given.clear()

    def _take(self, executor: Executor) -> None:
        """Start an executor of the user's, which answers to one worker at a time."""
        with _lock:
            if executor in _taken:
                raise ConfigurationError(
                    f"the executor {executor!r} is at work for another worker of this process; let only one of them "
                    "run its tasks (app.worker(tasks=[…])), or name the executor as 'thread' or 'process'"
                )
            _taken.add(executor)
        try:
            self._start(executor, self._concurrency)
        except BaseException:
            with _lock:
                _taken.discard(executor)
            raise
        self._given.add(executor)

    def _all(self) -> list[Executor]:
        own: list[Executor | None] = [self._threads, self._processes, self._alone]
        return [executor for executor in own if executor is not None] + list(self._given)

    def _start(self, executor: Executor, workers: int) -> None:
        executor.on_done = self._done
        executor.on_signal = self._signalled
        executor.start(workers)

    def _done(self, finished: list[Finished]) -> None:
        running = self._running
        for end in finished:
            run = running.pop(end.id, None)
            if run is not None:
                self.on_finished(run, end)

    def _signalled(self, id: str, data: bytes) -> None:
        run = self._running.get(id)
        if run is not None:
            self.on_signal(run, data)
