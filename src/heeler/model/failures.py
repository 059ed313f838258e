"""What users' code is handed in place of a result: in a list of results, or as the argument of a `catch` job."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["FailedRun", "Failure"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Stands for the result of a job that failed, where its workflow goes on (`failure="continue"`).

    `error` is the class and text of its last error.
    """

    id: str
    task: str
    error: str


class FailedRun(msgspec.Struct, frozen=True, kw_only=True):
    """The job whose failure a `catch` job follows: its last error, and the arguments that it was called with."""

    id: str
    task: str
    error: str
    traceback: str = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
