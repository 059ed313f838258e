"""`heeler demo`: real work on a SQLite file, with nothing else installed and nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from heeler.app import Heeler
from heeler.cli.demo_figures import Findings, Totals
from heeler.cli.demo_output import findings_fields, introduce, show_findings
from heeler.cli.demo_worker import DEMO_APP, demo_environment, demo_worker
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import load_app
from heeler.cli.options import DebugOption, JsonOption
from heeler.cli.output import print_json
from heeler.cli.progress import counting
from heeler.errors import ResultTimeout
from heeler.gather import as_completed
from heeler.model import Retry
from heeler.task import Task

__all__ = ["demo", "standard_library"]

PROCESSES = 2
CONCURRENCY = 1
PATIENCE = 60.0  # seconds after which something must be wrong
ROUND_TRIPS = 200
BROKEN_FILE = "broken.py"
FAILING = Retry(max_attempts=3, delay=0.2, jitter=False)


def demo(
    processes: Annotated[
        int, typer.Option("--processes", "-p", metavar="N", min=1, help="Worker processes.")
    ] = PROCESSES,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """See it work: one job for each module of the standard library.

    Each job parses its file and counts what is in it. The queue is a SQLite file in a temporary folder, the worker
    has two processes. One more job fails on purpose, to show its retries and the dead letter. Everything is removed
    at the end.
    """
    files = list(standard_library())
    if not files:
        raise NotDone(f"there are no source files of the standard library in {sysconfig.get_path('stdlib')}")
    for told_to_end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told_to_end, _leave)
    with tempfile.TemporaryDirectory(prefix="heeler-demo-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve()
        url = f"sqlite:///{place}/jobs.db"
        if not json:
            introduce(len(files), url, processes)
        with demo_worker(place, url, processes=processes, concurrency=CONCURRENCY) as worker, _demo_app(url) as app:
            try:
                findings = _run(app, files, place)
            except ResultTimeout as error:
                raise NotDone(f"the demo did not end in time: {error}; {worker.last_words()}") from error
        if json:
            print_json([findings_fields(findings)])
        else:
            show_findings(findings)


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind, so that the worker is ended and the folder removed, when this process is told to end."""
    sys.exit(128 + number)


def standard_library() -> Iterator[Path]:
    """The source file of every module of the standard library on this machine (without Python's own tests)."""
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        if (root / f"{name}.py").is_file():
            yield root / f"{name}.py"
        elif (root / name / "__init__.py").is_file():
            yield from _modules_of(root / name)


def _modules_of(package: Path) -> Iterator[Path]:
    for entry in sorted(package.iterdir()):
        if entry.suffix == ".py" and entry.is_file():
            yield entry
        elif (entry / "__init__.py").is_file():
            yield from _modules_of(entry)


def _demo_app(url: str) -> Heeler:
    # The app is made when its module is imported, here as in the worker, and reads where its broker is.
    for name in set(os.environ) - set(environment := demo_environment(url)):
        del os.environ[name]
    os.environ.update(environment)
    return load_app(DEMO_APP)


def _run(app: Heeler, files: list[Path], place: Path) -> Findings:
    survey, greet = app.tasks["survey"], app.tasks["greet"]
    greet.enqueue("worker").get(timeout=PATIENCE)  # when it answers, the worker has started
    (place / BROKEN_FILE).write_text("def unfinished(:\n")
    broken = survey.using(retry=FAILING, priority=10).enqueue(str(place / BROKEN_FILE))
    totals = Totals()
    with counting("parsing", len(files), keep=True) as count:
        for result in as_completed(survey.enqueue_many([(str(file),) for file in files]), timeout=PATIENCE):
            totals.add(result)
            count(totals.files)
    broken.join(timeout=PATIENCE)
    dead_letter = app.dead_letters.show(broken.id)
    if dead_letter is None:
        raise NotDone(f"the job that was to fail ended {broken.status} and is not among the dead letters")
    return Findings(totals, _round_trips(greet), broken, dead_letter)


def _round_trips(greet: Task[..., Any]) -> list[float]:
    """How long one job takes from its enqueue to its result while nothing else is to do."""
    durations = []
    for number in range(ROUND_TRIPS):
        begun = time.perf_counter()
        greet.enqueue(f"round trip {number}").get(timeout=PATIENCE)
        durations.append(time.perf_counter() - begun)
    return durations
