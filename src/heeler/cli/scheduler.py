"""`heeler scheduler`: start what schedules say, and run nothing, until told to stop."""

from __future__ import annotations

import signal
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text

from heeler.cli.find_app import app_reference, find_app
from heeler.cli.log_output import LogLevel, configure_logging
from heeler.cli.options import AppOption, DebugOption
from heeler.cli.output import print_facts, stderr
from heeler.cli.worker import refuse_unshared

__all__ = ["scheduler"]


def scheduler(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What its log lines call it.", show_default=False)
    ] = "scheduler",
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level",
            "-l",
            case_sensitive=False,
            metavar="LEVEL",
            help="debug, info, warning or error. Else info, or what the app has set.",
            show_default=False,
        ),
    ] = None,
    app: AppOption = None,
    debug: DebugOption = False,
) -> None:
    """Start the jobs of schedules until SIGTERM or Ctrl-C, and run none.

    Only needed where all workers have --no-scheduler. Any number may run at once: each time is started once.
    """
    with find_app(app) as heeler:
        refuse_unshared(heeler)
        configure_logging(heeler.logger, log_level)
        running = heeler.scheduler(name)
        declared = len(heeler.schedules.declared)
        console = stderr()
        console.print(Text(f"heeler {version('heeler')}", style="bold"))
        print_facts(
            [
                ("app", app_reference(app)),
                ("broker", heeler.connections.shown_url),
                ("declared", ", ".join(heeler.schedules.declared) if 0 < declared < 20 else f"{declared} schedules"),
            ],
            indent="  ",
            to=console,
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # until it handles them itself, and after
            signal.signal(number, lambda number, frame: running.stop())
        running.run()
