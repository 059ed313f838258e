"""Listing jobs through the app; what a store lists is the affair of the conformance suites."""

from datetime import UTC, datetime, timedelta

import pytest

from heeler import ConfigurationError, Heeler, Reject, ResultNotFound, TaskStatus
from heeler.clock import SystemClock
from heeler.io_thread import IoThread
from heeler.testing.manual_clock import ManualClock
from heeler.testing.plain_memory import MemoryPlainBroker


@pytest.fixture
def tasks(app):
    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="fail", queue_name="dangerous")
    def fail() -> None:
        raise Reject("bad")

    return app.tasks


def test_a_page_shows_handles_with_all_that_is_known(app, tasks):
    first = tasks["add"].enqueue(1, b=2)
    bad = tasks["fail"].enqueue()
    with app.worker():
        first.get(timeout=10)
        bad.join(timeout=10)
    later = tasks["add"].using(run_after=60).enqueue(3, 4)

    listed = app.jobs()

    assert listed == [later, bad, first]
    assert [job.status for job in listed] == ["READY", "FAILED", "SUCCESSFUL"]
    assert (listed[2].args, listed[2].kwargs, listed[2].return_value) == ((1,), {"b": 2}, 3)
    assert app.jobs(limit=2) == [later, bad]
    assert app.jobs(limit=2, after=bad) == app.jobs(limit=2, after=bad.id) == [first]
    assert app.jobs(scheduled=True) == [later]
    assert app.jobs("failed") == app.jobs(TaskStatus.FAILED) == app.jobs(queue_name="dangerous") == [bad]
    assert app.jobs([TaskStatus.READY, "SUCCESSFUL"], task=tasks["add"]) == [later, first]
    assert app.jobs(task="nobody") == []


async def test_the_same_from_async_code(app, tasks):
    jobs = [await tasks["add"].aenqueue(n, n) for n in range(5)]

    assert await app.ajobs(limit=3) == jobs[:1:-1]
    assert await app.ajobs(limit=3, after=jobs[2]) == jobs[1::-1]


def test_since_is_a_moment_or_how_long_ago():
    clock = ManualClock()
    with Heeler("memory://", clock=clock) as app:
        task = app.declare("work")
        old = task.enqueue()
        clock.advance(3600)
        new = task.enqueue()

        assert app.jobs(since=60) == app.jobs(since=timedelta(minutes=1)) == [new]
        assert app.jobs(since=datetime.fromtimestamp(clock.time() - 60, UTC)) == [new]
        assert app.jobs(since=timedelta(hours=2)) == [new, old]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"status": "lost"}, "'lost' is no status; there are READY, RUNNING"),
        ({"status": [3]}, "3 is no status"),
        ({"since": datetime(2024, 1, 1)}, "jobs: since: .* has no time zone"),
        ({"since": -1}, "jobs: since must be zero or more"),
        ({"limit": 0}, "jobs: limit must be 1 or more, got 0"),
    ],
)
def test_a_wrong_argument_says_what_would_be_right(app, arguments, told):
    with pytest.raises(ValueError, match=told):
        app.jobs(**arguments)


def test_the_end_of_a_page_that_is_forgotten_is_an_error(app):
    app.declare("work").enqueue()

    with pytest.raises(ResultNotFound, match="begin again from the newest one"):
        app.jobs(after="nobody")


def test_without_results_what_waits_is_listed_all_the_same():
    with Heeler("memory://", results="none://") as app:
        waiting = app.declare("work").enqueue()

        assert app.jobs() == [waiting]


def test_where_nothing_is_stored_of_jobs_nothing_can_be_listed():
    plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name="listing")
    with Heeler(broker=plain) as app, pytest.raises(ConfigurationError, match="stores no results"):
        app.jobs()
