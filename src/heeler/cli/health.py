"""`heeler health`: whether workers are well, as an exit code: for probes of containers and supervisors."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from heeler.cli.durations import read_duration
from heeler.cli.exit_codes import ExitCode
from heeler.cli.find_app import find_app
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import print_json, say
from heeler.config import UNSET, Config
from heeler.model import WorkerPresence
from heeler.worker.health_door import HealthReport
from heeler.worker.vitals import WorkerHealth

__all__ = ["health", "judge_file", "judge_presences"]

PROBE_PATIENCE = 2.0


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether they take jobs, not only whether they live.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", help="Ask the worker with this --health-port.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="PATH", help="Look at the --health-file of a worker.", show_default=False),
    ] = None,
    patience: Annotated[
        str | None,
        typer.Option("--patience", metavar="TIME", help="How old the file may be. Else 30s.", show_default=False),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="Only workers of this machine.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only workers of this name.", show_default=False)
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Exit with 0 if the workers are well, with 1 if not.

    Asks the port or looks at the file that is given here or configured (HEELER_HEALTH_PORT, HEELER_HEALTH_FILE). Else
    it asks all live workers through the broker: one must be there, and all must answer.
    """
    config = Config()
    seconds = config.choose("health_patience", UNSET if patience is None else read_duration(patience, "--patience"))
    if port is None and file is None:
        port, file = config.choose("health_port"), config.choose("health_file")
    if port:
        report = _ask_port(config.choose("health_host") or "127.0.0.1", port)
    elif file is not None:
        report = judge_file(Path(file), seconds, time.time())
    else:
        with find_app(app) as heeler:
            census = heeler.ask_workers(PROBE_PATIENCE)
            report = judge_presences(
                [
                    (worker, answered)
                    for worker, answered in census
                    if (not here or worker.host == socket.gethostname()) and name in (None, worker.name)
                ]
            )
    well = bool(report.workers) and (report.ready if ready else report.live)
    if json:
        print_json([{"well": well, **msgspec.to_builtins(report)}])
    else:
        _show(report, well, ready)
    if not well:
        raise typer.Exit(ExitCode.FAILED)


def _show(report: HealthReport, well: bool, ready: bool) -> None:
    said = "ready" if ready else "live"
    for worker in report.workers:
        good = worker.ready if ready else worker.live
        why = "" if good and well else f": {', '.join(worker.reasons)}" if worker.reasons else ""
        pid = f" (pid {worker.pid})" if worker.pid else ""
        say(f"{worker.name}{pid} is {'' if good else 'not '}{said}{why}")
    if not report.workers:
        say("no worker is there")


def _ask_port(host: str, port: int) -> HealthReport:
    connection = http.client.HTTPConnection(
        "127.0.0.1" if host in ("0.0.0.0", "::") else host, port, timeout=PROBE_PATIENCE
    )
    try:
        connection.request("GET", "/")
        return msgspec.json.decode(connection.getresponse().read(), type=HealthReport)
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        return _silent(f"port {port} of {host}", f"it does not answer ({type(error).__name__})")
    finally:
        connection.close()


def judge_file(file: Path, patience: float, now: float) -> HealthReport:
    """What the file says, unless it is so old that whoever wrote it cannot be well."""
    try:
        age = now - file.stat().st_mtime
        report = msgspec.json.decode(file.read_bytes(), type=HealthReport)
    except OSError as error:
        return _silent(str(file), f"no worker has written it ({error.strerror or error})")
    except msgspec.DecodeError as error:
        return _silent(str(file), f"it is no health file ({error})")
    if report.live and age > patience:
        return _silent(str(file), f"it was written {age:.0f} s ago: the worker is gone, or its I/O loop does not turn")
    return report


def judge_presences(census: Sequence[tuple[WorkerPresence, bool]]) -> HealthReport:
    """What live workers say of themselves through the broker; one that does not answer is not live."""
    workers = []
    for worker, answered in census:
        reasons = [] if answered else ["it does not answer"]
        if worker.state != "running":
            reasons.append(f"it is {worker.state}")
        workers.append(
            WorkerHealth(
                name=worker.name,
                pid=worker.pid,
                state=worker.state,
                live=answered,
                ready=not reasons,
                running=worker.running,
                reasons=tuple(reasons),
            )
        )
    return HealthReport.of(workers)


def _silent(name: str, reason: str) -> HealthReport:
    return HealthReport.of([WorkerHealth(name=name, pid=0, state="silent", live=False, ready=False, reasons=(reason,))])
