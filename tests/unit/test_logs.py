"""The forms of log lines, and where they go."""

import io
import json
import logging

import pytest

from heeler.logs import JsonFormatter, LineFormatter, configure, configure_child, for_children


def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """One below a root of its own, which neither the test run nor anything else has configured."""
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(logging.Logger, "root", root)
    monkeypatch.setattr(logging.Logger, "manager", logging.Manager(root))
    return logging.getLogger("heeler")


def record(message: str = "resizing", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.INFO, "shop.py", 3, message, (), None)
    vars(made).update(fields)
    return made


IN_TASK = {"task_id": "01a2", "task_name": "shop.resize", "task_attempt": 1}


def test_a_line_of_a_task_ends_with_its_name_and_id() -> None:
    form = LineFormatter(terminal=True)
    assert form.format(record()).split(" ", 1)[1] == "INFO resizing"
    assert form.format(record(task_id="", task_name="", task_attempt="")).endswith("INFO resizing")
    assert form.format(record(**IN_TASK)).endswith("INFO resizing [shop.resize 01a2]")
    assert form.format(record(**IN_TASK | {"task_attempt": 2})).endswith("[shop.resize 01a2 attempt 2]")


def test_what_a_line_says_of_its_task_itself_is_not_said_twice() -> None:
    assert LineFormatter(terminal=True).format(record("shop.resize 01a2 failed", **IN_TASK)).endswith("01a2 failed")


def test_a_traceback_comes_after_the_line() -> None:
    lines = LineFormatter(terminal=False).format(record(**IN_TASK, exc_text="Traceback …\nValueError: no")).split("\n")
    assert lines[0].endswith("shop: resizing [shop.resize 01a2]")
    assert lines[1:] == ["Traceback …", "ValueError: no"]


def test_json_is_one_object_a_line_with_the_task_and_what_extra_gave() -> None:
    text = JsonFormatter().format(record("a\nb", **IN_TASK, path="cat.png", size=object))
    assert "\n" not in text
    said = json.loads(text)
    assert said.pop("time").endswith("Z")
    assert said.pop("process") > 0
    assert said == {
        "level": "info",
        "logger": "shop",
        "message": "a\nb",
        "task_id": "01a2",
        "task_name": "shop.resize",
        "task_attempt": 1,
        "path": "cat.png",
        "size": "<class 'object'>",
    }


def test_json_outside_a_task_has_no_task() -> None:
    said = json.loads(JsonFormatter().format(record(task_id="", task_name="", task_attempt="")))
    assert not [key for key in said if key.startswith("task")]


def test_json_has_the_traceback() -> None:
    try:
        raise ValueError("no such picture")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    said = json.loads(JsonFormatter().format(record(exc_info=info)))
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: no such picture")


def test_without_configuration_all_loggers_go_to_stderr_from_info_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = fresh_logger(monkeypatch)
    configure(logger, None, None)
    logging.getLogger("shop").info("of the user")
    logger.getChild("worker").info("of ours")
    logging.getLogger("shop").debug("hidden")
    assert [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()] == ["of the user", "of ours"]


def test_a_program_that_has_configured_logging_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = fresh_logger(monkeypatch)
    own = io.StringIO()
    handler = logging.StreamHandler(own)
    logging.getLogger().addHandler(handler)
    configure(logger, None, None)
    assert for_children() == ""
    logger.warning("said")
    assert (own.getvalue(), capsys.readouterr().err) == ("said\n", "")


def test_a_form_and_a_level_that_were_asked_for_count_in_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = fresh_logger(monkeypatch)
    own = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(own))
    configure(logger, "debug", "json")
    logger.debug("said")
    assert json.loads(own.getvalue())["message"] == "said"


def test_a_logger_that_keeps_its_records_to_itself_gets_a_handler_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = fresh_logger(monkeypatch)
    logger.propagate = False
    configure(logger, None, None)
    logger.info("said")
    assert capsys.readouterr().err.endswith("heeler: said\n")
    assert logging.getLogger().handlers == []


def test_a_child_does_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logger = fresh_logger(monkeypatch)
    configure(logger, "debug", "json")
    setup = for_children()
    logging.getLogger().handlers.clear()
    configure_child(setup)
    logging.getLogger("shop").debug("of the child")
    assert json.loads(capsys.readouterr().err)["message"] == "of the child"
