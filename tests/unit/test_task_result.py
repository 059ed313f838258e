"""The handle: waiting, following, cancelling, and what it says of a job's end."""

import asyncio
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from heeler import (
    BrokerUnavailable,
    ConfigurationError,
    Expired,
    Heeler,
    Reject,
    ResultExpired,
    ResultNotFound,
    ResultTimeout,
    Retry,
    TaskCancelled,
    TaskContext,
    TaskFailed,
    TaskStatus,
    aas_completed,
    agather,
    as_completed,
    gather,
)
from heeler.contracts import Inbox
from heeler.testing.manual_clock import ManualClock


class Broken(Exception):
    def __init__(self, code: int, word: str) -> None:
        super().__init__(code, word)
        self.code = code


@pytest.fixture
def tasks(app):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="fail")
    async def fail() -> None:
        raise Broken(7, "pipe")

    @app.task(name="hold")
    async def hold() -> None:
        await asyncio.Event().wait()

    return app.tasks


def test_get_waits_and_returns_the_value(app, tasks):
    with app.worker():
        result = tasks["add"].enqueue(2, 3)

        assert result.get(timeout=10) == 5
        assert result.status is TaskStatus.SUCCESSFUL
        assert result.return_value == 5
        assert result.attempts == 1
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert result.last_attempted_at == result.started_at
        assert len(result.worker_ids) == 1


async def test_aget_does_the_same_from_async_code(app, tasks):
    with app.worker():
        assert await (await tasks["add"].aenqueue(2, 3)).aget(timeout=10) == 5


def test_a_failure_carries_the_error_and_its_cause(app, tasks):
    with app.worker():
        result = tasks["fail"].enqueue()
        with pytest.raises(TaskFailed) as caught:
            result.get(timeout=10)

    error = caught.value
    assert error.exception_class_path == f"{__name__}.Broken"
    assert "Broken" in error.traceback
    assert error.attempts == 1
    assert isinstance(error.__cause__, Broken)
    assert error.__cause__.code == 7
    assert result.last_error.exception_class_path == error.exception_class_path
    with pytest.raises(ValueError, match="ended FAILED"):
        _ = result.return_value


def test_the_class_path_of_an_error_begins_with_its_module_also_for_builtins(app):
    @app.task(name="divide")
    def divide() -> float:
        return 1 / 0

    with app.worker(), pytest.raises(TaskFailed, match="failed after 1 attempt: ZeroDivisionError: ") as caught:
        divide.enqueue().get(timeout=10)
    assert caught.value.exception_class_path == "builtins.ZeroDivisionError"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_join_waits_without_raising(app, tasks):
    with app.worker():
        result = tasks["fail"].enqueue()
        result.join(timeout=10)

    assert result.status is TaskStatus.FAILED


def test_a_wait_that_takes_too_long_is_a_timeout_error_and_leaves_the_job(app, tasks):
    result = tasks["add"].enqueue(1, 2)

    with pytest.raises(TimeoutError) as caught:
        result.get(timeout=0.01)
    assert isinstance(caught.value, ResultTimeout)
    with app.worker():
        assert result.get(timeout=10) == 3


def test_a_return_value_that_is_not_there_yet_is_a_value_error(tasks):
    with pytest.raises(ValueError, match="not finished"):
        _ = tasks["add"].enqueue(1, 2).return_value


def test_a_result_is_found_by_its_id_from_another_app(app, tasks):
    result = tasks["add"].enqueue(1, 2)

    with Heeler(broker=app.connections.broker) as other:
        found = other.get_result(result.id)
        assert (found.name, found.status) == ("add", TaskStatus.READY)
        with app.worker():
            assert found.get(timeout=10) == 3
        assert tasks["add"].get_result(result.id).return_value == 3


def test_an_unknown_id_is_not_found(app, tasks):
    with pytest.raises(ResultNotFound, match="no job 'nobody'"):
        app.get_result("nobody")
    with pytest.raises(ResultNotFound, match="not of fail"):
        tasks["fail"].get_result(tasks["add"].enqueue(1, 2).id)


def test_forget_drops_the_record(app, tasks):
    with app.worker():
        result = tasks["add"].enqueue(1, 2)
        result.get(timeout=10)
    result.forget()

    with pytest.raises(ResultNotFound):
        result.refresh()


def test_a_result_is_kept_for_its_ttl():
    clock = ManualClock()
    with Heeler("memory://", clock=clock) as app:

        @app.task(name="noop", result_ttl=timedelta(minutes=1))
        async def noop() -> None: ...

        with app.worker():
            result = noop.enqueue()
            result.join(timeout=10)
        result.refresh()
        clock.advance(61)

        with pytest.raises(ResultExpired):
            result.refresh()


def test_an_ignored_result_cannot_be_waited_for(app):
    @app.task(name="quiet", ignore_result=True)
    def quiet() -> None: ...

    with pytest.raises(ResultNotFound, match="ignore_result"):
        quiet.enqueue().get(timeout=1)


def test_a_waiting_job_is_cancelled_at_once(app, tasks):
    result = tasks["add"].enqueue(1, 2)

    assert result.cancel() is True
    assert result.cancel() is True
    with pytest.raises(TaskCancelled):
        result.get(timeout=10)
    assert result.status is TaskStatus.CANCELLED


def test_a_running_job_is_told_to_stop(app, tasks):
    with app.worker():
        result = tasks["hold"].using(reports="all").enqueue()
        for report in result.reports(timeout=10):
            if report.kind == "running":
                break

        assert result.cancel() is True
        with pytest.raises(TaskCancelled):
            result.get(timeout=10)


def test_what_has_ended_is_not_cancelled(app, tasks):
    with app.worker():
        result = tasks["add"].enqueue(1, 2)
        result.get(timeout=10)

        assert result.cancel() is False
        assert result.status is TaskStatus.SUCCESSFUL


def test_reports_follow_a_job_to_its_end(app):
    go_on = threading.Event()

    @app.task(name="steps", takes_context=True, retry=Retry(2, delay=0))
    def steps(context: TaskContext) -> str:
        if context.attempt == 1:
            raise ValueError("once")
        context.progress(0.5, "half")
        go_on.wait(10)
        return "done"

    with app.worker():
        kinds = []
        for report in steps.using(reports="all").enqueue().reports(timeout=10):
            kinds.append(report.kind)
            if report.kind == "progress":
                assert (report.fraction, report.message, report.attempt) == (0.5, "half", 2)
                go_on.set()

    assert kinds[0] == "sent"
    assert kinds[-1] == "finished"
    assert "progress" in kinds


async def test_areports_follow_a_job_too(app, tasks):
    with app.worker():
        result = await tasks["add"].aenqueue(1, 2)
        kinds = [report.kind async for report in result.areports(timeout=10)]

    assert kinds[0] == "sent"
    assert kinds[-1] == "finished"


def test_a_saved_value_is_readable_while_running_and_is_the_result_of_none(app):
    saved = threading.Event()
    go_on = threading.Event()

    @app.task(name="keep", takes_context=True)
    def keep(context: TaskContext) -> None:
        context.save({"step": 1})
        saved.set()
        go_on.wait(10)

    with app.worker():
        result = keep.enqueue()
        for report in result.reports(timeout=10):
            if report.kind in ("running", "progress"):
                result.refresh()
                if result.saved is not None:
                    assert result.saved == {"step": 1}
                    go_on.set()

        assert result.get(timeout=10) == {"step": 1}


def test_done_callbacks_are_called_with_the_handle(app, tasks):
    ended = threading.Event()
    seen = []

    def done(result):
        seen.append(result.return_value)
        ended.set()

    with app.worker():
        tasks["add"].enqueue(1, 2).add_done_callback(done)
        assert ended.wait(10)

    assert seen == [3]


def test_gather_returns_values_in_order(app, tasks):
    with app.worker():
        results = tasks["add"].enqueue_many([(n, n) for n in range(50)])

        assert gather(results, timeout=10) == [2 * n for n in range(50)]
        assert gather([]) == []


def test_gather_raises_the_first_failure_or_returns_it(app, tasks):
    with app.worker():
        results = [tasks["add"].enqueue(1, 1), tasks["fail"].enqueue(), tasks["add"].enqueue(2, 2)]
        with pytest.raises(TaskFailed):
            gather(results, timeout=10)

        values = gather(results, timeout=10, return_exceptions=True)

    assert (values[0], values[2]) == (2, 4)
    assert isinstance(values[1], TaskFailed)


def test_gather_that_takes_too_long_returns_what_there_is(app, tasks):
    with app.worker():
        quick = tasks["add"].enqueue(1, 1)
        quick.get(timeout=10)
        slow = tasks["hold"].enqueue()

        values = gather([quick, slow], timeout=0.05, return_exceptions=True)
        slow.cancel()

    assert values[0] == 2
    assert isinstance(values[1], ResultTimeout)


async def test_agather_does_the_same_from_async_code(app, tasks):
    with app.worker():
        results = await tasks["add"].aenqueue_many([(n, 1) for n in range(5)])

        assert await agather(results, timeout=10) == [1, 2, 3, 4, 5]


def test_as_completed_gives_each_as_it_ends(app, tasks):
    with app.worker():
        slow = tasks["hold"].enqueue()
        quick = tasks["add"].enqueue(1, 2)

        ended = as_completed([slow, quick], timeout=10)
        assert next(ended) == quick
        slow.cancel()
        assert next(ended) == slow


async def test_aas_completed_does_the_same_from_async_code(app, tasks):
    with app.worker():
        results = await tasks["add"].aenqueue_many([(n, 1) for n in range(5)])

        assert {result.return_value async for result in aas_completed(results, timeout=10)} == {1, 2, 3, 4, 5}


def test_as_completed_ends_with_a_timeout(app, tasks):
    with pytest.raises(ResultTimeout):
        list(as_completed([tasks["add"].enqueue(1, 2)], timeout=0.01))


def test_a_thousand_waiters_cost_one_listener(app, tasks):
    opened = []
    store = app.connections.needed_store()
    original = store.inbox

    async def counted():
        opened.append(1)
        return await original()

    store.inbox = counted
    results = tasks["add"].enqueue_many([(n, 0) for n in range(1000)])
    with ThreadPoolExecutor(50) as pool, app.worker():
        values = list(pool.map(lambda result: result.get(timeout=30), results))

    assert values == list(range(1000))
    assert len(opened) == 1


def test_a_rejected_job_names_the_reason(app):
    @app.task(name="refuse", retry=Retry(5))
    def refuse() -> None:
        raise Reject("not today")

    with app.worker(), pytest.raises(TaskFailed, match="not today") as caught:
        refuse.enqueue().get(timeout=10)

    assert caught.value.exception_class_path == "heeler.errors.Rejected"
    assert app.dead_letters.list()[0].task == "refuse"


def test_who_enqueues_an_id_again_is_told_of_its_end_by_push(tmp_path, monkeypatch):
    monkeypatch.setattr(Inbox, "sweep", 3600.0)  # so that nothing but a push tells of an end
    url = f"sqlite:///{tmp_path}/jobs.db"
    go_on = threading.Event()
    with Heeler(url) as first, Heeler(url) as second, ThreadPoolExecutor(1) as waiter:

        @first.task(name="hold")
        def hold() -> str:
            go_on.wait(10)
            return "done"

        @first.task(name="quick")
        def quick() -> None: ...

        again = second.declare("hold")
        with first.worker():
            second.declare("quick").enqueue().join(timeout=5)  # from now on it puts its inbox on what it enqueues
            hold.using(id="one").enqueue()
            result = again.using(id="one").enqueue()
            value = waiter.submit(result.get, 5)
            _until_followed(result, 1)
            go_on.set()
            assert value.result() == "done"


def test_gather_takes_what_is_not_kept_for_an_error_of_its_own(app, tasks):
    @app.task(name="forgotten", ignore_result=True)
    def forgotten() -> None: ...

    with app.worker():
        outcomes = gather(
            [tasks["add"].enqueue(1, 2), forgotten.enqueue(), tasks["fail"].enqueue()],
            timeout=5,
            return_exceptions=True,
        )

    assert outcomes[0] == 3
    assert isinstance(outcomes[1], ResultNotFound)
    assert isinstance(outcomes[2], TaskFailed)


def test_gather_does_not_wait_for_others_once_one_has_failed(app, tasks):
    with app.worker():
        held = tasks["hold"].enqueue()
        with pytest.raises(TaskFailed, match="Broken"):
            gather([held, tasks["fail"].enqueue()], timeout=10)
        assert not held.is_finished
        held.cancel()


def test_a_timeout_of_zero_takes_what_is_there(app, tasks):
    with app.worker():
        result = tasks["add"].enqueue(1, 2)
        app.get_result(result.id).join(timeout=5)
        assert result.get(timeout=0) == 3
        with pytest.raises(ResultTimeout):
            tasks["hold"].using(run_after=60).enqueue().get(timeout=0)


def test_with_all_reports_no_step_is_too_fast_to_be_told(app):
    @app.task(name="twice", retry=Retry(2, delay=0), reports="all")
    async def twice(context: TaskContext) -> None:
        if context.attempt == 1:
            raise ValueError

    with app.worker():
        result = twice.enqueue()
        result.join(timeout=5)
        late = [(report.kind, report.attempt) for report in app.get_result(result.id).reports(timeout=5)]

    assert late == [("sent", 0), ("running", 1), ("retrying", 1), ("running", 2), ("finished", 2)]


def test_a_done_callback_may_block(app, tasks):
    values = []
    done = threading.Event()

    def go_on(result):
        values.append(tasks["add"].enqueue(result.get(), 1).get(timeout=5))
        done.set()

    with app.worker():
        tasks["add"].enqueue(1, 2).add_done_callback(go_on)
        assert done.wait(5)
    assert values == [4]


def test_all_callers_of_a_cancel_get_the_answer_of_the_end(app):
    @app.task(name="brief")
    async def brief() -> None:
        await asyncio.sleep(0.002)

    with app.worker(), ThreadPoolExecutor(4) as callers:
        for _ in range(30):
            result = brief.enqueue()
            answers = set(callers.map(lambda handle: handle.cancel(), [result] * 4))
            result.join(timeout=5)
            assert answers == {result.status is TaskStatus.CANCELLED}


async def test_a_close_is_told_to_those_who_wait(tasks, app):
    result = tasks["hold"].enqueue()
    waits = [result.aget(), _last(result.areports()), _last(aas_completed([result]))]
    waits += [asyncio.to_thread(result.get), asyncio.to_thread(lambda: list(result.reports()))]
    waiting = [asyncio.create_task(wait) for wait in waits]
    await asyncio.to_thread(_until_followed, result, len(waits))
    await app.aclose()

    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, BrokerUnavailable), answer


async def _last(steps):
    return [step async for step in steps][-1]


def _until_followed(result, count):
    """Return when so many wait for the job; what else could be waited on is just being tested."""
    deadline = time.monotonic() + 5
    while len(result._source.listener._callbacks.get(result.id, ())) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_without_a_store_there_is_nothing_to_wait_for():
    with Heeler("memory://", results="none://") as app:

        @app.task(name="noop")
        def noop() -> None: ...

        result = noop.enqueue()
        for wait in (result.get, result.refresh, result.cancel, lambda: gather([result])):
            with pytest.raises(ConfigurationError, match="stores no results"):
                wait()


def test_a_failure_survives_pickling_and_being_a_cause(app, tasks):
    @app.task(name="outer")
    def outer() -> None:
        tasks["fail"].enqueue().get(timeout=5)

    with app.worker(), pytest.raises(TaskFailed) as caught:
        outer.enqueue().get(timeout=5)

    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.id, copy.attempts) == (str(caught.value), caught.value.id, 1)
    inner = caught.value.__cause__
    assert isinstance(inner, TaskFailed)
    assert inner.exception_class_path.endswith("Broken")


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/jobs.db"])
def test_a_wait_ends_when_the_job_expires_though_there_is_no_worker(tmp_path, url):
    with Heeler(url.format(tmp_path)) as app:

        @app.task(name="late")
        def late() -> None: ...

        result = late.using(expires=0.2).enqueue()
        assert result.status is TaskStatus.READY
        with pytest.raises(TaskFailed) as caught:
            result.get(timeout=10)
        assert isinstance(caught.value.__cause__, Expired)
        assert not result.cancel()
        assert app.get_result(result.id).status is TaskStatus.FAILED


def test_a_wait_goes_on_where_the_job_began_in_time(app, tasks):
    with app.worker():
        result = tasks["hold"].using(expires=0.2).enqueue()
        with pytest.raises(ResultTimeout):
            result.get(timeout=1)
        assert result.cancel()


def test_one_with_an_earlier_end_does_not_wait_for_one_with_a_later(app, tasks):
    later = tasks["hold"].using(expires=60).enqueue()
    earlier = tasks["hold"].using(expires=0.3).enqueue()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(later.join, 5)
        earlier.join(timeout=4)
        assert not waiting.done()
        later.cancel()
        waiting.result()


def test_a_job_enqueued_after_the_first_wait_ends_at_its_moment_too(app, tasks):
    with pytest.raises(ResultTimeout):
        tasks["hold"].enqueue().get(timeout=0)
    with pytest.raises(TaskFailed, match="Expired"):
        tasks["hold"].using(expires=0.2).enqueue().get(timeout=1.5)
