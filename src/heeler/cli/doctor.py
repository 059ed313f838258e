"""`heeler doctor`: connects, and says what is well and what is risky."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

import typer
from rich.text import Text

import heeler
from heeler.app import Heeler
from heeler.cli.exit_codes import ExitCode
from heeler.cli.find_app import find_app
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import count_text, print_json, print_lines, say
from heeler.contracts import Needs, QueueSize
from heeler.model import WorkerPresence

__all__ = ["Finding", "doctor", "judge_queues", "judge_workers", "look_at_app", "look_at_broker"]

_MARKS = {"ok": ("✓", "green"), "info": ("·", "dim"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


class Finding(NamedTuple):
    """`level` is ok, info, warning or problem."""

    level: str
    topic: str
    text: str


def doctor(app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Connect, and check durability, versions, clocks and settings.

    The exit code is 1 if there is a problem, 3 if the broker cannot be reached.
    """
    with find_app(app) as found:
        findings = look_at_app(found)
        _show(findings, json)
        more = look_at_broker(found)
        _show(more, json)
        problems = sum(finding.level == "problem" for finding in findings + more)
        warnings = sum(finding.level == "warning" for finding in findings + more)
        if not json:
            say("")
            say(_summary(problems, warnings), style="bold")
        if problems:
            raise typer.Exit(ExitCode.FAILED)


def look_at_app(app: Heeler) -> list[Finding]:
    """What can be said without a connection."""
    findings = [Finding("info", "versions", _versions()), Finding("info", "broker", app.connections.shown_url)]
    if app.tasks:
        findings.append(Finding("ok", "tasks", f"{count_text(len(app.tasks), 'task')} registered"))
    else:
        findings.append(
            Finding(
                "warning", "tasks", "none registered: a worker of this app runs nothing; name their modules in imports"
            )
        )
    if not app.connections.broker.features.shared:
        findings.append(
            Finding(
                "warning", "broker", "only this process sees its jobs; a URL like sqlite:///jobs.db reaches workers"
            )
        )
    if app.connections.store is None:
        findings.append(
            Finding("warning", "results", "none are stored: waiting, cancelling and caller-given ids need a store")
        )
    if app.lease < 5:
        findings.append(
            Finding(
                "warning", "lease", f"{app.lease:g} s is short: a worker that pauses so long loses its running jobs"
            )
        )
    endless = sorted(task.name for task in app.tasks.values() if task.options.retry.max_attempts is None)
    if endless:
        findings.append(
            Finding(
                "warning", "retry", f"{', '.join(endless)} is retried for ever: such a job never becomes a dead letter"
            )
        )
    return findings


def look_at_broker(app: Heeler) -> list[Finding]:
    """What only the open broker can tell. Raises BrokerUnavailable."""
    connections = app.connections
    broker = connections.opened_blocking()
    findings = [Finding("ok", "connection", "the broker answers")]
    findings += [Finding(*finding) for finding in connections.io.run(broker.doctor())]
    findings += [Finding(*finding) for finding in broker.caveats(_needs(app))]
    workers = connections.io.run(broker.control.live()) if broker.control is not None else None
    if workers is not None:
        findings += judge_workers(workers)
    if broker.admin is not None:
        findings += judge_queues(app.queues.sizes(), workers)
    return findings


def _needs(app: Heeler) -> Needs:
    options = {task.name: task.options for task in app.tasks.values()}
    return Needs(
        priorities=any(one.priority for one in options.values()),
        timeouts={name: one.timeout for name, one in options.items()},
    )


def judge_workers(workers: Sequence[WorkerPresence]) -> list[Finding]:
    """Who is there, and whether all run the same version."""
    if not workers:
        return [Finding("info", "workers", "none is live")]
    names = ", ".join(f"{worker.name} on {worker.host}" for worker in workers[:5])
    more = ", …" if len(workers) > 5 else ""
    findings = [Finding("ok", "workers", f"{len(workers)} live: {names}{more}")]
    others = sorted({worker.version for worker in workers} - {heeler.__version__})
    if others:
        findings.append(
            Finding("warning", "versions", f"workers run {', '.join(others)}, this command {heeler.__version__}")
        )
    return findings


def judge_queues(sizes: Sequence[QueueSize], workers: Sequence[WorkerPresence] | None) -> list[Finding]:
    """What waits where nobody takes it, and what was given up. `workers` is None where they cannot be known."""
    findings = []
    taken = {queue for worker in workers or () for queue in worker.queues}
    for size in sizes:
        waiting = count_text(size.waiting, "job")
        if size.paused:
            findings.append(Finding("warning", "queues", f"{size.queue} is paused, {waiting} waiting"))
        elif size.waiting and workers is not None and size.queue not in taken:
            findings.append(Finding("warning", "queues", f"{size.queue} has {waiting} waiting and no live worker"))
    dead = sum(size.dead for size in sizes)
    if dead:
        findings.append(Finding("warning", "dead letters", f"{dead:,}: heeler dead list shows them"))
    return findings


def _versions() -> str:
    loop = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    return f"heeler {heeler.__version__}, Python {platform.python_version()}, msgspec {version('msgspec')}, {loop}"


def _show(findings: list[Finding], json: bool) -> None:
    if json:
        print_json(finding._asdict() for finding in findings)
        return
    marks = [_MARKS.get(finding.level, _MARKS["info"]) for finding in findings]
    print_lines(
        [
            (Text.assemble(mark, " ", (f"{topic:<12}", "dim")), Text(text))
            for mark, (_, topic, text) in zip(marks, findings, strict=True)
        ]
    )


def _summary(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "all is well"
    said = [count_text(problems, "problem")] if problems else []
    return ", ".join([*said, count_text(warnings, "warning")] if warnings else said)
