import pytest
import typer

from heeler.cli.worker import parse_queues


def test_no_queues_leave_the_choice_to_the_app() -> None:
    assert parse_queues(None) is None


def test_names_alone_are_a_strict_order() -> None:
    assert parse_queues("images, default,images") == ["images", "default"]


def test_numbers_are_weights() -> None:
    assert parse_queues("images=3,default=1") == {"images": 3, "default": 1}


@pytest.mark.parametrize("text", ["", "images,,default", "images=3,default", "images=0", "=3", "images=many"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="images=3"):
        parse_queues(text)
