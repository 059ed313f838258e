"""The worker of `heeler demo`: the same command that a user would start, ended with the demo whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from heeler.config import CONFIG_VARIABLE, PREFIX, URL_VARIABLE
from heeler.executors.lifeline import die_when_cut

__all__ = ["DEMO_APP", "DemoWorker", "demo_environment", "demo_worker"]

DEMO_APP = "heeler.cli.demo_job:app"
_GRACE = 10.0  # seconds for an orderly end


class DemoWorker:
    """The running worker process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def last_words(self) -> str:
        """The end of its log: what to show when the demo cannot go on."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        ended = self._process.poll()
        state = "is still running" if ended is None else f"ended with exit code {ended}"
        return f"the worker {state}; its last lines: {' | '.join(lines[-3:]) or 'none'}"


def demo_environment(url: str) -> dict[str, str]:
    """This environment without the settings of whatever project the demo is run in."""
    foreign = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return {**foreign, CONFIG_VARIABLE: os.devnull, URL_VARIABLE: url}


@contextlib.contextmanager
def demo_worker(folder: Path, url: str, *, processes: int, concurrency: int) -> Iterator[DemoWorker]:
    """Run `heeler worker` with its log in `folder`; it ends with the block, or at once if this process is killed."""
    log = folder / "worker.log"
    command = [sys.executable, "-m", "heeler", "worker", "--app", DEMO_APP]
    command += ["--processes", str(processes), "--concurrency", str(concurrency)]
    lifeline, our_end = os.pipe()
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=demo_environment(url),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lifeline,),
                preexec_fn=lambda: die_when_cut(lifeline),
            )
        try:
            yield DemoWorker(process, log)
        finally:
            _end(process)
    finally:
        os.close(lifeline)
        os.close(our_end)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
