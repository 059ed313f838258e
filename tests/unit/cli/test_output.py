import json
from datetime import UTC, datetime

import pytest

from heeler.cli.output import Column, count_text, print_facts, print_json, print_table, say, value_text


def test_without_a_terminal_columns_are_aligned_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("QUEUE"), Column("WAITING", right=True)], [["default", "7"], ["x" * 120, "12,000"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "default" + " " * 113 + "  " + "      7"
    assert lines[2] == "x" * 120 + "   12,000"


def test_a_cell_with_several_lines_stays_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("REASON")], [["first\n  second"]])
    assert capsys.readouterr().out.splitlines() == ["REASON", "first second"]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"id": "1", "at": datetime(2026, 1, 2, tzinfo=UTC)}, {"id": "2", "value": 1 + 2j}])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"id": "1", "at": "2026-01-02T00:00:00Z"}, {"id": "2", "value": "(1+2j)"}]


def test_facts_are_aligned_and_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("id", "1"), ("error 1", "ValueError: first\nsecond [bold]")])
    assert capsys.readouterr().out.splitlines() == [
        "id       1",
        "error 1  ValueError: first",
        "         second [bold]",
    ]


@pytest.mark.parametrize(("value", "text"), [("cat", '"cat"'), ([1, None], "[1,null]"), (1 + 2j, "(1+2j)")])
def test_a_value_is_json_where_it_can_be(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 jobs"), (1, "1 job"), (1200, "1,200 jobs")])
def test_one_is_not_many(count: int, text: str) -> None:
    assert count_text(count, "job") == text


def test_what_a_job_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("red \x1b[31m, tab\tand line\nstay")
    print_table([Column("REASON")], [["\x1b]0;title\x07"]])
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert out.startswith("red \\x1b[31m")
