"""One thread with an event loop that owns every driver object of the process.

All producers, fetches, settlements, renewals and waits of an app run here, so none of them is bound to a loop
of the user's, and a task that blocks its own loop cannot stop them. Work crosses between loops in batches
through a `Handoff`: a deque with one coalesced wake-up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from heeler.errors import BrokerUnavailable
from heeler.forks import call_in_child

__all__ = ["Handoff", "IoThread", "closed_meanwhile"]

T = TypeVar("T")


def closed_meanwhile() -> BrokerUnavailable:
    """What a call raises whose work on the I/O thread was cut off by a close."""
    return BrokerUnavailable("the app was closed while this call was under way", outcome_unknown=True)


class Handoff(Generic[T]):
    """Hands items from any thread to a callback on one loop; many puts share one wake-up.

    `deliver` is called on `loop` with the list of what has come since its last call, in order of arrival.
    """

    __slots__ = ("_armed", "_deliver", "_items", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[list[T]], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._items: deque[T] = deque()
        self._armed = False

    def put(self, item: T) -> None:
        """Add one item; never blocks. Raises RuntimeError if the loop is closed."""
        self._items.append(item)
        if not self._armed:
            self._armed = True
            self._loop.call_soon_threadsafe(self._drain)

    def put_many(self, items: list[T]) -> None:
        """Add several items with at most one wake-up."""
        if items:
            self._items.extend(items)
            if not self._armed:
                self._armed = True
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # Disarmed before the deque is read: an item added after the last read finds it disarmed and wakes us again.
        self._armed = False
        items = self._items
        batch: list[T] = []
        try:
            while True:
                batch.append(items.popleft())
        except IndexError:
            pass
        if batch:
            self._deliver(batch)


class IoThread:
    """A daemon thread that turns one event loop; started at first use, made anew after a fork.

    A forked child inherits an object whose thread does not exist there, so it forgets it and starts its own at its
    first use. The inherited loop is kept, not closed, because its file descriptors are shared with the parent.
    """

    def __init__(self, name: str = "heeler-io") -> None:
        self.name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._parked: list[asyncio.AbstractEventLoop] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        call_in_child(self._forget_parent)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; starts the thread if there is none in this process."""
        return self._loop if self._loop is not None else self._start()

    @property
    def started(self) -> bool:
        """Whether the thread runs in this process."""
        return self._loop is not None

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is not None:
                return self._loop
            loop = _new_loop()
            turning = threading.Event()

            def turn() -> None:
                asyncio.set_event_loop(loop)
                loop.call_soon(turning.set)
                loop.run_forever()

            self._thread = threading.Thread(target=turn, name=self.name, daemon=True)
            self._thread.start()
            turning.wait()
            self._loop = loop
            return loop

    def _forget_parent(self) -> None:
        """In a forked child: what was inherited belongs to the parent."""
        self._lock = threading.Lock()  # the inherited one may be held by a thread that does not exist here
        if self._loop is not None:
            self._parked.append(self._loop)
        self._loop = None
        self._thread = None
        self._tasks = set()

    def here(self) -> bool:
        """Whether the caller is on the I/O thread."""
        return self._thread is threading.current_thread()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start the coroutine on the I/O thread; its result comes in the returned future."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run the coroutine on the I/O thread and wait for it, blocking the calling thread.

        Raises what the coroutine raises, TimeoutError after `timeout` seconds (the coroutine is then
        cancelled), BrokerUnavailable when the thread is closed meanwhile, RuntimeError when called on the I/O
        thread itself, where waiting would never end.
        """
        if self.here():
            work.close()
            raise RuntimeError("a blocking call was made on Heeler's I/O thread; use the async twin there")
        future = self.submit(work)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise closed_meanwhile() from None
        except BaseException:
            future.cancel()
            raise

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the I/O thread and await it from the caller's loop.

        Raises what the coroutine raises, BrokerUnavailable when the thread is closed meanwhile.
        """
        if self.here():
            return await work
        future = self.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if future.cancelled() and (caller is None or not caller.cancelling()):
                raise closed_meanwhile() from None
            raise

    def spawn(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """Start a background task; to be called on the I/O thread. The thread keeps a reference to it."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Cancel what still runs there and end the thread; harmless when it never started or twice."""
        if self._loop is None or self._thread is None:
            return
        if self.here():
            raise RuntimeError("the I/O thread cannot close itself")
        loop, thread = self._loop, self._thread

        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await loop.shutdown_asyncgens()

        asyncio.run_coroutine_threadsafe(cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = None
        self._thread = None


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where the extra `heeler[fast]` is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
