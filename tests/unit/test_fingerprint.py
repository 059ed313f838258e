"""The digest that tells the same job from another one under the same id."""

import pytest

from heeler import Heeler, IdConflict
from heeler.arguments import fingerprint
from heeler.types import TypeRegistry


def digest(*args: object, task: str = "t", payload: bytes = b"", **kwargs: object) -> bytes:
    return fingerprint(task, (args, kwargs), payload, TypeRegistry())


def test_it_is_of_the_task_and_its_arguments() -> None:
    assert len(digest(1)) == 16
    assert digest(1) == digest(1, payload=b"any")
    assert digest(1) != digest(2)
    assert digest(1) != digest(1, task="other")


def test_the_order_of_sets_and_dicts_does_not_count() -> None:
    assert digest({"a": 1, "b": {3, 1}}) == digest({"b": {1, 3}, "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_what_cannot_be_ordered_goes_by_its_payload() -> None:
    mixed = {1: "a", "b": 2}

    assert digest(mixed, payload=b"x") == digest(mixed, payload=b"x")
    assert digest(mixed, payload=b"x") != digest(mixed, payload=b"y")


def test_the_same_job_is_known_again_by_name_and_with_another_codec(app: Heeler) -> None:
    @app.task(name="count")
    def count(words: set[str]) -> int:
        return len(words)

    once = count.using(id="mine")
    once.enqueue({"a", "b", "c"})
    once.using(codec="json").enqueue({"c", "b", "a"})
    with pytest.raises(IdConflict):
        once.enqueue({"a"})
    assert app.queues.sizes()[0].waiting == 1
