"""`eager://`: jobs run inside `enqueue`."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from heeler import (
    ConfigurationError,
    Heeler,
    InvalidArguments,
    Reject,
    Retry,
    RetryLater,
    TaskContext,
    TaskFailed,
    TaskStatus,
)
from heeler.connections import known_schemes


@pytest.fixture
def app():
    with Heeler("eager://") as app:
        yield app


@pytest.fixture
def add(app):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    return add


def ended(result):
    """The status of a job as the store has it now, without waiting."""
    result.refresh()
    return result.status


def test_a_job_has_ended_when_enqueue_returns(app, add):
    result = add.enqueue(2, 3)

    assert (result.status, result.return_value, result.attempts) == (TaskStatus.SUCCESSFUL, 5, 1)
    assert result.get(timeout=0.1) == 5
    assert [result.return_value for result in add.enqueue_many([(1, 1), (2, 2)])] == [2, 4]


async def test_a_job_has_ended_when_aenqueue_returns(app, add):
    result = await add.aenqueue(2, 3)

    assert result.return_value == 5
    assert [result.return_value for result in await add.aenqueue_many([(1, 1), (2, 2)])] == [2, 4]


async def test_enqueue_works_inside_a_running_loop(app, add):
    assert ended(add.enqueue(2, 3)) is TaskStatus.SUCCESSFUL


def test_all_jobs_have_ended_when_enqueue_many_returns(app, add):
    results = add.enqueue_many([(number, 0) for number in range(1001)])

    assert [ended(result) for result in results] == [TaskStatus.SUCCESSFUL] * 1001
    assert [result.return_value for result in results] == list(range(1001))


async def test_the_lazy_and_async_forms_run_too(app, add):
    assert [ended(result) for result in add.enqueue_iter([(1, 1)])] == [TaskStatus.SUCCESSFUL]
    for result in [*await add.aenqueue_many([(1, 1)]), *[result async for result in add.aenqueue_iter([(2, 2)])]]:
        await result.arefresh()
        assert result.is_finished


def test_an_error_is_in_the_result_and_not_raised_by_enqueue(app):
    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("bad picture")

    result = fail.enqueue()

    with pytest.raises(TaskFailed, match="bad picture") as caught:
        result.get(timeout=0.1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_wrong_arguments_are_refused_as_ever(app, add):
    with pytest.raises(InvalidArguments):
        add.enqueue("two", 3)


def test_arguments_and_results_go_through_the_codec(app):
    @app.task(name="same")
    def same(value: list) -> list:
        given.append(value)
        return value

    given = []
    mine = [1, (2, 3)]

    assert same.enqueue(mine).get(timeout=0.1) == [1, [2, 3]]
    assert given[0] is not mine


def test_retries_run_at_once_until_one_succeeds_or_all_are_used_up(app):
    @app.task(name="flaky", retry=Retry(3, delay=3600))
    def flaky(good: int, context: TaskContext) -> int:
        if context.attempt < good:
            raise ValueError(f"attempt {context.attempt}")
        return context.attempt

    assert flaky.enqueue(3).get(timeout=0.1) == 3
    result = flaky.enqueue(4)
    assert ended(result) is TaskStatus.FAILED
    assert [error.message for error in result.errors] == ["attempt 1", "attempt 2", "attempt 3"]


def test_a_rejection_ends_the_retries(app):
    @app.task(name="refuse", retry=Retry(5))
    def refuse() -> None:
        raise Reject("never")

    result = refuse.enqueue()

    assert ended(result) is TaskStatus.FAILED
    assert result.attempts == 1


def test_a_job_that_asks_for_another_run_for_ever_is_left_waiting(app):
    @app.task(name="poll")
    async def poll() -> None:
        raise RetryLater(60, count=False)

    result = poll.enqueue()

    assert ended(result) is TaskStatus.READY


def test_a_delayed_job_runs_at_once(app, add):
    assert ended(add.using(run_after=timedelta(days=1)).enqueue(1, 1)) is TaskStatus.SUCCESSFUL


def test_any_queue_will_do(app, add):
    assert ended(add.using(queue_name="somewhere").enqueue(1, 1)) is TaskStatus.SUCCESSFUL


def test_a_task_that_nobody_has_fails(app):
    result = app.enqueue_by_name("elsewhere.task")

    assert ended(result) is TaskStatus.FAILED
    assert "UnknownTask" in result.last_error.exception_class_path


def test_follow_ups_have_run_as_well_and_only_after_a_success(app, add):
    @app.task(name="parent")
    def parent(good: bool, context: TaskContext) -> str:
        child = context.enqueue(add.using(queue_name="children", run_after=60).s(1, 1))
        children.append(child)
        if not good:
            raise ValueError("no")
        return child.id

    children = []
    parent.enqueue(True)
    assert ended(children[0]) is TaskStatus.SUCCESSFUL
    parent.enqueue(False)
    assert len(app.queues.list_jobs("waiting")) == 0
    assert children[1].status is TaskStatus.READY


def test_a_job_that_enqueues_finds_that_job_ended(app, add):
    @app.task(name="in_thread")
    def in_thread() -> str:
        return ended(add.enqueue(1, 1))

    @app.task(name="blocking_its_loop")
    async def blocking_its_loop() -> str:
        return ended(add.enqueue(1, 1))

    @app.task(name="in_coroutine")
    async def in_coroutine() -> str:
        result = await add.aenqueue(1, 1)
        await result.arefresh()
        return result.status

    @app.task(name="deep")
    async def deep(levels: int) -> int:
        return 1 + (await (await deep.aenqueue(levels - 1)).aget(timeout=1)) if levels else 0

    for task in (in_thread, blocking_its_loop, in_coroutine):
        assert task.enqueue().get(timeout=0.1) == TaskStatus.SUCCESSFUL
    assert deep.enqueue(10).get(timeout=0.1) == 10


@pytest.mark.parametrize("count", [2, 50])
def test_a_job_that_enqueues_many_side_by_side_finds_them_ended(app, add, count):
    @app.task(name="gathering")
    async def gathering() -> list[str]:
        results = await asyncio.gather(*(add.aenqueue(number, 0) for number in range(count)))
        for result in results:
            await result.arefresh()
        return [result.status for result in results]

    @app.task(name="pooling")
    def pooling() -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: ended(add.enqueue(number, 0)), range(count)))

    for task in (gathering, pooling):
        assert task.enqueue().get(timeout=0.1) == [TaskStatus.SUCCESSFUL] * count


def test_threads_that_enqueue_at_the_same_time_each_find_their_jobs_ended(app, add):
    start = threading.Barrier(8)

    def enqueue(number):
        start.wait(10)
        return [ended(add.enqueue(number, n)) for n in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for statuses in pool.map(enqueue, range(8)):
            assert statuses == [TaskStatus.SUCCESSFUL] * 20


def test_enqueueing_a_running_job_again_under_its_id_does_not_wait_for_itself(app):
    @app.task(name="once", takes_context=True)
    def once(context: TaskContext) -> str:
        return once.using(id=context.id).enqueue().id

    assert once.using(id="the-one").enqueue().get(timeout=0.1) == "the-one"


async def test_coroutine_tasks_do_not_run_in_the_callers_loop(app):
    @app.task(name="where")
    async def where() -> bool:
        return asyncio.get_running_loop() is mine

    mine = asyncio.get_running_loop()

    assert await (await where.aenqueue()).aget(timeout=1) is False
    assert await where.enqueue().aget(timeout=1) is False


def test_a_paused_queue_keeps_its_jobs(app, add):
    app.queues.pause("default")

    assert ended(add.enqueue(1, 1)) is TaskStatus.READY


def test_a_startup_hook_that_fails_is_raised_by_enqueue(app, add):
    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        add.enqueue(1, 1)


async def test_it_is_raised_inside_a_running_loop_as_well(app, add):
    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        add.enqueue(1, 1)
    with pytest.raises(OSError, match="no database"):
        await add.aenqueue(1, 1)


def test_it_is_a_known_scheme_without_options_or_name():
    assert "eager" in known_schemes()
    with pytest.raises(ConfigurationError, match="unknown option"):
        Heeler("eager://?lease=3")
    with pytest.raises(ConfigurationError, match="eager://"):
        Heeler("eager://name")


def test_side_by_side_jobs_that_are_retried_have_ended_as_well(app):
    @app.task(name="flaky", retry=Retry(20))
    async def flaky(context: TaskContext) -> int:
        if context.attempt < 15:
            raise ValueError("not yet")
        return context.attempt

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: ended(flaky.enqueue()), range(40))) == [TaskStatus.SUCCESSFUL] * 40
