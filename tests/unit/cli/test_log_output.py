import logging
from collections.abc import Iterator

import pytest

from heeler.cli.log_output import LogLevel, configure_logging


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """One that no handler of the test run listens to."""
    logger = logging.Logger("heeler.of-this-test")
    yield logger
    logger.handlers.clear()


def test_unconfigured_logging_goes_to_stderr_from_info_on(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(logger, None)
    logger.debug("hidden")
    logger.info("shown")
    assert [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()] == ["shown"]


def test_configured_logging_stays_as_it_is(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.ERROR)
    configure_logging(logger, None)
    assert logger.level == logging.ERROR
    assert len(logger.handlers) == 1


def test_a_level_that_was_asked_for_counts_in_either_case(logger: logging.Logger) -> None:
    logger.addHandler(logging.NullHandler())
    configure_logging(logger, LogLevel.debug)
    assert logger.level == logging.DEBUG
