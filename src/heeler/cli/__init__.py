"""The command `heeler`. typer and rich are imported only here, and only when a command is run."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    from heeler.cli.main import run  # here, because workers import the demo's tasks from this package

    return run(arguments)
