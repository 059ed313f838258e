"""A hook of mkdocs: writes the reference of all commands where a page says `<!-- commands -->`.

Everything comes from the commands themselves, so it is what `heeler … --help` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from heeler.cli.main import cli

MARK = "<!-- commands -->"
EVERYWHERE = {"app", "debug", "json", "help"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    return (
        markdown.replace(MARK, "\n".join(_group(typer.main.get_command(cli), "heeler")))
        if MARK in markdown
        else markdown
    )


def _group(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _group(command, f"{path} {name}")
        else:
            yield from _command(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([path, *(_placeholder(argument) for argument in arguments)])
    yield from ("", f"## `{path}`", "", f"`{usage} [OPTIONS]`", "", _plain(command.help or ""), "")
    rows = [(_placeholder(argument), _plain(getattr(argument, "help", "") or "")) for argument in arguments]
    rows += [(_names(option), _meaning(option)) for option in options if option.name not in EVERYWHERE]
    if rows:
        yield from ("| | |", "|---|---|", *(f"| `{names}` | {meaning} |" for names, meaning in rows))


def _placeholder(argument: Any) -> str:
    shown = str(argument.metavar or argument.name.upper()).strip("[]")
    return shown if argument.required else f"[{shown}]"


def _names(option: Any) -> str:
    names = " ".join(sorted(option.opts, key=len, reverse=True))
    value = option.metavar or ("" if option.is_flag else option.type.name.upper())
    return f"{names} {value}".strip().replace("|", "\\|")


def _meaning(option: Any) -> str:
    shown = option.show_default and option.default is not None and not option.is_flag
    return _plain(option.help or "") + (f" Default: `{option.default}`." if shown else "")


def _plain(text: str) -> str:
    """Help as Markdown: typer's escapes of its markup are undone."""
    return text.replace("\\[", "[").replace("|", "\\|").strip()
