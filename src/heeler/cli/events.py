"""`heeler events`: what happens in all processes of the app, as it happens."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from heeler.app import Heeler
from heeler.cli.durations import duration_text
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import event_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import count_text, note, print_json, stdout, visible
from heeler.event_stream import Events
from heeler.model import EVENT_LEVELS, Event

__all__ = ["event_line", "events"]

_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


def events(
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help="job, worker, error, or one like job.failed; may be given several times.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", "-l", metavar="LEVEL", help=f"From this level on: {', '.join(EVENT_LEVELS)}.", show_default=False
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("--queue", "-q", metavar="NAME", help="Of jobs of this queue only.", show_default=False),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Follow what happens to jobs and workers, until Ctrl-C.

    Processes tell nothing while nobody follows; what came too fast to be shown is counted at the end.
    """
    with find_app(app) as heeler:
        try:
            followed = heeler.events(kind or None, level=level, queue=queue)
        except ValueError as error:
            raise typer.BadParameter(str(error).removeprefix("events: ")) from None
        with followed:
            try:
                _show(heeler, followed, json)
            except KeyboardInterrupt:
                pass  # the usual way to end it
            if followed.dropped:
                note(f"{count_text(followed.dropped, 'event')} more came too fast to be shown")


def _show(heeler: Heeler, followed: Events, json: bool) -> None:
    note(f"following {heeler.connections.shown_url}; Ctrl-C ends it")
    console = stdout()
    for event in followed:
        if json:
            print_json([event_fields(event)])
        else:
            console.print(event_line(event))
        sys.stdout.flush()


def event_line(event: Event) -> Text:
    """When, what, and on which job or worker; then why or how far."""
    moment = datetime.fromtimestamp(event.at, UTC).astimezone()
    line = Text(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}  ", style="dim")
    line.append(f"{event.kind:<15}  ", style=_STYLES[event.level])
    about = [f"{event.task} {event.id}"] if event.id else [event.worker]
    if event.attempt > 1:
        about.append(f"attempt {event.attempt}")
    if event.ran is not None:
        about.append(f"ran {duration_text(event.ran)}")
    if event.fraction is not None:
        about.append(f"{event.fraction:.0%}")
    if event.next_at is not None:
        about.append(f"due in {duration_text(max(0.0, event.next_at - event.at))}")
    said = event.message
    if event.error and not said.startswith(event.error.rpartition(".")[2]):
        said = f"{event.error.rpartition('.')[2]}: {said}"
    line.append(visible(", ".join(about)))
    if said:
        line.append(visible(f"  {' '.join(said.split())}"), style=_STYLES[event.level])
    return line
