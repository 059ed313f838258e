"""The template of the process pool: a process with one thread that imports the tasks once and forks children.

A worker has threads, and a fork copies whatever locks they hold; this process has none. It is started by
`heeler.executors.template_link` as `python -m heeler.executors.process_template CONTROL LIFELINE`, two descriptors.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from types import FrameType

import msgspec

from heeler.executors.frames import CHILD_NUMBER, CHILD_STATUS, Frame, FrameReader, Ready, TemplateSettings, frame
from heeler.executors.lifeline import die_when_cut
from heeler.executors.process_child import live

__all__ = ["main"]


class _Template:
    """Forks and reaps children until the worker closes the control socket."""

    def __init__(self, control: socket.socket, own: tuple[int, ...], entry: str) -> None:
        self._control = control
        self._own = own  # descriptors that children have no business with
        self._entry = entry
        self._numbers: dict[int, int] = {}  # pid → the worker's number for that child
        self._woken, self._wake = socket.socketpair()

    def serve(self) -> None:
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, _go_on)
        signal.set_wakeup_fd(self._wake.fileno())
        self._reap()
        events = select.poll()
        events.register(self._control, select.POLLIN)
        events.register(self._woken, select.POLLIN)
        while True:
            readable = {descriptor for descriptor, _ in events.poll()}
            if self._woken.fileno() in readable:
                self._woken.recv(4096)
                self._reap()
            if self._control.fileno() in readable and not self._obey():
                return

    def end_children(self) -> None:
        for pid in self._numbers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._numbers:
            os.waitpid(pid, 0)

    def _obey(self) -> bool:
        """Carry out one request; False when the worker has closed the socket."""
        data, descriptors, _, _ = socket.recv_fds(self._control, CHILD_NUMBER.size, 2)
        if not data:
            return False
        kind, number = CHILD_NUMBER.unpack(data)
        if kind == Frame.FORK:
            self._fork(number, *descriptors)
        else:
            for pid, known in self._numbers.items():
                if known == number:
                    os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, number: int, link: int, lifeline: int) -> None:
        os.set_inheritable(link, False)
        os.set_inheritable(lifeline, False)
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Frame.FORK_FAILED, number, error.errno or 0)
        else:
            if pid == 0:
                self._become_child(link, lifeline)
            self._numbers[pid] = number
        os.close(link)
        os.close(lifeline)

    def _become_child(self, link: int, lifeline: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (self._control, self._woken, self._wake):
                inherited.close()
            for descriptor in self._own:
                os.close(descriptor)
            live(socket.socket(fileno=link), lifeline, self._entry)
            status = 0
        except ConnectionError:
            pass  # the worker is gone, and with it whoever could want to know
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # never back into the template's own frames

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                self._tell(Frame.EXITED, number, os.waitstatus_to_exitcode(status))

    def _tell(self, kind: Frame, number: int, code: int) -> None:
        self._control.sendall(frame(kind, CHILD_STATUS.pack(number, code)))


def _go_on(number: int, where: FrameType | None) -> None:
    """Unlike an ignored signal, one that is caught and not acted on is not handed down to what a task starts."""


def _preload(names: Iterable[str]) -> dict[str, str]:
    """Import the modules; the traceback of each that fails. The children then try for themselves, call by call."""
    failures: dict[str, str] = {}
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:
            failures[name] = traceback.format_exc()
    return failures


def _set_up(function: str, argument: str) -> dict[str, str]:
    """Call what the worker wants called once; the traceback if that fails."""
    module, _, name = function.partition(":")
    try:
        getattr(importlib.import_module(module), name)(argument)
    except Exception:
        return {function: traceback.format_exc()}
    return {}


def _receive_settings(control: socket.socket) -> TemplateSettings:
    reader = FrameReader()
    while data := control.recv(1 << 16):
        for _, body in reader.feed(data):
            return msgspec.msgpack.decode(body, type=TemplateSettings)
    raise SystemExit("the worker went away before it said what to import")


def main(control_descriptor: int, lifeline: int) -> None:
    # A copy: the worker takes the closing of the socket for our end, so the descriptor itself stays open until then.
    control = socket.fromfd(control_descriptor, socket.AF_UNIX, socket.SOCK_STREAM)
    os.set_inheritable(control_descriptor, False)
    os.set_inheritable(lifeline, False)
    die_when_cut(lifeline)
    # The worker decides when running calls end; signals to the terminal or the whole service are its affair.
    signal.signal(signal.SIGINT, _go_on)
    signal.signal(signal.SIGTERM, _go_on)
    settings = _receive_settings(control)
    if settings.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = settings.python_path
    sys.path[:] = settings.sys_path
    sys.argv[:] = settings.argv
    failures = _preload([settings.entry.partition(":")[0], *settings.imports])
    if settings.setup is not None:
        failures |= _set_up(*settings.setup)
    gc.collect()
    gc.freeze()  # the children share these pages as long as the collector does not touch them
    ready = Ready(failures, threading.active_count() - 1)
    control.sendall(frame(Frame.READY, msgspec.msgpack.encode(ready)))
    with control:
        template = _Template(control, (control_descriptor, lifeline), settings.entry)
        try:
            template.serve()
        finally:
            template.end_children()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
