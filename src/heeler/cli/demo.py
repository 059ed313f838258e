"""`heeler demo`: real work on a SQLite file, with nothing else installed and nothing left behind."""

from __future__ import annotations

import os
import platform
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.text import Text

import heeler
from heeler.app import Heeler
from heeler.cli.demo_figures import Spread, Totals, spread_of
from heeler.cli.demo_worker import DEMO_APP, demo_worker
from heeler.cli.durations import duration_text
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import load_app
from heeler.cli.json_fields import dead_letter_fields
from heeler.cli.options import DebugOption, JsonOption
from heeler.cli.output import print_facts, print_json, say, stdout
from heeler.cli.progress import counting
from heeler.config import URL_VARIABLE
from heeler.errors import ResultTimeout
from heeler.gather import as_completed
from heeler.model import DeadLetter, Retry
from heeler.task import Task
from heeler.task_result import TaskResult

__all__ = ["demo", "standard_library"]

PROCESSES = 2
CONCURRENCY = 1
PATIENCE = 60.0  # seconds after which something must be wrong
ROUND_TRIPS = 200
BROKEN_FILE = "broken.py"
FAILING = Retry(max_attempts=3, delay=0.2, jitter=False)


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the demo has to show at its end."""

    totals: Totals
    round_trip: Spread
    failed: TaskResult[Any]
    dead_letter: DeadLetter


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
            _introduce(len(files), url, processes)
        with demo_worker(place, url, processes=processes, concurrency=CONCURRENCY) as worker, _demo_app(url) as app:
            try:
                findings = _run(app, files, place)
            except ResultTimeout as error:
                raise NotDone(f"the demo did not end in time: {error}; {worker.last_words()}") from error
        if json:
            print_json([_as_json(findings)])
        else:
            _show(findings)


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
    os.environ[URL_VARIABLE] = url
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


def _round_trips(greet: Task[..., Any]) -> Spread:
    """How long one job takes from its enqueue to its result while nothing else is to do."""
    durations = []
    for number in range(ROUND_TRIPS):
        begun = time.perf_counter()
        greet.enqueue(f"round trip {number}").get(timeout=PATIENCE)
        durations.append(time.perf_counter() - begun)
    return spread_of(durations)


def _introduce(files: int, url: str, processes: int) -> None:
    say(f"Heeler {heeler.__version__} on Python {platform.python_version()}", style="bold")
    several = f"{processes} processes" if processes > 1 else "1 process"
    print_facts(
        [
            ("queue", f"{url} (temporary)"),
            ("worker", f"{several}, one job at a time in each"),
            ("jobs", f"{files:,}, one per module of the standard library: each parses its file"),
        ],
        indent="  ",
    )
    say("")


def _show(findings: Findings) -> None:
    totals = findings.totals
    _show_failure(findings.failed, findings.dead_letter)
    say("")
    say("What is in the standard library", style="bold")
    print_facts(
        [
            ("files", f"{totals.files:,}" + (f", {totals.failed:,} of them failed" if totals.failed else "")),
            ("lines", f"{totals.lines:,}"),
            ("functions", f"{totals.functions:,}"),
            ("classes", f"{totals.classes:,}"),
            ("names", " · ".join(f"{name} {count:,}" for name, count in totals.names.most_common(6))),
        ],
        indent="  ",
    )
    say("")
    say("How fast", style="bold")
    print_facts(
        [
            (
                "rate",
                f"{totals.jobs_per_second:,.0f} jobs per second ({totals.files:,} in {duration_text(totals.seconds)})",
            ),
            ("in line", f"{_spread_text(spread_of(totals.waits))}   enqueued → started, all sent at once"),
            ("running", f"{_spread_text(spread_of(totals.runs))}   started → finished"),
            ("idle", f"{_spread_text(findings.round_trip)}   enqueue → result, {ROUND_TRIPS} jobs one by one"),
        ],
        indent="  ",
    )


def _spread_text(spread: Spread) -> str:
    return f"median {duration_text(spread.median):>7}   p99 {duration_text(spread.p99):>7}"


def _show_failure(failed: TaskResult[Any], letter: DeadLetter) -> None:
    say("")
    say("One job that fails on purpose", style="bold")
    previous = None
    for error in failed.errors:
        after = "" if previous is None else f", {duration_text(error.at - previous)} later"
        line = f"  ✗ attempt {error.attempt} of {failed.max_attempts}{after}"
        stdout().print(Text.assemble((line, "red"), f"  {error.exception_class_path}: {error.message}"))
        previous = error.at
    stdout().print(Text.assemble(("  → dead letter", "yellow"), f"  {letter.reason}"))
    say("    it is kept with all tracebacks; heeler dead redrive would run it again", style="dim")


def _as_json(findings: Findings) -> dict[str, Any]:
    totals = findings.totals
    waits, runs = spread_of(totals.waits), spread_of(totals.runs)
    return {
        "files": totals.files,
        "failed": totals.failed,
        "lines": totals.lines,
        "functions": totals.functions,
        "classes": totals.classes,
        "names": dict(totals.names.most_common(20)),
        "seconds": totals.seconds,
        "jobs_per_second": totals.jobs_per_second,
        "wait_median": waits.median,
        "wait_p99": waits.p99,
        "run_median": runs.median,
        "run_p99": runs.p99,
        "round_trip_median": findings.round_trip.median,
        "round_trip_p99": findings.round_trip.p99,
        "dead_letter": dead_letter_fields(findings.dead_letter),
    }
