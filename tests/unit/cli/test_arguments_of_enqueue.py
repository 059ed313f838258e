import pytest

from heeler import ConfigurationError, Heeler, UnknownTask
from heeler.cli.enqueue import choose_task, read_arguments


def test_arguments_are_a_json_list_and_a_json_object() -> None:
    assert read_arguments('["cat.png", 320]', '{"deep": {"list": [null, 1.5]}}') == (
        ["cat.png", 320],
        {"deep": {"list": [None, 1.5]}},
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ("[1,", "{}", "--args is not JSON"),
        ('{"a": 1}', "{}", "--args takes a JSON list"),
        ("[]", "[1]", "--kwargs takes a JSON object"),
        ("[]", "a=1", "--kwargs is not JSON"),
    ],
)
def test_what_is_no_json_names_the_option(args: str, kwargs: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_arguments(args, kwargs)


def test_a_task_is_found_by_its_unique_last_part(app: Heeler) -> None:
    resize = app.task(lambda path: path, name="shop.images.resize")
    assert choose_task(app, "resize") is resize
    assert choose_task(app, "images.resize") is resize


def test_a_last_part_of_two_names_is_refused(app: Heeler) -> None:
    app.task(lambda path: path, name="shop.images.resize")
    app.task(lambda path: path, name="shop.films.resize")
    with pytest.raises(UnknownTask, match=r"shop\.films\.resize, shop\.images\.resize"):
        choose_task(app, "resize")


def test_a_name_that_nobody_here_knows_is_sent_as_it_is(app: Heeler, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_task(app, "elsewhere.resize").name == "elsewhere.resize"
    assert "no task 'elsewhere.resize' is known here" in capsys.readouterr().err
