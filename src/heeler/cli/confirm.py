"""Asking before something is dropped for good."""

from __future__ import annotations

import sys

import typer

from heeler.cli.exit_codes import NotDone

__all__ = ["confirm"]


def confirm(question: str, yes: bool) -> None:
    """Return if the answer is yes. Raises NotDone if it is no, a usage error where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Give --yes: there is no terminal to ask on")
    if not typer.confirm(question, err=True):
        raise NotDone("stopped: nothing was dropped")
