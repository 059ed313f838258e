"""Running what is due inside a test."""

import asyncio
import threading
from datetime import timedelta

import pytest

from heeler import ConfigurationError, Heeler, HeelerError, Retry, RetryLater, TaskContext, TaskFailed, TaskStatus
from heeler.testing import ManualClock, adrain, assert_enqueued, drain


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def app(clock):
    with Heeler("memory://", clock=clock) as app:
        yield app


@pytest.fixture
def order(app):
    """A task that notes in which order its jobs ran, and that list."""
    order = []

    @app.task(name="note")
    def note(word: str) -> None:
        order.append(word)

    return note, order


def test_everything_due_is_run_and_counted(app):
    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="double")
    async def double(a: int) -> int:
        return 2 * a

    sum_, twice = add.enqueue(2, 3), double.enqueue(4)

    assert drain(app) == 2
    assert (sum_.get(timeout=0.1), twice.get(timeout=0.1)) == (5, 8)
    assert drain(app) == 0


def test_jobs_run_in_enqueue_order_one_after_the_other(app, order):
    note, ran = order
    note.enqueue_many([(str(number),) for number in range(200)])

    assert drain(app) == 200
    assert ran == [str(number) for number in range(200)]


def test_what_a_job_enqueues_is_run_as_well_also_on_a_queue_that_is_new(app, order):
    note, ran = order

    @app.task(name="parent")
    def parent(context: TaskContext) -> None:
        note.using(queue_name="side").enqueue("at once")
        context.enqueue(note.using(queue_name="follow-ups").s("after"))
        ran.append("parent")

    parent.enqueue()

    assert drain(app) == 3
    assert sorted(ran) == ["after", "at once", "parent"]
    assert ran[0] == "parent"


def test_a_delayed_job_waits_until_the_clock_has_been_advanced(app, clock, order):
    note, ran = order
    note.using(run_after=timedelta(minutes=5)).enqueue("later")

    clock.advance(299)
    assert drain(app) == 0
    clock.advance(1)
    assert drain(app) == 1
    assert ran == ["later"]


def test_retries_are_run_as_their_delays_pass(app, clock):
    @app.task(name="flaky", retry=Retry(3, delay=10, jitter=False))
    def flaky(context: TaskContext) -> int:
        if context.attempt < 3:
            raise ValueError("not yet")
        return context.attempt

    result = flaky.enqueue()

    assert drain(app) == 1
    assert drain(app) == 0
    clock.advance(10)
    assert drain(app) == 1
    result.refresh()
    assert (result.status, result.attempts) == (TaskStatus.READY, 2)
    clock.advance(20)
    assert drain(app) == 1
    assert result.get(timeout=0.1) == 3


@pytest.mark.parametrize("attempt", range(10))
def test_a_retry_without_a_delay_belongs_to_the_same_drain(app, attempt):
    @app.task(name="again")
    async def again() -> int:
        runs.append(1)
        if len(runs) < 5:
            raise RetryLater(0, count=False)
        return len(runs)

    runs = []
    result = again.enqueue()

    assert drain(app) == 5
    assert result.get(timeout=0.1) == 5


def test_an_error_does_not_raise_but_is_in_the_result_and_the_dead_letters(app):
    @app.task(name="fail")
    def fail() -> None:
        raise KeyError("gone")

    result = fail.enqueue()

    assert drain(app) == 1
    with pytest.raises(TaskFailed, match="gone"):
        result.get(timeout=0.1)
    assert [letter.id for letter in app.dead_letters.list()] == [result.id]


def test_limit_ends_after_so_many_runs_and_leaves_the_rest_in_place(app, order):
    note, ran = order
    note.enqueue_many([("a",), ("b",), ("c",)])

    assert drain(app, limit=2) == 2
    assert ran == ["a", "b"]
    assert_enqueued(app, note, "c", count=1)
    assert drain(app, limit=2) == 1


def test_queues_drains_only_these(app, order):
    note, ran = order
    note.using(queue_name="images").enqueue("image")
    note.enqueue("other")

    assert drain(app, queues=["images"]) == 1
    assert ran == ["image"]
    assert drain(app) == 1


def test_a_paused_queue_is_left_alone(app, order):
    note, ran = order
    note.enqueue("paused")
    app.queues.pause("default")

    assert drain(app) == 0
    app.queues.resume("default")
    assert drain(app) == 1
    assert ran == ["paused"]


def test_hooks_and_middleware_take_part(clock):
    class Count:
        runs = 0

        async def around_run(self, context, call_next):
            Count.runs += 1
            return await call_next(context)

    with Heeler("memory://", clock=clock, middleware=[Count()]) as app:
        app.on_startup(lambda state: setattr(state, "pool", "open"))

        @app.task(name="use", takes_context=True)
        def use(context: TaskContext) -> str:
            return context.state.pool

        result = use.enqueue()
        drain(app)

        assert result.get(timeout=0.1) == "open"
    assert Count.runs == 1


def test_a_startup_hook_that_fails_is_raised_and_nothing_is_lost(app, order):
    note, ran = order

    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    note.enqueue("kept")
    with pytest.raises(OSError, match="no database"):
        drain(app)

    assert_enqueued(app, note, "kept")
    assert ran == []


def test_it_works_on_a_file_too(tmp_path):
    with Heeler(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task(name="add")
        def add(a: int, b: int) -> int:
            return a + b

        results = add.enqueue_many([(number, 1) for number in range(20)])

        assert drain(app) == 20
        assert [result.get(timeout=1) for result in results] == list(range(1, 21))


def test_a_drain_is_none_of_the_apps_workers(app):
    @app.task(name="look")
    def look() -> list[str]:
        return list(app.workers)

    result = look.enqueue()
    drain(app)

    assert result.get(timeout=0.1) == []


def test_tasks_of_imported_modules_are_known(monkeypatch, tmp_path):
    (tmp_path / "drained_jobs.py").write_text("import __main__\n__main__.drained_app.task(name='late')(lambda: 7)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Heeler("memory://", imports=["drained_jobs"]) as app:
        monkeypatch.setattr("__main__.drained_app", app, raising=False)
        result = app.enqueue_by_name("late")

        assert drain(app) == 1
        assert result.get(timeout=0.1) == 7


async def test_adrain_runs_coroutine_tasks_in_the_callers_loop(app):
    loops = []

    @app.task(name="where")
    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    await where.aenqueue()

    assert await adrain(app) == 1
    assert loops == [asyncio.get_running_loop()]


async def test_drain_inside_a_running_loop_says_what_to_write(app):
    with pytest.raises(HeelerError, match="await adrain"):
        drain(app)


def test_drain_runs_in_the_callers_thread(app):
    @app.task(name="which")
    async def which() -> int:
        return threading.get_ident()

    result = which.enqueue()
    drain(app)

    assert result.get(timeout=0.1) == threading.get_ident()


def test_a_closed_app_is_refused(clock):
    app = Heeler("memory://", clock=clock)
    app.close()

    with pytest.raises(ConfigurationError, match="closed"):
        drain(app)
