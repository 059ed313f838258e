"""The oracle of the fault tests: what producers were told, what runs did and what of it was accepted, on one timeline.

Every process appends whole lines to one file, so that no death of a process can take back what it wrote. Each line also
rings a bell, a datagram socket of the test's, so that the test waits for events and never for time to pass.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Entry(NamedTuple):
    """`job` is the job's id, `run` names one run of it, `at` is the machine's monotonic clock."""

    event: str
    job: str
    run: str
    pid: int
    at: float


class LedgerWriter:
    """What tasks and producers write with."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._bell.setblocking(False)
        self._bell_path = f"{path}.bell"

    def write(self, event: str, job: str, run: str = "-") -> None:
        line = f"{event} {job} {run} {os.getpid()} {time.monotonic():.6f}\n"
        os.write(self._file, line.encode())  # one write of a short line with O_APPEND: never torn, never lost
        with contextlib.suppress(OSError):  # nobody listens, or more rings than it can hold: it is awake anyway
            self._bell.sendto(b"", self._bell_path)

    def close(self) -> None:
        os.close(self._file)
        self._bell.close()


class Account(NamedTuple):
    """The numbers of a fault test. `missing` lists the enqueued jobs of which no run was accepted, `twice` those of
    which two were."""

    enqueued: int
    started: int
    accepted: int
    repeated: int
    missing: list[str]
    twice: list[str]

    def __str__(self) -> str:
        return (
            f"enqueued {self.enqueued}, runs started {self.started}, ends accepted {self.accepted}, "
            f"jobs run again {self.repeated}, never accepted {len(self.missing)}, accepted twice {len(self.twice)}"
        )


class Ledger:
    """What the test reads with."""

    def __init__(self, path: Path, look_around: Callable[[], None] = lambda: None) -> None:
        """`look_around` is called while the test waits: it raises where waiting is in vain."""
        self.path = path
        self.look_around = look_around
        self.entries: list[Entry] = []
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._bell.setblocking(False)
        self._bell.bind(f"{path}.bell")

    def close(self) -> None:
        self._file.close()
        self._bell.close()

    def of(self, event: str, job: str | None = None) -> list[Entry]:
        """The entries of one kind so far, of one job or of all."""
        self._read()
        return [entry for entry in self.entries if entry.event == event and job in (None, entry.job)]

    def wait_for(self, condition: Callable[[], T], what: str, timeout: float = 20.0) -> T:
        """Wait until `condition` holds, looking again after each event. Fails after `timeout` seconds."""
        answer = self.wait_up_to(timeout, condition)
        if not answer:
            counts = Counter(entry.event for entry in self.entries)
            seen = ", ".join(f"{number} {event}" for event, number in counts.items()) or "nothing"
            raise AssertionError(f"{what}: not within {timeout:g} s; the ledger has {seen}")
        return answer

    def wait_up_to(self, timeout: float, condition: Callable[[], T]) -> T:
        """The same, but after `timeout` seconds the answer is whatever `condition` says then."""
        deadline = time.monotonic() + timeout
        while True:
            self._read()
            answer = condition()
            left = deadline - time.monotonic()
            if answer or left <= 0:
                return answer
            self.look_around()
            select.select([self._bell], [], [], min(left, 1.0))
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._bell.recv(1)

    def wait_for_event(self, event: str, job: str | None = None, count: int = 1, timeout: float = 20.0) -> list[Entry]:
        """Wait until there are `count` entries of that kind; returns them."""

        def enough() -> list[Entry]:
            found = self.of(event, job)
            return found if len(found) >= count else []

        return self.wait_for(enough, f"{count} {event}" + (f" of job {job}" if job else ""), timeout)

    def account(self) -> Account:
        """Draw up the numbers. `accepted` entries are written by follow-ups, which only an accepted end lets go."""
        enqueued = {entry.job for entry in self.of("enqueued")}
        started = Counter(entry.job for entry in self.of("started"))
        accepted: dict[str, set[str]] = {}
        for entry in self.of("accepted"):
            accepted.setdefault(entry.job, set()).add(entry.run)
        return Account(
            enqueued=len(enqueued),
            started=sum(started.values()),
            accepted=len(accepted),
            repeated=sum(1 for times in started.values() if times > 1),
            missing=sorted(enqueued - accepted.keys()),
            twice=sorted(job for job, runs in accepted.items() if len(runs) > 1),
        )

    def _read(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            event, job, run, pid, at = line.decode().split()
            self.entries.append(Entry(event, job, run, int(pid), float(at)))
