"""The command `heeler` in processes of its own, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 30.0


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """A working directory with the app of `shop.py`, and the command `heeler` in it."""

    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "heeler", *arguments]

    def heeler(self, *arguments: str, input: str = "", **environment: str) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment | environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `heeler worker`; it is ended with the test."""
        worker = subprocess.Popen(
            self.command("worker", *arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(worker)
        return worker

    def enqueue(self, *arguments: str) -> str:
        done = self.heeler("enqueue", *arguments)
        assert done.code == 0, done.err
        return done.out.strip()


def wait_for_file(file: Path, worker: subprocess.Popen[str]) -> None:
    """Return when a job of this worker has made the file."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert worker.poll() is None, "the worker has ended"
        assert time.monotonic() < deadline, f"no job made {file.name}"
        time.sleep(0.01)


def read_until(worker: subprocess.Popen[str], text: str) -> str:
    """What the worker writes to stderr, up to and with the line that contains `text`."""
    assert worker.stderr is not None
    lines = []
    for line in worker.stderr:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"the worker ended before {text!r}: {''.join(lines)}")
