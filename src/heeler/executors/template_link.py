"""The worker's end of the template process that forks the pool's children."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from heeler.executors.frames import CHILD_NUMBER, CHILD_STATUS, Frame, FrameReader, Ready, TemplateSettings, frame

__all__ = ["TemplateLink", "in_pool_process"]

_log = logging.getLogger(__name__)
_PROGRAM = "heeler.executors.process_template"


def in_pool_process() -> bool:
    """Whether this process is a template or a child of a process pool, where no worker should be started.

    A script that starts one without `if __name__ == "__main__"` does so again when the pool imports its tasks.
    """
    return getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) == _PROGRAM


class TemplateLink:
    """Starts a template process and asks it for children. Never blocks the loop.

    `on_status` gets what it tells of its children, (EXITED or FORK_FAILED, number, code); `on_gone` is called once
    when it has died or, after `close`, ended. Raises OSError if the process cannot be started.
    """

    def __init__(
        self,
        entry: str,
        imports: tuple[str, ...],
        environment: Mapping[str, str],
        on_status: Callable[[Frame, int, int], None],
        on_gone: Callable[[TemplateLink], None],
        setup: tuple[str, str] | None = None,
    ) -> None:
        self.gone = asyncio.Event()
        self._ready = False
        self._on_status = on_status
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._requests: deque[tuple[bytes, tuple[int, ...]]] = deque()
        settings = TemplateSettings(
            entry=entry,
            imports=imports,
            # A script below the working directory names its tasks by its path from there.
            sys_path=tuple(dict.fromkeys((*sys.path, os.getcwd()))),
            argv=tuple(sys.argv),
            python_path=os.environ.get("PYTHONPATH"),
            setup=setup,
        )
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            reading, self._lifeline = os.pipe()
            theirs.callback(os.close, reading)
            ours.callback(os.close, self._lifeline)
            self._control, their_control = socket.socketpair()
            theirs.enter_context(their_control)
            ours.enter_context(self._control)
            self._process = _start((their_control.fileno(), reading), environment)
            ours.pop_all()  # kept open
        with contextlib.suppress(BrokenPipeError):  # it is dead: the reading side tells
            self._control.sendall(frame(Frame.SETTINGS, msgspec.msgpack.encode(settings)))
        self._control.setblocking(False)
        self._loop.add_reader(self._control.fileno(), self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, number: int, link: int, lifeline: int) -> None:
        """Ask for a child that gets these two descriptors; they belong to the template from now on."""
        self._ask(Frame.FORK, number, (link, lifeline))

    def kill(self, number: int) -> None:
        """Ask to kill a child, if it still is one."""
        self._ask(Frame.KILL, number, ())

    async def close(self, grace: float) -> None:
        """End the template, and with it every child it still has; waits up to `grace` seconds before it is killed."""
        if not self.gone.is_set():
            if self._ready:
                self._control.shutdown(socket.SHUT_WR)
            else:
                self._process.kill()  # it listens to nothing while it imports
            try:
                async with asyncio.timeout(grace):
                    await self.gone.wait()
            except TimeoutError:
                self._process.kill()
                await self.gone.wait()

    def _ask(self, kind: Frame, number: int, descriptors: tuple[int, ...]) -> None:
        if self.gone.is_set():
            for descriptor in descriptors:
                os.close(descriptor)
            return
        self._requests.append((CHILD_NUMBER.pack(kind, number), descriptors))
        if self._ready and len(self._requests) == 1:
            self._flush()

    def _flush(self) -> None:
        """Send what is asked for, as far as the socket takes it."""
        try:
            while self._requests:
                request, descriptors = self._requests[0]
                socket.send_fds(self._control, [request], descriptors)
                self._requests.popleft()
                for descriptor in descriptors:
                    os.close(descriptor)
        except BlockingIOError:
            self._loop.add_writer(self._control.fileno(), self._flush)
            return
        except OSError:
            pass  # it is dead: its reading side tells, and gives back the rest
        self._loop.remove_writer(self._control.fileno())

    def _readable(self) -> None:
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        for kind, body in self._reader.feed(data):
            if kind == Frame.READY:
                self._ready = True
                _report(msgspec.msgpack.decode(body, type=Ready))
                self._flush()
            else:
                number, code = CHILD_STATUS.unpack(body)
                self._on_status(Frame(kind), number, code)

    def _end(self) -> None:
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        os.close(self._lifeline)  # whatever made it close its socket: it ends now
        self._process.wait()
        for _, descriptors in self._requests:
            for descriptor in descriptors:
                os.close(descriptor)
        self._requests.clear()
        self.gone.set()
        self._on_gone(self)


def _start(descriptors: tuple[int, int], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A fresh interpreter that finds Heeler where this one does, in a process group that Ctrl-C does not reach."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _PROGRAM, *map(str, descriptors)],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        pass_fds=descriptors,
        process_group=0,
    )


def _report(ready: Ready) -> None:
    for module, failure in ready.failures.items():
        _log.warning(
            "the process pool could not import %s in advance; its children will try again:\n%s", module, failure
        )
    if ready.threads:
        _log.warning(
            "the modules imported by the process pool started %d thread(s), which do not exist in its children; "
            "start threads in an on_startup hook instead",
            ready.threads,
        )
