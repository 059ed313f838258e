import pytest
import typer

from heeler.cli.durations import duration_text, read_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("45s", 45),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("250ms", 0.25),
        (" 1.5h ", 5400),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert read_duration(text, "--in") == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-5", "5m later", "h"])
def test_what_is_no_time_names_the_option_and_the_forms(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"--in takes a time like 30, 45s"):
        read_duration(text, "--in")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 ms"),
        (0.0042, "4.2 ms"),
        (0.25, "250 ms"),
        (0.9999, "1 s"),
        (3, "3 s"),
        (2.34, "2.3 s"),
        (42.4, "42 s"),
        (59.9, "1 min"),
        (61, "1 min 1 s"),
        (3599, "1 h"),
        (5400, "1 h 30 min"),
        (86399, "1 d"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_is_shown_in_one_or_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
