"""`heeler worker`: run the app's tasks until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from heeler.app import Heeler
from heeler.cli.durations import read_duration
from heeler.cli.find_app import app_reference, find_app
from heeler.cli.introduction import introduce, introduction
from heeler.cli.log_output import LogFormat, LogLevel, configure_logging
from heeler.cli.options import AppOption, DebugOption
from heeler.cli.reloading import end_with_reloader, is_reloaded, run_reloading
from heeler.cli.worker_processes import Wanted, run_several
from heeler.config import UNSET, Config
from heeler.errors import ConfigurationError
from heeler.worker.children import EXIT_RECYCLE, STOP_SIGNALS
from heeler.worker.health_door import HealthPlace

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
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", "-t", metavar="LIST", help="The only tasks to run, by name. Else all.", show_default=False
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", metavar="N", min=1, help="Jobs at once in each process. Else 20.", show_default=False
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            metavar="N",
            min=1,
            help="Worker processes; one that dies is started again. Else 1.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What others see of it.", show_default=False)
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="TIME", help="What running jobs get at a shutdown. Else 25s.", show_default=False
        ),
    ] = None,
    burst: Annotated[
        bool | None, typer.Option("--burst/--no-burst", help="Stop when nothing is left.", show_default=False)
    ] = None,
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
    scheduler: Annotated[
        bool | None,
        typer.Option(
            "--scheduler/--no-scheduler",
            help="Whether it also starts what schedules say. Else yes, as all workers do between them.",
            show_default=False,
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            metavar="N",
            min=0,
            max=65535,
            help="Answer at /live, /ready and /metrics of this port; 0 for any free one.",
            show_default=False,
        ),
    ] = None,
    health_host: Annotated[
        str | None,
        typer.Option(
            "--health-host",
            metavar="HOST",
            help="The address of that port. Else all.",
            show_default=False,
        ),
    ] = None,
    health_file: Annotated[
        str | None,
        typer.Option(
            "--health-file", metavar="PATH", help="Write there how it is: see heeler health.", show_default=False
        ),
    ] = None,
    health_patience: Annotated[
        str | None,
        typer.Option(
            "--health-patience",
            metavar="TIME",
            help="A worker whose loop is silent for longer is not live. Else 30s.",
            show_default=False,
        ),
    ] = None,
    reload: Annotated[
        bool | None,
        typer.Option(
            "--reload/--no-reload",
            help="Start anew when a source file changes. For development; needs heeler[reload].",
            show_default=False,
        ),
    ] = None,
    reload_dirs: Annotated[
        list[str] | None,
        typer.Option(
            "--reload-dir",
            metavar="PATH",
            help="A folder to watch, may be given several times. Else the working directory.",
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
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            case_sensitive=False,
            metavar="FORM",
            help="text or json: one JSON object a line. Else text.",
            show_default=False,
        ),
    ] = None,
    app: AppOption = None,
    debug: DebugOption = False,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    Then it finishes what runs, gives back the rest and exits with 0; a second signal gives everything back at once.
    While the broker is away it waits for it; with ?reconnect_attempts=N in its URL it ends after N in vain, with 3.

    What is not said here comes from the environment (HEELER_CONCURRENCY and so on) or from [tool.heeler] in
    pyproject.toml: see heeler config.
    """
    config = Config()

    def choose(name: str, said: object) -> Any:
        return config.choose(name, UNSET if said is None else said)

    wanted = Wanted(
        queues=choose("queues", parse_queues(queues)),
        tasks=choose("tasks", None if tasks is None else [name.strip() for name in tasks.split(",")]),
        concurrency=choose("concurrency", concurrency),
        processes=choose("processes", processes),
        name=choose("name", name),
        grace=choose("grace", None if grace is None else read_duration(grace, "--grace")),
        burst=choose("burst", burst),
        max_jobs_per_child=choose("max_jobs_per_child", max_jobs_per_child),
        scheduler=choose("scheduler", scheduler),
        health=HealthPlace(
            port=choose("health_port", health_port),
            host=choose("health_host", health_host),
            file=choose("health_file", health_file),
            patience=choose(
                "health_patience",
                None if health_patience is None else read_duration(health_patience, "--health-patience"),
            ),
        ),
    )
    level = choose("log_level", log_level)
    form = choose("log_format", log_format)
    folders = choose("reload_dirs", reload_dirs)
    if choose("reload", reload) and not is_reloaded():
        raise typer.Exit(run_reloading(folders))
    if is_reloaded():
        end_with_reloader()
    with find_app(app) as heeler:
        refuse_unshared(heeler)
        configure_logging(heeler.logger, level and LogLevel(level), form and LogFormat(form))
        facts = introduction(heeler, app_reference(app), wanted.queues, wanted.tasks, wanted.at_once, wanted.health)
        introduce(heeler.logger, facts, as_json=form == "json")
        code = run_several(heeler, wanted, debug) if wanted.processes > 1 else wanted.run(heeler, wanted.health)
    if code == EXIT_RECYCLE:
        # Its threads can only be ended with the process, so that begins anew under the same id.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for number in STOP_SIGNALS:  # one that comes so late would only spoil the exit code
        signal.signal(number, signal.SIG_IGN)
    raise typer.Exit(code)


def refuse_unshared(app: Heeler) -> None:
    """Raise ConfigurationError where no other process could send this worker a job."""
    if not app.connections.broker.features.shared:
        raise ConfigurationError(
            f"{app.connections.unshared_part} keeps its jobs inside one process, so a worker here would never see "
            f"those of your program; call app.worker() in that program, or use a URL like sqlite:///jobs.db"
        )


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
