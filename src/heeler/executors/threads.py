"""Plain functions in daemon threads: many calls share one wake-up, and a call that never ends costs only its thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence

from heeler.contracts.executor import Call, Executor, Finished, KillAnswer
from heeler.io_thread import Handoff

__all__ = ["ThreadExecutor"]


class _Slot:
    """One thread's place. `wake` is locked while there is nothing for the thread to do; `over` ends it then."""

    __slots__ = ("abandoned", "over", "wake")

    def __init__(self) -> None:
        self.abandoned = False
        self.over = False
        self.wake = threading.Lock()
        self.wake.acquire()


class ThreadExecutor(Executor):
    """Up to `workers` threads pull calls one by one from one deque.

    A submitted batch rouses a single thread. A thread that takes a call and sees more waiting rouses the next before
    it runs its own, so no call waits behind one that blocks, and short calls do not pay for a wake-up each.

    `idle` is how many seconds a thread waits for work before it ends.
    """

    def __init__(self, *, idle: float = 60.0) -> None:
        super().__init__()
        self._idle = idle
        self._workers = 0
        self._open = 0  # submitted, and neither delivered nor killed
        self._drained = asyncio.Event()
        self._done: Handoff[Finished] | None = None
        self._lock = threading.Lock()  # guards all below
        self._waiting: deque[Call] = deque()
        self._running: dict[str, _Slot] = {}
        self._parked: list[_Slot] = []  # the latest first: its caches are warm
        self._threads = 0  # without the abandoned ones
        self._rousing = False  # a thread is on its way to the deque
        self._abandoned = 0
        self._closed = True

    @property
    def abandoned(self) -> int:
        return self._abandoned

    def start(self, workers: int) -> None:
        self._workers = workers
        self._open = 0
        self._done = Handoff(asyncio.get_running_loop(), self._deliver)
        self._closed = False

    def submit(self, calls: Sequence[Call]) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("ThreadExecutor: submit before start or after close")
            self._open += len(calls)
            self._waiting.extend(calls)
            if self._waiting and not self._rousing:
                self._rouse()

    def kill(self, id: str) -> KillAnswer:
        with self._lock:
            waiting = next((call for call in self._waiting if call.id == id), None)
            if waiting is not None:
                self._waiting.remove(waiting)
                answer = KillAnswer.KILLED
            elif (slot := self._running.pop(id, None)) is not None:
                self._abandon(slot)
                if self._waiting and not self._rousing:
                    self._rouse()
                answer = KillAnswer.ABANDONED
            else:
                return KillAnswer.GONE
        self._count_ended(1)
        return answer

    async def close(self, grace: float = 0.0) -> None:
        if self._open and grace > 0:
            self._drained.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._drained.wait()
            except TimeoutError:
                pass  # what still runs is abandoned below
        with self._lock:
            self._closed = True
            self._waiting.clear()
            for slot in self._running.values():
                self._abandon(slot)
            self._running.clear()
            self._threads -= len(self._parked)
            for slot in self._parked:
                slot.over = True
                slot.wake.release()
            self._parked.clear()

    def _deliver(self, batch: list[Finished]) -> None:
        if not self._closed:
            self.on_done(batch)
            self._count_ended(len(batch))

    def _count_ended(self, ended: int) -> None:
        self._open -= ended
        if not self._open:
            self._drained.set()

    def _abandon(self, slot: _Slot) -> None:
        slot.abandoned = True
        self._abandoned += 1
        self._threads -= 1

    def _rouse(self) -> None:
        """Send one more thread to the deque, if there is one to send. The lock is held."""
        if self._parked:
            self._rousing = True
            self._parked.pop().wake.release()
        elif self._threads < self._workers:
            thread = threading.Thread(target=self._work, args=(_Slot(),), name="heeler-call", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more threads: those that run will take the calls
                if self._threads == 0:
                    self._refuse_waiting(error)
                return
            self._rousing = True
            self._threads += 1

    def _refuse_waiting(self, error: RuntimeError) -> None:
        assert self._done is not None
        self._done.put_many([Finished(id=call.id, error=error) for call in self._waiting])
        self._waiting.clear()

    def _work(self, slot: _Slot) -> None:
        """The life of one thread. Each turn takes the lock once: to give back the last call and get the next."""
        assert self._done is not None
        roused = True
        ended: Finished | None = None
        while True:
            with self._lock:
                if slot.abandoned:
                    self._abandoned -= 1
                    return  # and with it the late return of the call
                if ended is not None:
                    del self._running[ended.id]
                if roused:
                    self._rousing = roused = False
                call = self._take(slot)
            if ended is not None:
                try:
                    self._done.put(ended)
                except RuntimeError:
                    return  # the loop is closed: nobody waits for it any more
                ended = None
            if call is not None:
                ended = _run(call)
                call = None
            elif slot.over or not self._wait(slot):
                return
            else:
                roused = True

    def _take(self, slot: _Slot) -> Call | None:
        """The next call for this thread, or None and the thread is parked, or over. The lock is held."""
        if not self._waiting:
            if self._closed:
                slot.over = True
                self._threads -= 1
            else:
                self._parked.append(slot)
            return None
        call = self._waiting.popleft()
        self._running[call.id] = slot
        if self._waiting and not self._rousing:
            self._rouse()
        return call

    def _wait(self, slot: _Slot) -> bool:
        """Wait to be roused; False when the thread is to end."""
        if slot.wake.acquire(timeout=self._idle):
            return not slot.over
        with self._lock:
            if slot in self._parked:
                self._parked.remove(slot)
                self._threads -= 1
                return False
        slot.wake.acquire()  # roused just when it gave up
        return not slot.over


def _run(call: Call) -> Finished:
    """Make the call; whatever it raises is its end, SystemExit too."""
    function = call.function
    try:
        if function is None:
            raise TypeError(f"call {call.id}: a call for threads needs a function")
        if call.context is None:
            value = function(*call.args, **call.kwargs)
        else:
            value = call.context.run(function, *call.args, **call.kwargs)
    except BaseException as error:
        return Finished(id=call.id, error=error)
    return Finished(id=call.id, value=value)
