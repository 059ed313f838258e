"""The command line as a whole: every command in one place, and the way from an error to an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import heeler
from heeler.cli.cancel import cancel
from heeler.cli.config import config
from heeler.cli.dead import dead
from heeler.cli.demo import demo
from heeler.cli.doctor import doctor
from heeler.cli.enqueue import enqueue
from heeler.cli.events import events
from heeler.cli.exit_codes import ExitCode, explain
from heeler.cli.health import health
from heeler.cli.jobs import jobs
from heeler.cli.options import AppOption, Asked, DebugOption, group
from heeler.cli.queues import queues
from heeler.cli.result import result
from heeler.cli.scheduler import scheduler
from heeler.cli.schedules import schedules
from heeler.cli.tasks import tasks
from heeler.cli.top import top
from heeler.cli.worker import worker
from heeler.cli.workers import workers
from heeler.cli.workflow import workflow

__all__ = ["cli", "run"]

cli = typer.Typer(
    name="heeler",
    rich_markup_mode=None,  # the plain help needs half the lines on 80 columns
    help="Heeler, a distributed task queue.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
cli.command()(worker)
cli.add_typer(workers, name="workers")
cli.command()(enqueue)
cli.command()(result)
cli.command()(cancel)
cli.command()(tasks)
cli.command()(events)
cli.command()(top)
cli.add_typer(jobs, name="jobs")
cli.add_typer(queues, name="queues")
cli.add_typer(dead, name="dead")
cli.add_typer(workflow, name="workflow")
cli.add_typer(schedules, name="schedules")
cli.command()(scheduler)
cli.command()(config)
cli.command()(doctor)
cli.command()(health)
cli.command()(demo)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"heeler {heeler.__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def heeler_command(
    context: typer.Context,
    app: AppOption = None,
    debug: DebugOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_print_version, show_default=False),
    ] = False,
) -> None:
    """Heeler, a distributed task queue."""
    group(context, app, debug)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal cannot show is no reason to fail
    asked = Asked()
    command = typer.main.get_command(cli)
    try:
        code = command.main(
            args=None if arguments is None else list(arguments), prog_name="heeler", standalone_mode=False, obj=asked
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; what is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except (Exception, KeyboardInterrupt) as error:
        return explain(error, debug=asked.debug)
    return code if isinstance(code, int) else ExitCode.OK
