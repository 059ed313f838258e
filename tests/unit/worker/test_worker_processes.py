"""Tasks in child processes, and suspects, which run alone in one."""

import asyncio
import os
import threading

import pool_tasks
import pytest

from heeler import Heeler, TaskFailed, TaskStatus
from heeler.contracts import QueueShare


@pytest.fixture
def app():
    """The app of the module that children import; its jobs are gone after each test."""
    yield pool_tasks.app
    pool_tasks.app.queues.purge("default", scheduled=True)
    pool_tasks.app.dead_letters.purge()


def lose_leases(app: Heeler, count: int) -> None:
    """Fetch as a worker would that dies at once: its leases run out, so the jobs are suspects."""

    async def fetch_and_die() -> None:
        subscription = await app.connections.broker.subscribe([QueueShare("default")], 0.01)
        assert len(await subscription.fetch(count)) == count
        await subscription.quiet()

    app.connections.io.run(fetch_and_die())


def test_a_process_task_runs_in_another_process_and_its_children_are_used_again(app: Heeler):
    with app.worker(concurrency=1):
        first, second = pool_tasks.pid.enqueue().get(timeout=20), pool_tasks.pid.enqueue().get(timeout=20)
    assert first == second != os.getpid()


def test_a_child_that_dies_takes_down_its_own_job_only(app: Heeler):
    with app.worker(concurrency=2):
        dying = pool_tasks.die.enqueue()
        assert pool_tasks.pid.enqueue().get(timeout=20) != os.getpid()
        with pytest.raises(TaskFailed, match="died 4 times") as caught:
            dying.get(timeout=20)
        assert caught.value.exception_class_path == "heeler.errors.WorkerCrashed"
    assert dying.attempts == 0


def test_a_process_that_takes_too_long_is_killed(app: Heeler):
    with app.worker(concurrency=1):
        with pytest.raises(TaskFailed, match="timeout"):
            pool_tasks.hang.enqueue().get(timeout=20)
        assert pool_tasks.pid.enqueue().get(timeout=20) != os.getpid()


def test_what_a_child_says_reaches_the_job_s_record_and_its_next_run(app: Heeler):
    with app.worker(concurrency=1):
        result = pool_tasks.speak.enqueue()
        assert result.get(timeout=20) == ["kept", "and more"]
    assert (result.attempts, result.last_error.message) == (2, "first")


def test_a_child_answers_in_the_codec_of_the_task_whatever_the_arguments_came_in(app: Heeler):
    with app.worker(concurrency=1):
        assert pool_tasks.as_it_is.using(codec="json").enqueue({"a": 1}).get(timeout=20) == {"a": 1}


@pytest.mark.parametrize("task", [pool_tasks.where, pool_tasks.where_async])
def test_a_suspect_runs_in_a_child_and_its_siblings_here(app: Heeler, task):
    suspect = task.enqueue()
    lose_leases(app, 1)
    with app.worker():
        assert task.enqueue().get(timeout=20) == os.getpid()
        assert suspect.get(timeout=20) != os.getpid()
    assert suspect.status is TaskStatus.SUCCESSFUL


def test_a_poison_job_among_good_ones_charges_only_itself(app: Heeler):
    good = pool_tasks.where.enqueue_many([()] * 20)
    poison = pool_tasks.poison.enqueue()
    lose_leases(app, 21)
    with app.worker():
        for result in good:
            assert result.get(timeout=30) != os.getpid()
        with pytest.raises(TaskFailed, match="died"):
            poison.get(timeout=30)
    (letter,) = app.dead_letters.list()
    assert (letter.id, letter.crashes) == (poison.id, 4)


def test_suspects_that_no_child_can_import_run_one_at_a_time_and_with_nothing_else():
    running, beside_suspects = [0], []

    with Heeler("memory://") as app:

        @app.task(name="closure")
        async def closure(suspect: bool) -> int:
            running[0] += 1
            await asyncio.sleep(0.005)  # long enough for others to start, if they did
            if suspect:
                beside_suspects.append(running[0] - 1)
            running[0] -= 1
            return os.getpid()

        suspects = closure.enqueue_many([(True,)] * 5)
        lose_leases(app, 5)
        others = closure.enqueue_many([(False,)] * 20)
        with app.worker():
            assert {result.get(timeout=20) for result in suspects + others} == {os.getpid()}
    assert beside_suspects == [0] * 5


def test_a_task_that_must_not_run_twice_is_written_down_before_it_starts():
    with Heeler("memory://") as app:
        started = threading.Event()
        end = threading.Event()

        @app.task(name="once", max_crashes=0)
        def once() -> None:
            started.set()
            end.wait(10)

        result = once.enqueue()
        with app.worker():
            assert started.wait(5)
            job = app.connections.broker._state.jobs[result.id]
            assert job.started
            end.set()
            result.get(timeout=5)
