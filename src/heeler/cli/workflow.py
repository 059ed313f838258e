"""`heeler workflow …`: how far a workflow is, drawn, with each of its jobs."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from heeler.app import Heeler
from heeler.cli.exit_codes import ExitCode
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import outline_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, group
from heeler.cli.output import print_json, stdout
from heeler.cli.workflow_picture import draw
from heeler.workflow_outline import Outline, PartState, read_outline
from heeler.workflow_result import WorkflowResult

__all__ = ["workflow"]

workflow = typer.Typer(
    rich_markup_mode=None,
    help="Show how far a workflow is.",
    invoke_without_command=True,
    callback=group,
)

EVERY = 0.5  # seconds between two looks, unless a look takes long
REST = 4.0  # times as long as a look took, that is waited at least until the next


@workflow.command()
def show(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="Of the workflow, not of one of its jobs.", show_default=False)
    ],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until it has ended.")] = False,
    members: Annotated[
        int, typer.Option("--members", "-n", metavar="N", min=0, help="Larger groups are counted, not listed.")
    ] = 20,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw a workflow: its jobs and parts with the state, times and attempts of each.

    The exit code is 1 if it failed, was cancelled, or is not known.
    """
    with find_app(app) as heeler:
        looks = _Looks(heeler, heeler.get_workflow(id), members)
        console = Console(highlight=False, markup=False, emoji=False)
        if watch:
            looks.follow(console if console.is_terminal and not json else None)
        outline = looks.look()
        if json:
            print_json([outline_fields(outline)])
        elif not console.is_terminal:
            stdout().print(draw(outline, looks.now(), None))
        elif not watch:
            console.print(draw(outline, looks.now(), console.width))
        if outline.state in (PartState.FAILED, PartState.CANCELLED):
            raise typer.Exit(ExitCode.FAILED)


class _Looks:
    """Looks at one workflow, one after the other."""

    def __init__(self, heeler: Heeler, run: WorkflowResult[Any], members: int) -> None:
        self._heeler = heeler
        self._run = run
        self._members = members

    def look(self) -> Outline:
        return self._heeler.connections.io.run(read_outline(self._run, self._members))

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._heeler.clock.time(), UTC)

    def follow(self, console: Console | None) -> None:
        """Until it has ended; its end is pushed, what happens before is looked at now and then."""
        ended = self._heeler.connections.io.submit(self._run._join(None))
        if console is None:
            ended.result()
            return
        with Live(console=console, auto_refresh=False, redirect_stderr=False) as live:
            while True:
                is_over = ended.done()
                before = time.monotonic()
                live.update(draw(self.look(), self.now(), console.width), refresh=True)
                if is_over:
                    ended.result()
                    live.vertical_overflow = "visible"
                    live.refresh()
                    return
                _wait(ended, max(EVERY, REST * (time.monotonic() - before)))


def _wait(ended: Future[None], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        ended.result(seconds)
