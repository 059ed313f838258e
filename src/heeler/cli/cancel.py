"""`heeler cancel ID`."""

from __future__ import annotations

from typing import Annotated

import typer

from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import result_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import print_json, say
from heeler.model import TaskStatus

__all__ = ["cancel"]


def cancel(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id that enqueue printed.", show_default=False)],
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Cancel a job.

    A waiting one ends now, a running one is told to stop. The exit code is 1 if it is not known or had ended
    otherwise.
    """
    with find_app(app) as heeler:
        job = heeler.get_result(id)
        cancelled = job.cancel()
        job.refresh()
        if json:
            print_json([result_fields(job)])
        if not cancelled:
            raise NotDone(f"{job.name} ({id}) had ended {job.status}: there is nothing to cancel")
        if not json:
            ended = job.status is TaskStatus.CANCELLED
            say(f"{id}  {'cancelled' if ended else 'is running; its worker is told to stop it'}")
