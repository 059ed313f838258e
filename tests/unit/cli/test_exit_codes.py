import pytest
import typer

from heeler.cli.exit_codes import ExitCode, NotDone, explain
from heeler.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidArguments,
    InvalidOption,
    ResultNotFound,
    ResultTimeout,
    TaskCancelled,
    TaskFailed,
    UnknownTask,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskFailed("ValueError", "no", "", 1), 1),
        (TaskCancelled("cancelled"), 1),
        (ResultNotFound("no job"), 1),
        (ResultTimeout("too late"), 1),
        (NotDone("nothing there"), 1),
        (typer.Abort(), 1),
        (ZeroDivisionError("division by zero"), 1),
        (ConfigurationError("wrong"), 2),
        (InvalidOption("queue_name must be a name, got ''"), 2),
        (InvalidArguments("wrong"), 2),
        (UnknownTask("wrong"), 2),
        (typer.BadParameter("wrong"), 2),
        (BrokerUnavailable("gone"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_stands_for_one_exit_code(error: BaseException, code: int) -> None:
    assert explain(error, debug=False) == code


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    explain(ConfigurationError("first\n  second"), debug=False)
    assert capsys.readouterr().err == "heeler: first second\n"


def test_debug_shows_the_traceback_before_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ConfigurationError("wrong")
    except ConfigurationError as error:
        explain(error, debug=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "heeler: wrong"


def test_debug_shows_the_traceback_that_the_worker_sent(capsys: pytest.CaptureFixture[str]) -> None:
    explain(TaskFailed("ValueError", "no", "Traceback of the worker\nValueError: no\n", 1), debug=True)
    assert capsys.readouterr().err.splitlines()[0] == "Traceback of the worker"


def test_an_unexpected_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(ZeroDivisionError("division by zero"), debug=False) is ExitCode.FAILED
    assert "ZeroDivisionError: division by zero (--debug" in capsys.readouterr().err
