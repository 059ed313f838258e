"""Waiting for a job in the terminal."""

from __future__ import annotations

from typing import Any

from heeler.cli.output import stderr
from heeler.task_result import TaskResult

__all__ = ["wait_for"]


def wait_for(result: TaskResult[Any], timeout: float | None) -> None:
    """Wait for the job's end, with a sign of life where somebody looks. Raises ResultTimeout."""
    console = stderr()
    if not console.is_terminal or result.is_finished:
        result.join(timeout)
        return
    with console.status(f"waiting for {result.name}", spinner="dots"):
        result.join(timeout)
