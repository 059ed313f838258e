"""Plain functions in a pool of warm child processes: each can be killed, and takes only its own call with it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence

from heeler.contracts.executor import Call, Executor, Finished, KillAnswer
from heeler.executors.child_link import ChildLink
from heeler.executors.frames import Frame
from heeler.executors.template_link import TemplateLink

__all__ = ["ProcessExecutor"]

_log = logging.getLogger(__name__)

FAREWELL = 10.0  # seconds that a child in retirement has for its last callbacks
SHORTEST_FAREWELL = 1.0  # the same when the executor is closed without any grace
TEMPLATE_DEATHS = 3  # in a row, without one finished call between, before the calls are told


class ProcessExecutor(Executor):
    """Up to `workers` children, forked on demand by a template process, one call in each at a time.

    Every call runs `entry` ("module:function") in a child as `entry(order, channel)`, see `CallChannel`. `imports`
    are loaded once, in the template, before any child is forked. A child is replaced after `max_jobs_per_child`
    calls. `environment` is added to that of this process. `setup` is ("module:function", text): what is called with
    that text after the imports, once.
    """

    remote = True

    def __init__(
        self,
        entry: str,
        *,
        imports: Sequence[str] = (),
        max_jobs_per_child: int | None = None,
        environment: Mapping[str, str] | None = None,
        setup: tuple[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._entry = entry
        self._imports = tuple(imports)
        self._max_calls = max_jobs_per_child
        self._environment = dict(environment or {})
        self._setup = setup
        self._workers = 0
        self._closed = True
        self._template: TemplateLink | None = None
        self._template_deaths = 0
        self._last_number = 0
        self._children: dict[int, ChildLink] = {}
        self._retired: dict[int, ChildLink] = {}
        self._idle: list[ChildLink] = []  # the latest last: its caches are warm
        self._running: dict[str, ChildLink] = {}
        self._waiting: deque[Call] = deque()
        self._finished: list[Finished] = []  # told together at the next turn of the loop
        self._changed = asyncio.Event()  # something ended that `close` may wait for

    def start(self, workers: int) -> None:
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def submit(self, calls: Sequence[Call]) -> None:
        if self._closed:
            raise RuntimeError("ProcessExecutor: submit before start or after close")
        self._waiting.extend(calls)
        self._dispatch()

    def kill(self, id: str) -> KillAnswer:
        child = self._running.pop(id, None)
        if child is not None:
            self._children.pop(child.number)
            child.call = None
            child.kill()
            self._dispatch()
            self._changed.set()
            return KillAnswer.KILLED
        for call in self._waiting:
            if call.id == id:
                self._waiting.remove(call)
                self._changed.set()
                return KillAnswer.KILLED
        return KillAnswer.GONE

    def signal(self, id: str, data: bytes) -> None:
        child = self._running.get(id)
        if child is not None:
            child.may_miss_call = False  # from here on it may be the note that is unread
            child.send(Frame.NOTE, data)

    async def close(self, grace: float = 0.0) -> None:
        if self._closed:
            return
        deadline = self._loop.time() + grace
        await self._wait_until_empty(self._running, self._waiting, deadline=deadline)
        self._closed = True
        self._waiting.clear()
        for running in list(self._running):
            self.kill(running)
        for child in list(self._children.values()):
            self._retire(child)
        deadline = max(deadline, self._loop.time() + SHORTEST_FAREWELL)
        await self._wait_until_empty(self._retired, deadline=deadline)
        for child in self._retired.values():
            child.kill()
        self._retired.clear()
        if self._template is not None:
            await self._template.close(SHORTEST_FAREWELL)
        self._tell_finished()

    async def _wait_until_empty(self, *what: object, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                while any(what):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # the caller ends what is left

    # Calls

    def _dispatch(self) -> None:
        """Give waiting calls to idle children, and to new ones as far as there may be more."""
        while self._waiting and not self._closed:
            was_idle = bool(self._idle)
            if was_idle:
                child = self._idle.pop()
            elif len(self._children) < self._workers:
                new = self._new_child()
                if new is None:
                    return
                child = new
            else:
                return
            call = self._waiting.popleft()
            child.call = call
            child.calls += 1
            child.may_miss_call = was_idle
            self._running[call.id] = child
            child.send(Frame.ORDER, call.order)

    def _on_frame(self, child: ChildLink, kind: int, data: bytes) -> None:
        call = child.call
        if kind == Frame.HELLO:
            child.exists = True
        elif call is None:
            pass  # a last word of a child in retirement
        elif kind == Frame.NOTE:
            self.on_signal(call.id, data)
        else:
            self._template_deaths = 0
            child.call = None
            if kind == Frame.REPLY:
                self._finish(Finished(id=call.id, value=data))
            else:
                text = data.decode(errors="replace")
                self._finish(Finished(id=call.id, error=RuntimeError(f"{self._entry} raised in its child:\n{text}")))
            if not child.leaving:
                if self._max_calls is not None and child.calls >= self._max_calls:
                    self._retire(child)
                else:
                    self._idle.append(child)
                self._dispatch()

    def _finish(self, finished: Finished) -> None:
        self._running.pop(finished.id, None)
        if not self._finished:
            self._loop.call_soon(self._tell_finished)
        self._finished.append(finished)
        self._changed.set()

    def _tell_finished(self) -> None:
        if self._finished:
            batch, self._finished = self._finished, []
            self.on_done(batch)

    # Children

    def _new_child(self) -> ChildLink | None:
        try:
            if self._template is None:
                self._template = TemplateLink(
                    self._entry, self._imports, self._environment, self._on_status, self._on_template_gone, self._setup
                )
            self._last_number += 1
            child = ChildLink(self._last_number, self._template, self._on_frame, self._on_child_gone)
        except OSError as error:  # no more processes or descriptors: those that run will take the calls
            if not self._children:
                self._refuse_waiting(error)
            return None
        self._children[child.number] = child
        return child

    def _refuse_waiting(self, error: Exception) -> None:
        while self._waiting:
            self._finish(Finished(id=self._waiting.popleft().id, error=error))

    def _retire(self, child: ChildLink) -> None:
        """Let a child without a call end in its own time, outside the count."""
        del self._children[child.number]
        if child in self._idle:
            self._idle.remove(child)
        self._retired[child.number] = child
        child.end()
        self._loop.call_later(FAREWELL, self._end_farewell, child)

    def _end_farewell(self, child: ChildLink) -> None:
        if self._retired.pop(child.number, None) is not None:
            child.kill()

    def _on_status(self, kind: Frame, number: int, code: int) -> None:
        child = self._children.get(number) or self._retired.get(number)
        if child is None:
            return  # it was killed: nobody asks
        child.leaving = True
        child.drain()
        if kind == Frame.FORK_FAILED:
            self._bury(child, error=OSError(code, f"no child process could be forked: {os.strerror(code)}"))
        else:
            self._bury(child, died=f"signal {-code}" if code < 0 else f"exit code {code}")

    def _on_child_gone(self, child: ChildLink) -> None:
        """Its socket is closed. The template will tell how it ended, if there still is one."""
        child.leaving = True
        if child in self._idle:
            self._idle.remove(child)
        if child.template.gone.is_set():
            self._bury_unreported(child)
        else:
            child.template.kill(child.number)  # for one that closed its socket and lives

    def _bury_unreported(self, child: ChildLink) -> None:
        if not child.exists and child.call is not None:
            self._waiting.appendleft(child.call)  # the template died before it forked: nothing was started
            self._running.pop(child.call.id, None)
            child.call = None
        self._bury(child, died="end of unknown cause: its template process had died before it")

    def _bury(self, child: ChildLink, *, died: str | None = None, error: Exception | None = None) -> None:
        call, child.call = child.call, None
        self._children.pop(child.number, None)
        self._retired.pop(child.number, None)
        if child in self._idle:
            self._idle.remove(child)
        child.close()
        if call is not None and child.unread and child.may_miss_call:
            self._running.pop(call.id, None)
            self._waiting.appendleft(call)  # it died as it was given the call, which another one makes
        elif call is not None:
            self._finish(Finished(id=call.id, died=died, error=error))
        self._changed.set()
        self._loop.call_soon(self._dispatch)

    def _on_template_gone(self, template: TemplateLink) -> None:
        """Start anew with the next child; those that are there go on."""
        self._template = None
        if self._closed:
            return
        self._template_deaths += 1
        _log.warning("the template process %d of the process pool died; it will be replaced", template.pid)
        for child in list(self._children.values()) + list(self._retired.values()):
            if child.template is template:
                child.drain()  # those that it had not forked yet end here
                if child.gone and child.number in self._children:
                    self._bury_unreported(child)
        if self._template_deaths >= TEMPLATE_DEATHS:
            self._template_deaths = 0
            self._refuse_waiting(
                RuntimeError(
                    f"the process pool's template process died {TEMPLATE_DEATHS} times in a row; see its stderr"
                )
            )
        self._loop.call_soon(self._dispatch)
