"""`heeler enqueue TASK`: send one job, and wait for it if asked to."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer

from heeler.app import Heeler
from heeler.cli.completion import queue_names, task_names
from heeler.cli.durations import read_duration
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import result_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, TimeoutOption
from heeler.cli.output import note, print_json, say, value_text
from heeler.cli.waiting import wait_for
from heeler.errors import ConfigurationError
from heeler.task import Task

__all__ = ["choose_task", "enqueue", "read_arguments"]


def enqueue(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="Its name, or a last part of it that is unique.",
            show_default=False,
            autocompletion=task_names,
        ),
    ],
    args: Annotated[
        str, typer.Option("--args", metavar="JSON", help="Positional arguments: '[\"cat.png\", 320]'.")
    ] = "[]",
    kwargs: Annotated[
        str, typer.Option("--kwargs", metavar="JSON", help="Keyword arguments: '{\"width\": 320}'.")
    ] = "{}",
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue", "-q", metavar="NAME", help="Instead of the task's own queue.", autocompletion=queue_names
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option("--priority", metavar="N", min=-100, max=100, help="Larger sooner.", show_default=False),
    ] = None,
    run_in: Annotated[
        str | None, typer.Option("--in", metavar="TIME", help="Start it not before: 30, 45s, 5m, 2h, 1d.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for its end and print its value.")] = False,
    timeout: TimeoutOption = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Send one job and print its id, with --wait its value.

    The exit code is 1 if the job failed. A task that this app does not know is sent by its name, for a worker that
    does.
    """
    positional, keywords = read_arguments(args, kwargs)
    run_after = None if run_in is None else read_duration(run_in, "--in")
    seconds = None if timeout is None else read_duration(timeout, "--timeout")
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout is for --wait")
    with find_app(app) as heeler:
        chosen = choose_task(heeler, task)
        result = chosen.using(queue_name=queue, priority=priority, run_after=run_after).enqueue(*positional, **keywords)
        if not json:
            say(result.id)
            sys.stdout.flush()
        elif not wait:
            print_json([result_fields(result)])
        if wait:
            wait_for(result, seconds)
            if json:
                print_json([result_fields(result)])
            value = result.get()
            if not json:
                say(value_text(value))


def choose_task(app: Heeler, name: str) -> Task[..., Any]:
    """The task of that name or unique last part; one that nobody here knows is declared by its name alone.

    Raises UnknownTask where the name is the end of several.
    """
    if name in app.tasks or any(known.endswith(f".{name}") for known in app.tasks):
        return app.tasks[name]
    note(f"no task {name!r} is known here; it is sent by that name, for a worker that knows it")
    return app.declare(name)


def read_arguments(args: str, kwargs: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in two JSON texts. Raises ConfigurationError for what is no JSON, no list or no object."""
    positional = _read_json(args, "--args")
    if not isinstance(positional, list):
        raise ConfigurationError(f"--args takes a JSON list of the positional arguments, got {args!r}")
    keywords = _read_json(kwargs, "--kwargs")
    if not isinstance(keywords, dict):
        raise ConfigurationError(f"--kwargs takes a JSON object of the keyword arguments, got {kwargs!r}")
    return positional, keywords


def _read_json(text: str, option: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{option} is not JSON: {error}, in {text!r}") from error
