"""`heeler worker --reload`: a parent that starts the worker anew when a source file has changed. For development."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from heeler.cli.output import note
from heeler.errors import ConfigurationError
from heeler.worker.children import STOP_SIGNALS
from heeler.worker.parent_death import end_with_parent

__all__ = ["RELOADED_BY", "end_with_reloader", "is_reloaded", "run_reloading"]

RELOADED_BY = "_HEELER_RELOADED_BY"  # in the environment of a worker that is reloaded: the process that does it
PATIENCE = 3.0  # what running jobs get before a reload; then they are given back, and run again
LOOK_EVERY = 0.2  # whether the worker has ended by itself


def is_reloaded() -> bool:
    """Whether this process is a worker that another one reloads."""
    return RELOADED_BY in os.environ


def end_with_reloader() -> None:
    """Called in a worker that is reloaded: it shall not outlive who does that."""
    end_with_parent(int(os.environ[RELOADED_BY]))


def run_reloading(folders: Sequence[str]) -> int:
    """Run this very command in a child until stopped, anew after each change below `folders`; its last exit code.

    A worker that fails is started again at the next change. Raises ConfigurationError without the extra
    `heeler[reload]`, or for a folder that is not there.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles: pip install 'heeler[reload]'") from None
    for folder in folders:
        if not os.path.isdir(folder):
            raise ConfigurationError(f"--reload-dir {folder}: there is no such folder")
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    worker = _Worker()
    note(f"watching {', '.join(str(Path(folder).resolve()) for folder in folders)} for changes")
    changes = watch(
        *folders,
        watch_filter=PythonFilter(extra_extensions=(".toml",)),
        stop_event=stopping,
        rust_timeout=int(LOOK_EVERY * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    for changed in changes:
        if changed:
            files = sorted({os.path.relpath(path) for _, path in changed})
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            note(f"{', '.join(files[:3])}{more} changed, reloading")
            worker.end(PATIENCE)
            worker = _Worker()
        elif worker.has_ended_well():
            break
    return worker.end(None)


class _Worker:
    """A child process with this command line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, RELOADED_BY: str(os.getpid())},
            process_group=0,  # a Ctrl-C reaches it once, by way of its parent
        )
        self._told = False

    def has_ended_well(self) -> bool:
        """Whether it has done what it was to do. If it has failed, that is said, once."""
        code = self._process.poll()
        if code is not None and code != 0 and not self._told:
            self._told = True
            note(f"the worker ended with exit code {code}; it starts again when a file changes")
        return code == 0

    def end(self, patience: float | None) -> int:
        """Ask it to end, after `patience` seconds in haste; its exit code."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            if patience is not None:
                deadline = time.monotonic() + patience
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                if process.poll() is None:
                    process.terminate()  # a second time: it gives everything back at once
        return process.wait()
