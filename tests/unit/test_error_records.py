import sys
from pathlib import Path

import msgspec
import pytest

from heeler import Heeler
from heeler.error_records import MESSAGE_LIMIT, TRACEBACK_LIMIT, rebuild_error, record_error
from heeler.errors import InvalidArguments, RetryLater
from heeler.model import ErrorRecord


class Plain(ValueError):
    class Nested(KeyError):
        pass


class Picky(Exception):
    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(f"{code}: {text}")


class Broken(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    def __reduce__(self) -> tuple[object, ...]:
        raise ZeroDivisionError


class Many(Exception):
    def __new__(cls, *args: object) -> object:  # type: ignore[misc]
        return super().__new__(cls, *args) if args else "not an exception"


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as same:
        return same


def test_what_is_kept_of_an_error() -> None:
    record = record_error(caught(Plain("bad", 3)), 2, 17.5)
    assert record.exception_class_path == f"{__name__}.Plain"
    assert record.message == "('bad', 3)"
    assert record.bases == ("builtins.ValueError", "builtins.Exception", "builtins.BaseException")
    assert (record.attempt, record.at) == (2, 17.5)
    assert "raise error" in record.traceback
    assert msgspec.msgpack.decode(record.arguments) == ["bad", 3]


def test_causes_and_notes_are_in_the_traceback() -> None:
    error = caught(Plain("outer"))
    error.__cause__ = caught(KeyError("inner"))
    error.add_note("on page 7")
    text = record_error(error, 1, 0.0).traceback
    assert "KeyError: 'inner'" in text
    assert "direct cause" in text
    assert "on page 7" in text


def test_frames_of_the_runner_are_left_out() -> None:
    from heeler.contracts import Call
    from heeler.executors.threads import _run

    finished = _run(Call(id="a", function=caught_and_raised))
    assert finished.error is not None
    text = record_error(finished.error, 1, 0.0).traceback
    assert "threads.py" not in text
    assert "in caught_and_raised" in text


def caught_and_raised() -> None:
    raise Plain("from the task")


def test_an_error_of_the_runner_itself_keeps_its_frames() -> None:
    from heeler.contracts import Call
    from heeler.executors.threads import _run

    finished = _run(Call(id="a"))
    assert finished.error is not None
    assert "threads.py" in record_error(finished.error, 1, 0.0).traceback


def test_an_error_of_heelers_own_code_is_its_line_alone() -> None:
    spec = Heeler("memory://").task(name="add")(lambda x: x).spec

    def record(error: Exception) -> str:
        return record_error(error, 1, 0.0).traceback

    with pytest.raises(InvalidArguments) as caught:
        spec.parameters.decode(b"rubbish", spec.codec)
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # without this test's own frame
    assert record(caught.value) == f"heeler.errors.InvalidArguments: {caught.value}\n"
    with pytest.raises(InvalidArguments) as caught:
        spec.parameters.decode(b"rubbish", spec.codec)
    assert "test_error_records.py" in record(caught.value)


def test_texts_are_bounded() -> None:
    record = record_error(caught(Plain("x" * 1_000_000)), 1, 0.0)
    assert len(record.message) < MESSAGE_LIMIT + 100
    assert len(record.traceback) < TRACEBACK_LIMIT + 100
    assert record.arguments == b""


def test_the_end_of_a_long_traceback_is_kept() -> None:
    error = caught(Plain("the point"))
    for number in range(2000):
        error.add_note(f"note {number}")
    text = record_error(error, 1, 0.0).traceback
    assert text.startswith("… (")
    assert text.endswith("note 1999\n")


def test_a_class_that_cannot_be_shown_is_recorded_all_the_same() -> None:
    record = record_error(caught(Broken()), 1, 0.0)
    assert record.message == "<Broken.__str__ raised ZeroDivisionError>"
    assert record.arguments == b""
    assert rebuild_error(record) is None


def test_a_record_can_be_encoded_whatever_the_text_is() -> None:
    record = record_error(caught(OSError(2, "no file", "caf\udce9")), 1, 0.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=ErrorRecord) == record
    assert record.arguments == b""


@pytest.mark.parametrize(
    "error",
    [
        Plain("bad", 3, None, [1, {"a": 2.5}], b"bytes"),
        Plain.Nested("deep"),
        ValueError("built in"),
        FileNotFoundError(2, "no such file", "/nowhere"),
        InvalidArguments("does not fit"),
        RetryLater(3.0, False),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_rebuilt_from_its_record(error: BaseException) -> None:
    rebuilt = rebuild_error(record_error(caught(error), 1, 0.0))
    assert type(rebuilt) is type(error)
    assert str(rebuilt) == str(error)
    assert rebuilt.args == error.args


@pytest.mark.parametrize("error", [Plain((1, 2)), Plain({1, 2}), Plain(2**70), Plain(object()), Plain(Path("."))])
def test_arguments_that_would_change_on_the_way_are_not_kept(error: Plain) -> None:
    record = record_error(error, 1, 0.0)
    assert record.arguments == b""
    assert rebuild_error(record) is None


def recorded(path: str, arguments: object = ()) -> ErrorRecord:
    return ErrorRecord(path, "text", arguments=msgspec.msgpack.encode(arguments))


@pytest.mark.parametrize(
    "record",
    [
        recorded("no_such_module.Error"),
        recorded(f"{__name__}.NoSuchClass"),
        recorded(f"{__name__}.caught_and_raised"),
        recorded(f"{__name__}.caught.<locals>.Hidden"),
        recorded("os.path.join", ["a"]),
        recorded("print", ["called!"]),
        recorded("int", [1]),
        recorded("Plain"),
        recorded(""),
        recorded(f"{__name__}.Picky", ["1: text"]),
        recorded(f"{__name__}.Many"),
        ErrorRecord(f"{__name__}.Plain", "text", arguments=b"\xc1"),
        ErrorRecord(f"{__name__}.Plain", "text", arguments=msgspec.msgpack.encode("not a list")),
    ],
)
def test_what_is_no_exception_here_is_not_rebuilt(record: ErrorRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert rebuild_error(record) is None
    assert capsys.readouterr().out == ""


def test_a_class_is_imported_where_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faraway_errors.py").write_text("class Far(Exception): pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    rebuilt = rebuild_error(recorded("faraway_errors.Far", ["away"]))
    assert str(rebuilt) == "away"
    del sys.modules["faraway_errors"]


def test_a_module_that_ends_the_program_on_import_ends_nothing_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rebuild_error(recorded("leaving_module.Error")) is None
