"""`heeler result ID`: what became of a job."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from heeler.cli.durations import duration_text, read_duration
from heeler.cli.exit_codes import ExitCode
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import result_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, TimeoutOption
from heeler.cli.output import local_time, print_facts, print_json, value_text
from heeler.cli.waiting import wait_for
from heeler.model import TaskStatus
from heeler.task_result import TaskResult

__all__ = ["arguments_text", "progress_text", "result", "result_facts"]


def result(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id that enqueue printed.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended.")] = False,
    timeout: TimeoutOption = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a job and what became of it.

    Its status, times, arguments, and its value or errors. The exit code is 1 if it failed, was cancelled, or is not
    known.
    """
    seconds = None if timeout is None else read_duration(timeout, "--timeout")
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout is for --wait")
    with find_app(app) as heeler:
        found = heeler.get_result(id)
        if wait:
            wait_for(found, seconds)
        if json:
            print_json([result_fields(found)])
        else:
            print_facts(result_facts(found))
        if found.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            raise typer.Exit(ExitCode.FAILED)


def result_facts(result: TaskResult[Any]) -> list[tuple[str, str]]:
    """What there is to say of the job, in the order in which it happened."""
    facts = [("id", result.id), ("task", result.name), ("status", str(result.status))]
    if result.status is TaskStatus.SUCCESSFUL:
        facts.append(("value", value_text(result.return_value)))
    if result.fraction is not None or result.message:
        facts.append(("progress", progress_text(result)))
    if result.saved is not None:
        facts.append(("saved", value_text(result.saved)))
    facts.append(("arguments", arguments_text(result)))
    facts.append(
        ("queue", f"{result.queue_name}, priority {result.priority}" if result.priority else result.queue_name)
    )
    if result.headers:
        facts.append(("headers", ", ".join(f"{name}={value}" for name, value in result.headers.items())))
    facts.append(("enqueued", local_time(result.enqueued_at)))
    if result.run_after is not None:
        facts.append(("not before", local_time(result.run_after)))
    if result.next_at is not None and result.next_at != result.run_after:
        facts.append(("due", local_time(result.next_at)))
    if result.started_at is not None:
        waited = (result.started_at - result.enqueued_at).total_seconds()
        facts.append(("started", f"{local_time(result.started_at)}  after {duration_text(max(0.0, waited))}"))
    if result.finished_at is not None:
        begun = result.last_attempted_at
        ran = "" if begun is None else f"  ran {duration_text(max(0.0, (result.finished_at - begun).total_seconds()))}"
        facts.append(("finished", f"{local_time(result.finished_at)}{ran}"))
    limit = "" if result.max_attempts is None else f" of {result.max_attempts}"
    facts.append(("attempts", f"{result.attempts}{limit}"))
    if result.worker_ids:
        facts.append(("workers", ", ".join(result.worker_ids)))
    return facts + [(f"error {error.attempt}" if error.attempt else "error", error.line) for error in result.errors]


def progress_text(result: TaskResult[Any]) -> str:
    """How far the job said last that it is."""
    said = [] if result.fraction is None else [f"{result.fraction:.0%}"]
    return " ".join([*said, result.message] if result.message else said)


def arguments_text(result: TaskResult[Any]) -> str:
    """The arguments as one would write the call."""
    named = (f"{name}={value_text(value)}" for name, value in result.kwargs.items())
    return ", ".join([*(value_text(value) for value in result.args), *named]) or "none"
