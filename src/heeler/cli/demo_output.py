"""What `heeler demo` prints: what it is about to do, then what it found and how fast."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from rich.text import Text

import heeler
from heeler.cli.demo_figures import Findings, spread_of
from heeler.cli.durations import duration_text
from heeler.cli.json_fields import dead_letter_fields
from heeler.cli.output import count_text, print_facts, print_lines, say, stdout
from heeler.model import DeadLetter
from heeler.task_result import TaskResult

__all__ = ["findings_fields", "introduce", "show_findings"]


def introduce(files: int, url: str, processes: int) -> None:
    say(f"Heeler {heeler.__version__} on Python {platform.python_version()}", style="bold")
    several = f"{processes} processes" if processes > 1 else "1 process"
    print_facts(
        [
            ("queue", f"{url} (temporary)"),
            ("worker", f"{several}, one job at a time{' in each' if processes > 1 else ''}"),
            ("jobs", f"{files:,}, one per module of the standard library: each parses its file"),
        ],
        indent="  ",
    )


def show_findings(findings: Findings) -> None:
    totals, trips = findings.totals, findings.round_trips
    _show_failure(findings.failed, findings.dead_letter)
    say("")
    say("What is in the standard library", style="bold")
    print_facts(
        [
            ("files", f"{totals.files:,}" + (f", {totals.failed:,} of them failed" if totals.failed else "")),
            ("lines", f"{totals.lines:,}"),
            ("functions", f"{totals.functions:,}"),
            ("classes", f"{totals.classes:,}"),
            ("names", " · ".join(f"{name} {count:,}" for name, count in totals.names.most_common(5))),
        ],
        indent="  ",
    )
    say("")
    say("How fast", style="bold")
    print_facts(
        [
            (
                "rate",
                f"{totals.jobs_per_second:,.0f} jobs per second, {totals.files:,} in {duration_text(totals.seconds)}",
            ),
            ("in line", f"{_spread_text(totals.waits)}   enqueued → started, all sent at once"),
            ("running", f"{_spread_text(totals.runs)}   started → finished"),
            ("idle", f"{_spread_text(trips)}   enqueue → result, {len(trips)} jobs one by one"),
        ],
        indent="  ",
    )


def _spread_text(durations: Sequence[float]) -> str:
    spread = spread_of(durations)
    return f"median {duration_text(spread.median):>7}   p99 {duration_text(spread.p99):>7}"


def _show_failure(failed: TaskResult[Any], letter: DeadLetter) -> None:
    say("")
    say("One job that fails on purpose", style="bold")
    lines = []
    previous = None
    for error in failed.errors:
        later = "" if previous is None else f"+{duration_text(error.at - previous)}"
        attempt = Text(f"  ✗ attempt {error.attempt} of {failed.max_attempts}", style="red")
        lines.append([attempt, Text(later), Text(error.line)])
        previous = error.at
    print_lines(lines)
    kept = f"  kept with {count_text(len(letter.errors), 'traceback')}; heeler dead redrive would run it again"
    stdout().print(Text.assemble(("  → dead letter", "yellow"), kept))


def findings_fields(findings: Findings) -> dict[str, Any]:
    totals = findings.totals
    waits, runs, round_trips = (spread_of(times) for times in (totals.waits, totals.runs, findings.round_trips))
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
        "round_trip_median": round_trips.median,
        "round_trip_p99": round_trips.p99,
        "dead_letter": dead_letter_fields(findings.dead_letter),
    }
