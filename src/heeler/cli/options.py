"""The options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

__all__ = ["AllOption", "AppOption", "Asked", "DebugOption", "JsonOption", "TimeoutOption", "YesOption", "group"]


@dataclass(slots=True)
class Asked:
    """What the command line asked of the program itself, wherever on the line it was said."""

    debug: bool = False


def _said_here_or_before(context: typer.Context, value: str | None) -> str | None:
    before = context.parent
    return value or (before.params.get("app") if before is not None else None)


def _said_anywhere(context: typer.Context, value: bool) -> bool:
    asked = context.find_object(Asked) or Asked()
    asked.debug = asked.debug or value
    return asked.debug


AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        "-A",
        metavar="MODULE:APP",
        help="The app; else HEELER_APP, else [tool.heeler] app in pyproject.toml.",
        show_default=False,
        callback=_said_here_or_before,
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show tracebacks of errors.", show_default=False, callback=_said_anywhere, is_eager=True
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line.", show_default=False)]
TimeoutOption = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="Wait at most so long: 30, 45s, 5m, 2h.", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.", show_default=False)]


def group(context: typer.Context, app: AppOption = None, debug: DebugOption = False) -> None:
    """The callback of every group: takes the shared options, and shows the help where no command follows."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
