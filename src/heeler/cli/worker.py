"""`heeler worker`: run the app's tasks until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text

from heeler.app import Heeler
from heeler.cli.durations import read_duration
from heeler.cli.exit_codes import explain
from heeler.cli.find_app import app_reference, find_app
from heeler.cli.log_output import LogLevel, configure_logging
from heeler.cli.options import AppOption, DebugOption
from heeler.cli.output import print_facts, stderr
from heeler.errors import ConfigurationError
from heeler.worker.children import EXIT_RECYCLE, STOP_SIGNALS, Children

__all__ = ["parse_queues", "worker"]


def worker(
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            "-q",
            metavar="LIST",
            help="Names in strict order: images,default; by weight: images=3,default=1. Else all that the app names.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", metavar="N", min=1, help="Jobs at once in each process.")
    ] = 20,
    processes: Annotated[
        int,
        typer.Option("--processes", "-p", metavar="N", min=1, help="Worker processes; one that dies is started again."),
    ] = 1,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What others see of it.", show_default=False)
    ] = None,
    grace: Annotated[str, typer.Option("--grace", metavar="TIME", help="What running jobs get at a shutdown.")] = "25s",
    burst: Annotated[bool, typer.Option("--burst", help="Stop when nothing is left.", show_default=False)] = False,
    max_jobs_per_child: Annotated[
        int | None,
        typer.Option(
            "--max-jobs-per-child",
            metavar="N",
            min=1,
            help="Renew a child process of executor=process after so many jobs.",
            show_default=False,
        ),
    ] = None,
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
    """Run jobs until SIGTERM or Ctrl-C.

    Then it finishes what runs, gives back the rest and exits with 0; a second signal gives everything back at once.
    """
    seconds = read_duration(grace, "--grace")
    wanted = Wanted(parse_queues(queues), concurrency, processes, name, seconds, burst, max_jobs_per_child)
    with find_app(app) as heeler:
        refuse_unshared(heeler)
        configure_logging(heeler.logger, log_level)
        introduce(heeler, app_reference(app), wanted)
        code = _run_several(heeler, wanted, debug) if processes > 1 else wanted.run(heeler)
    if code == EXIT_RECYCLE:
        # Its threads can only be ended with the process, so that begins anew under the same id.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for number in STOP_SIGNALS:  # one that comes so late would only spoil the exit code
        signal.signal(number, signal.SIG_IGN)
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the worker."""

    queues: list[str] | dict[str, int] | None
    concurrency: int
    processes: int
    name: str | None
    grace: float
    burst: bool
    max_jobs_per_child: int | None

    def run(self, app: Heeler, number: int | None = None) -> int:
        """Work until stopped, as the process of that number among several; the exit code."""
        running = app.worker(
            self.queues,
            concurrency=self.concurrency,
            name=self.name if number is None else f"{self.name or 'worker'}-{number}",
            grace=self.grace,
            burst=self.burst,
            max_jobs_per_child=self.max_jobs_per_child,
        )
        for number in STOP_SIGNALS:  # until it handles them itself, and after
            signal.signal(number, lambda number, frame: running.stop())
        running.run()
        return running.exit_code


def _run_several(app: Heeler, wanted: Wanted, debug: bool) -> int:
    def work(number: int) -> int:
        try:
            with app:
                return wanted.run(app, number)
        except Exception as error:
            return explain(error, debug=debug)

    return Children(wanted.processes, work, app.logger).run()


def refuse_unshared(app: Heeler) -> None:
    """Raise ConfigurationError where no other process could send this worker a job."""
    if not app.connections.broker.features.shared:
        raise ConfigurationError(
            f"{app.connections.unshared_part} keeps its jobs inside one process, so a worker here would never see "
            f"those of your program; call app.worker() in that program, or use a URL like sqlite:///jobs.db"
        )


def introduce(app: Heeler, reference: str, wanted: Wanted) -> None:
    """Say on stderr what will run, in a few lines. Raises BrokerUnavailable."""
    connections = app.connections
    findings = connections.io.run(connections.opened_blocking().doctor())
    connections.disconnect()  # worker processes are forked from here, and connect for themselves
    at_once = f"{wanted.concurrency} jobs at once"
    facts = [
        ("app", reference),
        ("broker", connections.shown_url),
        *((topic, text) for _, topic, text in findings if topic == "durability"),
        ("queues", _queues_text(app, wanted.queues)),
        ("tasks", ", ".join(sorted(app.tasks)) or "none, so nothing is run: name their modules in Heeler(imports=[…])"),
        ("concurrency", f"{wanted.processes} processes, {at_once} in each" if wanted.processes > 1 else at_once),
    ]
    console = stderr()
    console.print(Text(f"heeler {version('heeler')}", style="bold"))
    print_facts(facts, indent="  ", to=console)


def _queues_text(app: Heeler, queues: list[str] | dict[str, int] | None) -> str:
    if isinstance(queues, dict):
        return ", ".join(f"{queue}={weight}" for queue, weight in queues.items())
    return ", ".join(queues or app.queue_names)


def parse_queues(text: str | None) -> list[str] | dict[str, int] | None:
    """`images,default` as a list, `images=3,default=1` as weights. Raises a usage error for a mixture."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"--queues takes names like images,default or images=3,default=1, got {text!r}")
    if not any("=" in part for part in parts):
        return list(dict.fromkeys(parts))
    weights: dict[str, int] = {}
    for part in parts:
        queue, _, weight = part.partition("=")
        if not queue or not weight.isdecimal() or int(weight) < 1:
            raise typer.BadParameter(
                f"--queues: {part!r} is no queue=weight like images=3; give each a weight, or none"
            )
        weights[queue] = int(weight)
    return weights
