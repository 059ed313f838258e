"""An executor: a new thread for every call, so that nothing a call leaves in its thread meets the next one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence

from heeler.contracts import Call, Executor, Finished, KillAnswer

__all__ = ["FreshThreads"]


class FreshThreads(Executor):
    """`@app.task(executor=FreshThreads())`.

    All but `_make_call` runs on the worker's loop, so no locks are needed. A thread cannot be ended from outside: a
    call that is killed is abandoned, which means that what it returns one day is dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._workers = 0
        self._waiting: deque[Call] = deque()
        self._running: dict[str, Call] = {}
        self._abandoned = 0
        self._all_done = asyncio.Event()

    def start(self, workers: int) -> None:
        self._workers = workers
        self._loop = asyncio.get_running_loop()

    def submit(self, calls: Sequence[Call]) -> None:
        self._waiting.extend(calls)
        self._start_waiting()

    def kill(self, id: str) -> KillAnswer:
        if self._running.pop(id, None) is not None:
            self._abandoned += 1
            self._start_waiting()
            return KillAnswer.ABANDONED
        waiting = [call for call in self._waiting if call.id != id]
        if len(waiting) == len(self._waiting):
            return KillAnswer.GONE
        self._waiting = deque(waiting)
        return KillAnswer.KILLED

    @property
    def abandoned(self) -> int:
        return self._abandoned

    async def close(self, grace: float = 0.0) -> None:
        if self._running:
            self._all_done.clear()
            try:
                await asyncio.wait_for(self._all_done.wait(), grace)
            except TimeoutError:
                pass  # what still runs is abandoned
        self._waiting.clear()
        self._abandoned += len(self._running)
        self._running.clear()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._workers:
            call = self._waiting.popleft()
            self._running[call.id] = call
            threading.Thread(target=self._make_call, args=(call,), name="fresh thread", daemon=True).start()

    def _make_call(self, call: Call) -> None:
        """What a thread does. Whatever the function raises is the end of its call."""
        assert call.function is not None, "calls without a function are for executors with `remote = True`"
        try:
            if call.context is None:
                value = call.function(*call.args, **call.kwargs)
            else:
                value = call.context.run(call.function, *call.args, **call.kwargs)
            finished = Finished(id=call.id, value=value)
        except BaseException as error:
            finished = Finished(id=call.id, error=error)
        try:
            self._loop.call_soon_threadsafe(self._ended, call, finished)
        except RuntimeError:
            pass  # the loop is closed: nobody waits for it any more

    def _ended(self, call: Call, finished: Finished) -> None:
        if self._running.get(call.id) is not call:  # it was killed; another call may have its id by now
            self._abandoned -= 1
            return
        del self._running[call.id]
        self._start_waiting()
        self.on_done([finished])
        if not self._running:
            self._all_done.set()
