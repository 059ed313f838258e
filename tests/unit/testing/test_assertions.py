"""Assertions about what is enqueued."""

import pytest

from heeler import Heeler, InvalidArguments
from heeler.testing import assert_enqueued, assert_not_enqueued, drain, enqueued


@pytest.fixture
def resize(app):
    @app.task(name="images.resize")
    def resize(path: str, width: int = 64, sizes: tuple[int, ...] = ()) -> None: ...

    return resize


def test_a_job_is_found_by_its_task(app, resize):
    result = resize.enqueue("cat.png")

    assert assert_enqueued(app, resize) == [result]
    assert assert_enqueued(app, "images.resize") == [result]


def test_arguments_match_however_they_were_passed(app, resize):
    resize.enqueue("cat.png", width=320, sizes=(1, 2))

    assert_enqueued(app, resize, "cat.png", 320, (1, 2))
    assert_enqueued(app, resize, path="cat.png", width=320, sizes=(1, 2))
    assert_not_enqueued(app, resize, "cat.png")
    assert_not_enqueued(app, resize, "dog.png", 320, (1, 2))


def test_a_count_is_exact(app, resize):
    resize.enqueue_many([("cat.png",), ("cat.png",), ("dog.png",)])

    assert len(assert_enqueued(app, resize, "cat.png", count=2)) == 2
    assert_enqueued(app, resize, "bird.png", count=0)
    with pytest.raises(AssertionError, match=r"expected 1 job of images.resize\('cat.png'\) .* found 2"):
        assert_enqueued(app, resize, "cat.png", count=1)


def test_a_queue_can_be_asked_for(app, resize):
    resize.using(queue_name="images").enqueue("cat.png")

    assert_enqueued(app, resize, queue_name="images")
    assert_not_enqueued(app, resize, queue_name="default")
    with pytest.raises(AssertionError, match="on queue 'default' to be enqueued"):
        assert_enqueued(app, resize, queue_name="default")


def test_delayed_jobs_are_enqueued_and_those_that_have_run_are_not(app, resize):
    resize.enqueue("now.png")
    resize.using(run_after=60).enqueue("later.png")

    assert [result.args for result in enqueued(app)] == [("now.png",), ("later.png",)]
    drain(app)
    assert [result.args for result in enqueued(app, resize)] == [("later.png",)]


def test_a_failure_lists_what_is_enqueued_instead(app, resize):
    resize.enqueue("cat.png", 320)

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(app, resize, "dog.png", width=64)

    assert str(caught.value) == (
        "expected a job of images.resize('dog.png', width=64) to be enqueued, found none.\n"
        "Enqueued are:\n"
        "  images.resize('cat.png', 320) on queue 'default'"
    )


def test_a_failure_with_many_jobs_shows_the_first(app, resize):
    resize.enqueue_many([(f"{number}.png",) for number in range(30)])

    with pytest.raises(AssertionError, match=r"'19\.png'(?s:.)*… and 10 more$"):
        assert_enqueued(app, resize, "dog.png")


def test_a_failure_says_when_nothing_is_enqueued(app, resize):
    with pytest.raises(AssertionError, match=r"Nothing is enqueued\.$"):
        assert_enqueued(app, resize)
    with Heeler("eager://") as eager, pytest.raises(AssertionError, match="eager:// runs jobs inside enqueue"):
        assert_enqueued(eager, "images.resize")


def test_not_enqueued_fails_where_the_job_is(app, resize):
    resize.enqueue("cat.png")

    assert_not_enqueued(app, "other")
    with pytest.raises(AssertionError, match=r"expected no job of images.resize to be enqueued, found 1\.\nEnqueued"):
        assert_not_enqueued(app, resize)


def test_arguments_that_the_task_refuses_are_a_mistake_of_the_test(app, resize):
    with pytest.raises(InvalidArguments, match="width"):
        assert_enqueued(app, resize, "cat.png", "wide")


def test_a_task_known_by_name_only_is_compared_by_plain_values(app):
    app.declare("elsewhere.send").enqueue("a", to=["b"])

    assert_enqueued(app, "elsewhere.send", "a", to=["b"])
    assert_not_enqueued(app, "elsewhere.send", "a")


def test_more_jobs_than_a_page_are_all_found(app, resize):
    resize.enqueue_many([("cat.png",)] * 1001)

    assert_enqueued(app, resize, "cat.png", count=1001)


async def test_it_can_be_asked_from_async_code(app, resize):
    await resize.aenqueue("cat.png")

    assert_enqueued(app, resize, "cat.png")
