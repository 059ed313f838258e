"""`heeler workers …`: who works on the app's queues now, and words that reach them by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from heeler.app import Heeler
from heeler.cli.completion import worker_names
from heeler.cli.durations import brief_duration, duration_text
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import worker_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import Column, print_facts, print_json, print_table, say, size_text
from heeler.model import RunningJob, WorkerPresence

__all__ = ["job_rows", "worker_rows", "workers"]

workers = typer.Typer(
    rich_markup_mode=None,
    help="List the live workers; quiet or stop them by name.",
    invoke_without_command=True,
)

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="One or more workers, by name or id.", show_default=False, autocompletion=worker_names
    ),
]
EveryoneOption = Annotated[bool, typer.Option("--all", help="Every live worker.", show_default=False)]

WORKER_COLUMNS = [
    Column("NAME", folds=True, least=10, style="bold"),
    Column("HOST", folds=True),
    Column("PID", right=True),
    Column("STATE"),
    Column("JOBS", right=True),
    Column("RATE", right=True),
    Column("MEMORY", right=True),
    Column("UP", right=True),
    Column("VERSION"),
    Column("QUEUES", folds=True),
]
JOB_COLUMNS = [
    Column("RUNNING JOB", width=36),
    Column("TASK", folds=True),
    Column("WORKER", folds=True),
    Column("AGE", right=True),
    Column("PROGRESS", folds=True),
]


@workers.callback()
def workers_command(
    context: typer.Context, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False
) -> None:
    """List the live workers and what they run; quiet or stop them by name."""
    if context.invoked_subcommand is None:
        _list(app, json)


@workers.command("list")
def list_workers(app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Show the live workers and what they run now."""
    _list(app, json)


@workers.command()
def quiet(
    names: NamesArgument = None,
    everyone: EveryoneOption = False,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let workers take no more jobs; what they have goes on."""
    _tell(names, everyone, app, json, "takes no more jobs", lambda heeler, ids: heeler.quiet_workers(*ids))


@workers.command()
def stop(
    names: NamesArgument = None,
    everyone: EveryoneOption = False,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stop workers as a SIGTERM does: they finish what runs, within their grace."""
    _tell(names, everyone, app, json, "stops", lambda heeler, ids: heeler.stop_workers(*ids))


def _list(app: str | None, json: bool) -> None:
    with find_app(app) as heeler:
        live = sorted(heeler.live_workers(), key=lambda worker: (worker.name, worker.host, worker.pid))
        if json:
            print_json(worker_fields(worker) for worker in live)
        elif live:
            print_table(WORKER_COLUMNS, worker_rows(live, time.time()))
            rows = job_rows(live)
            if rows:
                say("")
                print_table(JOB_COLUMNS, rows)
        else:
            say(f"no worker is live on {heeler.connections.shown_url}: start one with heeler worker")


def worker_rows(live: Sequence[WorkerPresence], now: float) -> list[list[str]]:
    """A row of `WORKER_COLUMNS` for each worker."""
    return [
        [
            worker.name,
            worker.host,
            str(worker.pid),
            worker.state,
            f"{worker.running}/{worker.concurrency}",
            f"{worker.rate:,.0f}/s" if worker.rate >= 9.95 else f"{worker.rate:.1f}/s",
            size_text(worker.memory) if worker.memory else "-",
            brief_duration(max(0.0, now - worker.started_at)),
            worker.version,
            ", ".join(worker.queues),
        ]
        for worker in live
    ]


def job_rows(live: Sequence[WorkerPresence]) -> list[list[str]]:
    """A row of `JOB_COLUMNS` for each running job that a worker has named; last, how many it has not."""
    rows = []
    for worker in live:
        rows += [[job.id, job.task, worker.name, duration_text(job.age), progress_text(job)] for job in worker.jobs]
        if worker.running > len(worker.jobs) > 0:
            rows.append([f"… and {worker.running - len(worker.jobs)} more", "", worker.name, "", ""])
    return rows


def progress_text(job: RunningJob) -> str:
    """How far a job says it is."""
    said = [] if job.fraction is None else [f"{job.fraction:.0%}"]
    return " ".join([*said, job.message] if job.message else said) or "-"


def _tell(
    names: list[str] | None,
    everyone: bool,
    app: str | None,
    json: bool,
    effect: str,
    tell: Callable[[Heeler, list[str]], list[WorkerPresence]],
) -> None:
    if bool(names) == everyone:
        raise typer.BadParameter("which workers? Give their names, or --all")
    with find_app(app) as heeler:
        live = heeler.live_workers(0)
        wanted = [worker.id for worker in live] if everyone else list(names or ())
        known = {name for worker in live for name in (worker.id, worker.name)}
        missing = [name for name in wanted if name not in known]
        if missing:
            there = ", ".join(sorted({worker.name for worker in live})) or "none"
            raise NotDone(f"no live worker is called {', '.join(missing)}; live: {there}")
        told = tell(heeler, wanted)
        if json:
            print_json(worker_fields(worker) for worker in told)
        elif told:
            print_facts([(worker.name, f"{effect} ({worker.host}, pid {worker.pid})") for worker in told])
        else:
            say("no worker is live")
