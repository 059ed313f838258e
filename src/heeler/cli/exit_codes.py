"""Errors → exit codes, and the one line that each prints: the only place that knows either."""

from __future__ import annotations

import enum
import sys
import traceback

import typer

from heeler.cli.output import visible
from heeler.errors import (
    BrokerUnavailable,
    ConfigurationError,
    HeelerError,
    InvalidArguments,
    PayloadTooLarge,
    TaskFailed,
    UnknownTask,
    Unroutable,
)

__all__ = ["ExitCode", "NotDone", "explain"]

# Typer's parent of all errors of usage; it exports only this child of it by name.
_TYPER_USAGE_ERROR = typer.BadParameter.__mro__[1]

_USAGE = (ConfigurationError, InvalidArguments, PayloadTooLarge, UnknownTask, Unroutable, _TYPER_USAGE_ERROR)


class ExitCode(enum.IntEnum):
    OK = 0
    FAILED = 1  # a job failed, or what was asked for is not there
    USAGE = 2
    UNAVAILABLE = 3  # the broker
    INTERRUPTED = 130


class NotDone(Exception):
    """What was asked for was not done, for the reason given: exit code 1."""


def explain(error: BaseException, *, debug: bool) -> ExitCode:
    """Print the error as one line on stderr (after its traceback with `debug`); the exit code it stands for."""
    code = _code_of(error)
    if code is ExitCode.INTERRUPTED:
        return code
    if debug:
        _print_traceback(error)
    print(f"heeler: {_line_of(error, debug)}", file=sys.stderr)
    return code


def _code_of(error: BaseException) -> ExitCode:
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokerUnavailable):
        return ExitCode.UNAVAILABLE
    if isinstance(error, _USAGE):
        return ExitCode.USAGE
    return ExitCode.FAILED


def _line_of(error: BaseException, debug: bool) -> str:
    if isinstance(error, _TYPER_USAGE_ERROR):
        text = _usage_text(error)
    elif isinstance(error, (HeelerError, NotDone)):
        text = str(error)
    elif isinstance(error, typer.Abort):
        text = "stopped: nothing was done"
    else:
        text = f"unexpected {type(error).__name__}: {error}"
        if not debug:
            text += " (--debug shows its traceback)"
    return visible(" ".join(text.split())) or type(error).__name__


def _usage_text(error: BaseException) -> str:
    said = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    return said if context is None else f"{said} (see {context.command_path} --help)"


def _print_traceback(error: BaseException) -> None:
    if isinstance(error, TaskFailed) and error.traceback:
        print(visible(error.traceback.rstrip()), file=sys.stderr)
    elif not isinstance(error, (NotDone, typer.Abort, _TYPER_USAGE_ERROR)):
        traceback.print_exception(error)
