"""The processes of `heeler worker`: one that works, or several with one more that tells how they are."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from heeler.app import Heeler
from heeler.cli.exit_codes import ExitCode, explain
from heeler.errors import BrokerUnavailable
from heeler.worker.children import EXIT_GAVE_UP, EXIT_RECYCLE, STOP_SIGNALS, Children
from heeler.worker.health_door import HealthPlace
from heeler.worker.health_gateway import HealthGateway

__all__ = ["Wanted", "run_several"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the worker."""

    queues: list[str] | dict[str, int] | None
    tasks: list[str] | None
    concurrency: int
    processes: int
    name: str | None
    grace: float
    burst: bool
    max_jobs_per_child: int | None
    scheduler: bool
    health: HealthPlace

    @property
    def at_once(self) -> str:
        """How much may run at the same time."""
        jobs = f"{self.concurrency} jobs at once"
        return f"{self.processes} processes, {jobs} in each" if self.processes > 1 else jobs

    def run(self, app: Heeler, health: HealthPlace, number: int | None = None) -> int:
        """Work until stopped, as the process of that number among several; the exit code."""
        running = app.worker(
            self.queues,
            self.tasks,
            concurrency=self.concurrency,
            name=self.name if number is None else f"{self.name or 'worker'}-{number}",
            grace=self.grace,
            burst=self.burst,
            max_jobs_per_child=self.max_jobs_per_child,
            scheduler=self.scheduler,
        )
        running.health = health
        for number in STOP_SIGNALS:  # until it handles them itself, and after
            signal.signal(number, lambda number, frame: running.stop())
        running.run()
        if running.exit_code == EXIT_RECYCLE and _was_told_late():
            return 0
        return running.exit_code


def _was_told_late() -> bool:
    """Before this program is replaced by a new one: let a stop signal end it, now that it has nothing in hand.

    Whether one came too late to be handled, and too early for that.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)  # from here on each one that Python takes in leaves a byte
    signal.pthread_sigmask(signal.SIG_BLOCK, ())  # runs the handlers of those that it took in before
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.close(writing)
    with open(reading, "rb") as told:
        return bool(told.read())


def run_several(app: Heeler, wanted: Wanted, debug: bool) -> int:
    """Work in several processes until all have ended; the exit code."""
    told = wanted.health
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="heeler-")) if told.is_anywhere else None

        def work(number: int) -> int:
            socket = None if folder is None else f"{folder}/{number}"
            with app:
                return wanted.run(app, HealthPlace(socket=socket, patience=told.patience), number)

        gateway = None if folder is None else HealthGateway(folder, wanted.processes, told, app.logger, _merge())
        return Children(
            wanted.processes,
            lambda number: _guarded(lambda: work(number), debug),
            app.logger,
            None if gateway is None else lambda: _guarded(gateway.run, debug),
        ).run()


def _merge() -> Callable[[Sequence[tuple[str, str]]], bytes] | None:
    """What makes one text of the metrics of several processes; None without the extra `heeler[prometheus]`."""
    if find_spec("prometheus_client") is None:
        return None
    from heeler.prometheus import merged

    return merged


def _guarded(work: Callable[[], int], debug: bool) -> int:
    """Its exit code, also where it fails."""
    try:
        return work()
    except Exception as error:
        code = explain(error, debug=debug)
        given_up = isinstance(error, BrokerUnavailable) and error.given_up
        return ExitCode.FAILED if code == EXIT_GAVE_UP and not given_up else code
