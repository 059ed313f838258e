"""`heeler jobs …`: all jobs that are known, what became of each, and dropping them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from heeler.app import Heeler
from heeler.cli.completion import queue_names, task_names
from heeler.cli.durations import duration_text, read_duration
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import result_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, group
from heeler.cli.output import Column, ago, local_time, note, print_facts, print_json, print_table, say, value_text
from heeler.cli.result import progress_text, result_facts
from heeler.cli.task_name import full_name
from heeler.errors import HeelerError, ResultNotFound
from heeler.model import TaskStatus
from heeler.task_result import TaskResult

__all__ = ["jobs"]

jobs = typer.Typer(
    rich_markup_mode=None, help="List, show and delete jobs.", invoke_without_command=True, callback=group
)

PAGE = 200  # jobs in one question to the broker
LONGEST_TEXT = 120  # characters of a value or an error in the list

_STYLES = {
    TaskStatus.RUNNING: "cyan",
    TaskStatus.FAILED: "red",
    TaskStatus.SUCCESSFUL: "green",
    TaskStatus.CANCELLED: "yellow",
}


@jobs.command("list")
def list_jobs(
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            "-s",
            metavar="STATUS",
            help="READY, RUNNING, FAILED, SUCCESSFUL or CANCELLED; may be given several times.",
            show_default=False,
        ),
    ] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Those that wait for their time.", show_default=False)
    ] = False,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue", "-q", metavar="NAME", help="Those of this queue.", show_default=False, autocompletion=queue_names
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", "-t", metavar="NAME", help="Those of this task.", show_default=False, autocompletion=task_names
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Enqueued in the last 30s, 5m, 2h.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 50,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID", help="What comes after this job in the list.", show_default=False),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show jobs, the one published last first; looking changes nothing."""
    ago_seconds = None if since is None else read_duration(since, "--since")
    statuses = [_status(name) for name in status or ()]
    with find_app(app) as heeler:
        name = full_name(heeler, task)
        found: list[TaskResult[Any]] = []
        while len(found) <= limit:
            count = min(PAGE, limit + 1 - len(found))
            page = heeler.jobs(
                statuses or None,
                scheduled=scheduled,
                queue_name=queue,
                task=name,
                since=ago_seconds,
                limit=count,
                after=found[-1] if found else after,
            )
            found += page
            if len(page) < count:
                break
        shown = found[:limit]
        if json:
            print_json(result_fields(job) for job in shown)
        elif shown:
            now = time.time()
            print_table(
                [
                    Column("ID, TASK", folds=True, width=36),
                    Column("STATUS"),
                    Column("ENQUEUED"),
                    Column("WHAT IS KNOWN", folds=True),
                ],
                [_row(job, now) for job in shown],
            )
        else:
            say("no jobs" if after is None else "no more jobs")
        if len(found) > limit:
            note(f"there are more: --after {shown[-1].id} shows what follows")


@jobs.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="As jobs list shows it.", show_default=False)],
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show all that is known of one job.

    Its arguments, times, attempts and workers, what it saved and returned, and the traceback of every error.
    """
    with find_app(app) as heeler:
        job = heeler.get_result(id)
        if json:
            print_json([result_fields(job)])
            return
        print_facts([fact for fact in result_facts(job) if not fact[0].startswith("error")])
        for error in job.errors:
            say("")
            say(f"attempt {error.attempt}, {local_time(error.at)}" if error.attempt else "error", style="bold")
            say(error.traceback.rstrip() or error.line)


@jobs.command()
def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="One or more jobs.", show_default=False)],
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop jobs for good: waiting ones, or what is kept of ended ones, dead letters too.

    A running job is left alone: cancel it first. The exit code is 1 if some were not there or run.
    """
    with find_app(app) as heeler:
        kept = {id: reason for id in dict.fromkeys(ids) if (reason := _delete(heeler, id))}
        gone = [id for id in dict.fromkeys(ids) if id not in kept]
        if json:
            print_json({"id": id, "deleted": id in gone} for id in dict.fromkeys(ids))
        elif gone:
            print_facts([(id, "deleted") for id in gone])
        if kept:
            raise NotDone("; ".join(kept.values()))


def _delete(heeler: Heeler, id: str) -> str:
    """Drop one job; why not, or an empty text."""
    try:
        job = heeler.get_result(id)
    except ResultNotFound:
        return "" if heeler.dead_letters.purge([id]) else f"there is no job {id}"
    if job.status is TaskStatus.RUNNING or (not job.is_finished and not job.cancel()):
        return f"{job.name} ({id}) is running: heeler cancel {id} stops it"
    job.refresh()
    if not job.is_finished:
        return f"{job.name} ({id}) is running: it was told to stop; delete it when it has ended"
    job.forget()
    heeler.dead_letters.purge([id])
    return ""


def _status(name: str) -> TaskStatus:
    try:
        return TaskStatus(name.upper())
    except ValueError:
        raise typer.BadParameter(f"--status takes {', '.join(TaskStatus)}, got {name!r}") from None


def _row(job: TaskResult[Any], now: float) -> list[str | Text]:
    status = Text(job.status, style=_STYLES.get(job.status, ""))
    return [f"{job.id}\n{job.name}", status, ago(now - job.enqueued_at.timestamp()), _known(job, now)]


def _known(job: TaskResult[Any], now: float) -> str:
    """The one thing that matters most of a job in this status."""
    if job.status is TaskStatus.RUNNING:
        begun = job.last_attempted_at
        since = "" if begun is None else f"for {duration_text(max(0.0, now - begun.timestamp()))}"
        return " ".join(part for part in (since, progress_text(job)) if part)
    if job.status is TaskStatus.SUCCESSFUL:
        return _shortened(_value_text(job))
    told = []
    if job.next_at is not None:
        told.append(f"due in {duration_text(max(0.0, job.next_at.timestamp() - now))}")
    if job.last_error is not None:
        told.append(f"{job.last_error.exception_class_path.rpartition('.')[2]}: {job.last_error.message}")
    return _shortened("; ".join(told) or f"queue {job.queue_name}")


def _value_text(job: TaskResult[Any]) -> str:
    try:
        return value_text(job.return_value)
    except HeelerError as error:
        return str(error)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
