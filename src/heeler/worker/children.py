"""`--processes N`: a parent that does no work itself, restarts worker processes that die, and ends with them."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec

from heeler.worker.parent_death import end_with_parent

__all__ = ["EXIT_GAVE_UP", "EXIT_RECYCLE", "STOP_SIGNALS", "Children"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_RECYCLE = 75  # EX_TEMPFAIL: the process is worn out by abandoned threads; another one shall take its place
EXIT_USAGE = 2  # wrong settings: the next process would end in the same way
EXIT_GAVE_UP = 3  # the broker could not be reached as often as its URL allows, and neither could it by the next one
LIVED_LONG = 10.0  # who lived so long did not die of its start
FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
FAREWELL = 2.0


class _Child(msgspec.Struct):
    """One place for a process. `pid` is 0 while nobody has it; `start_at` is when somebody shall."""

    number: int
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0  # one soon after the other
    over: bool = False


class Children:
    """Forks `count` processes that each call `work(number)` and exit with what it returns.

    A process that dies, or exits with `EXIT_RECYCLE`, is replaced, with growing delays if that happens at once.
    One that exits with 0 has done what it was to do; one that exits with 2 cannot work, and one that exits with 3 has
    given up the broker, so all are stopped. `beside` is the work of one more process, which serves as long as others
    live. SIGTERM and SIGINT go on to the workers; they have process groups of their own, so a Ctrl-C reaches them once.
    If the parent is killed they get SIGTERM from the kernel.

    To be run before any thread is started, on the main thread.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int], int],
        logger: logging.Logger,
        beside: Callable[[], int] | None = None,
    ) -> None:
        self._workers = [_Child(number) for number in range(1, count + 1)]
        self._beside = _Child(0)
        self._children = self._workers if beside is None else [self._beside, *self._workers]
        self._work: Callable[[int], int] = lambda number: work(number) if number or beside is None else beside()
        self._logger = logger.getChild("children")
        self._stopping = False
        self._exit_code = 0

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [child.pid for child in self._children if child.pid]

    def run(self) -> int:
        """Return when all have ended for good: the exit code for this process."""
        with self._signals() as wake:
            while True:
                self._start_due()
                if all(child.over for child in self._workers):
                    self._end_beside()
                    return self._exit_code
                select.select([wake], [], [], self._until_next_start())
                _drain(wake)
                self._reap()

    def _end_beside(self) -> None:
        """Nobody is left for it to serve. It is given a moment to tidy up."""
        pid, deadline = self._beside.pid, time.monotonic() + FAREWELL
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)  # it may be dead, but has not been reaped
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self._beside.pid = 0

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid == 0 and not child.over:
                if self._stopping:
                    child.over = True
                elif child.start_at <= now:
                    self._fork(child)

    def _until_next_start(self) -> float | None:
        waiting = [child.start_at for child in self._children if child.pid == 0 and not child.over]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _fork(self, child: _Child) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers must not run the parent's.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._live(child, parent, blocked)
        child.pid = pid
        child.started_at = time.monotonic()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _live(self, child: _Child, parent: int, blocked: set[int | signal.Signals]) -> None:
        """The life of a child process; never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (*STOP_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            code = self._work(child.number)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    child.pid = 0
                    self._judge(child, os.waitstatus_to_exitcode(status))

    def _judge(self, child: _Child, code: int) -> None:
        """What follows from the end of a process."""
        if child is self._beside and (code == 0 or self._stopping):
            child.over = True
            return
        if code == 0 or self._stopping:
            child.over = True
            # One that had no handlers yet, or no more, dies of our SIGTERM, with nothing in hand.
            if code not in (0, EXIT_RECYCLE, -signal.SIGTERM) and self._exit_code == 0:
                self._exit_code = code if code > 0 else 1
            return
        if code in (EXIT_USAGE, EXIT_GAVE_UP):
            what = "cannot work" if code == EXIT_USAGE else "has given up the broker"
            self._logger.error("%s %s (exit code %d); stopping", self._called(child), what, code)
            child.over = True
            self._exit_code = code
            self._forward(signal.SIGTERM)
            return
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        delay = self._delay(child, recycled=code == EXIT_RECYCLE)
        child.start_at = time.monotonic() + delay
        self._logger.log(
            logging.INFO if code == EXIT_RECYCLE else logging.WARNING,
            "%s ended (%s); another one starts %s",
            self._called(child),
            how,
            "now" if delay == 0 else f"in {delay:.1f} s",
        )

    def _called(self, child: _Child) -> str:
        return "the process beside the workers" if child is self._beside else f"worker process {child.number}"

    def _delay(self, child: _Child, *, recycled: bool) -> float:
        if recycled or time.monotonic() - child.started_at >= LIVED_LONG:
            child.deaths = 0
            return 0.0
        child.deaths += 1
        return 0.0 if child.deaths == 1 else min(FIRST_DELAY * 2.0 ** (child.deaths - 2), LONGEST_DELAY)

    def _forward(self, number: int) -> None:
        self._stopping = True
        for child in self._workers:
            if child.pid:
                try:
                    os.kill(child.pid, number)
                except ProcessLookupError:
                    pass  # it is dead, and will be reaped

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Every signal makes the yielded file readable; those for the children go on to them."""

        def forward(number: int, frame: FrameType | None) -> None:
            self._forward(signal.SIGTERM)

        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:  # for good: one that comes late must not kill a parent that has ended in order
            signal.signal(number, forward)
        before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGCHLD, before)
            os.close(reading)
            os.close(writing)


def _drain(reading: int) -> None:
    try:
        while os.read(reading, 4096):
            pass
    except BlockingIOError:
        pass
