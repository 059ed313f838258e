"""One worker, real tasks on the memory broker: what a run can do and how it can end."""

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from heeler import (
    ConfigurationError,
    Heeler,
    Reject,
    Retry,
    RetryLater,
    SoftTimeout,
    TaskContext,
    TaskFailed,
    TaskStatus,
    current_context,
)
from heeler.errors import HeelerError
from heeler.executors import ThreadExecutor
from heeler.model import WorkerPresence
from heeler.worker.run import Run
from heeler.worker.starter import Starter


def test_coroutines_and_plain_functions_run_and_give_their_results(app: Heeler):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="thread_name")
    def thread_name() -> str:
        return threading.current_thread().name

    with app.worker():
        assert add.enqueue(1, 2).get(timeout=5) == 3
        assert thread_name.enqueue().get(timeout=5) != threading.current_thread().name


def test_a_context_is_entered_when_the_worker_can_be_seen(app: Heeler):
    async def seen_from_async_code() -> list[str]:
        async with app.worker(name="beta"):
            return [worker.name for worker in await app.alive_workers()]

    with app.worker(name="alpha"):
        assert [worker.name for worker in app.live_workers()] == ["alpha"]
    assert asyncio.run(seen_from_async_code()) == ["beta"]


def test_a_worker_asks_what_the_app_registered_as_ready_and_tells_of_faults(app: Heeler):
    faults: list[str] = []
    may_fetch = threading.Event()
    asked = threading.Event()

    @app.ready
    def after_warming_up(worker: Any) -> bool:
        asked.set()
        return may_fetch.is_set()

    @app.on_error
    def note(error: BaseException, where: str) -> None:
        faults.append(f"{where}: {error}")

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    with app.worker() as worker:
        result = add.enqueue(1, 2)
        assert asked.wait(5)
        result.refresh()
        assert result.status is TaskStatus.READY
        worker._report_error(OSError("the disk is full"), "settle")
        assert faults == ["settle: the disk is full"]
        may_fetch.set()
        assert result.get(timeout=5) == 3


def test_a_hook_of_the_app_is_a_plain_function(app: Heeler):
    async def later(worker: Any) -> bool:
        return True

    with pytest.raises(ConfigurationError, match=r"@app\.ready is for plain functions"):
        app.ready(later)


def test_jobs_start_in_enqueue_order_at_concurrency_one(app: Heeler):
    seen: list[int] = []

    @app.task(name="note")
    def note(number: int) -> None:
        seen.append(number)

    note.enqueue_many([(n,) for n in range(300)])
    note.enqueue_many([(n,) for n in range(300, 600)])
    app.worker(concurrency=1, burst=True).run()
    assert seen == list(range(600))


def test_a_burst_worker_with_nothing_to_do_ends_even_where_it_is_announced_late(app: Heeler):
    control = app.connections.opened_blocking().control
    announce = control.announce

    async def announce_late(presence: WorkerPresence) -> None:
        await asyncio.sleep(0.2)  # longer than the one fetch that brings nothing
        await announce(presence)

    control.announce = announce_late
    app.worker(burst=True).run()


def test_a_failing_task_is_retried_and_its_errors_are_kept(app: Heeler):
    @app.task(name="flaky", retry=Retry(3, delay=0.01))
    def flaky() -> int:
        attempt = current_context().attempt
        if attempt < 3:
            raise ValueError(f"attempt {attempt}")
        return attempt

    with app.worker():
        result = flaky.enqueue()
        assert result.get(timeout=5) == 3
    assert (result.attempts, [error.message for error in result.errors]) == (3, ["attempt 1", "attempt 2"])
    assert "flaky" in result.errors[0].traceback


def test_when_retries_are_used_up_it_fails_and_is_a_dead_letter(app: Heeler):
    @app.task(name="broken", retry=Retry(2, delay=0.01))
    async def broken() -> None:
        raise KeyError("gone")

    with app.worker():
        result = broken.enqueue()
        with pytest.raises(TaskFailed, match="gone") as caught:
            result.get(timeout=5)
        assert caught.value.attempts == 2
    (letter,) = app.dead_letters.list()
    assert (letter.id, len(letter.errors)) == (result.id, 2)


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_reject_ends_it_at_once_and_retry_later_runs_it_again(app: Heeler, kind: str):
    def behave(reject: bool) -> int:
        if reject:
            raise Reject("not today")
        context = current_context()
        seen.append(context.attempt)
        if len(seen) < 3:
            raise RetryLater(0.01, count=False)
        return context.attempt

    seen: list[int] = []
    if kind == "thread":
        task = app.task(behave, name="behave")
    else:

        async def abehave(reject: bool) -> int:
            return behave(reject)

        task = app.task(abehave, name="behave")
    with app.worker():
        with pytest.raises(TaskFailed, match="not today"):
            task.enqueue(True).get(timeout=5)
        assert task.enqueue(False).get(timeout=5) == 1
    assert seen == [1, 1, 1]
    assert [letter.reason for letter in app.dead_letters.list()] == ["Rejected: not today"]


def test_a_context_knows_its_run_and_speaks_for_it(app: Heeler):
    told = {}

    @app.task(name="knows", retry=Retry(2, delay=0.0), timeout=60, takes_context=True)
    def knows(context: TaskContext, word: str) -> None:
        told[context.attempt] = (context.id, context.name, context.max_attempts, context.deadline is not None)
        context.progress(0.5, "half")
        told["saved", context.attempt] = context.saved
        context.save(word)
        assert context.saved == word
        if context.attempt == 1:
            raise ValueError("first")
        assert context.previous_error is not None
        told["previous"] = context.previous_error.message

    with app.worker():
        result = knows.enqueue("kept")
        assert result.get(timeout=5) == "kept"
    assert told == {
        1: (result.id, "knows", 2, True),
        2: (result.id, "knows", 2, True),
        ("saved", 1): None,
        ("saved", 2): "kept",
        "previous": "first",
    }


def test_what_a_task_enqueues_through_its_context_is_real_only_if_it_succeeds(app: Heeler):
    ran: list[str] = []

    @app.task(name="follow")
    async def follow(word: str) -> None:
        ran.append(word)

    @app.task(name="lead", takes_context=True)
    async def lead(context: TaskContext, fail: bool) -> str:
        result = context.enqueue(follow.s("after failure" if fail else "after success"))
        if fail:
            raise ValueError("no")
        return result.id

    with app.worker():
        with pytest.raises(TaskFailed):
            lead.enqueue(True).get(timeout=5)
        app.get_result(lead.enqueue(False).get(timeout=5)).get(timeout=5)
    assert ran == ["after success"]


def test_a_progress_report_reaches_who_waits_while_a_young_job_runs(app: Heeler):
    go_on = threading.Event()

    @app.task(name="slow", takes_context=True)
    def slow(context: TaskContext) -> None:
        context.progress(0.25, "a quarter")
        go_on.wait(10)

    with app.worker():
        seen = []
        for report in slow.enqueue().reports():
            seen.append((report.kind, report.fraction))
            if report.kind == "progress":
                go_on.set()
    assert ("progress", 0.25) in seen
    assert seen[-1][0] == "finished"


def test_a_long_run_is_announced_and_a_short_one_is_not(app: Heeler):
    go_on = threading.Event()

    @app.task(name="long")
    def long() -> None:
        go_on.wait(10)

    with app.worker() as worker:
        result = long.enqueue()
        for report in result.reports():
            if report.kind == "running":
                go_on.set()
        assert result.worker_ids == [worker.id]


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_timeout_is_a_failed_attempt_and_frees_the_slot(app: Heeler, kind: str):
    stuck = threading.Event()
    if kind == "thread":

        @app.task(name="hang", timeout=0.05)
        def hang() -> None:
            stuck.wait(10)
    else:

        @app.task(name="hang", timeout=0.05)
        async def hang() -> None:
            await asyncio.sleep(10)

    @app.task(name="quick")
    def quick() -> str:
        return "free"

    with app.worker(concurrency=1):
        late = hang.enqueue()
        with pytest.raises(TaskFailed, match=r"timeout of 0.05 s") as caught:
            late.get(timeout=5)
        assert caught.value.exception_class_path == "heeler.errors.TaskTimedOut"
        assert quick.enqueue().get(timeout=5) == "free"
        stuck.set()


def test_a_coroutine_that_swallows_its_cancellation_is_abandoned_after_a_moment(app: Heeler, monkeypatch):
    monkeypatch.setattr("heeler.worker.interrupter.PATIENCE", 0.05)
    end = threading.Event()

    @app.task(name="stubborn", timeout=0.05)
    async def stubborn() -> None:
        while not end.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    @app.task(name="quick")
    async def quick() -> str:
        return "free"

    with app.worker(concurrency=1):
        with pytest.raises(TaskFailed, match="timeout"):
            stubborn.enqueue().get(timeout=5)
        assert quick.enqueue().get(timeout=5) == "free"
        end.set()


def test_a_soft_timeout_is_raised_inside_a_coroutine(app: Heeler):
    @app.task(name="careful", soft_timeout=0.05, timeout=10)
    async def careful() -> str:
        try:
            await asyncio.sleep(10)
        except SoftTimeout:
            await asyncio.sleep(0)  # it can still wait while it cleans up
            return "cleaned up"
        return "never"

    with app.worker():
        assert careful.enqueue().get(timeout=5) == "cleaned up"


def test_a_soft_timeout_that_nobody_catches_fails_the_attempt(app: Heeler):
    @app.task(name="careless", soft_timeout=0.05)
    async def careless() -> None:
        await asyncio.sleep(10)

    with app.worker(), pytest.raises(TaskFailed, match=r"soft_timeout of 0.05 s"):
        careless.enqueue().get(timeout=5)


def test_a_soft_timeout_shows_in_a_thread_as_cancelled(app: Heeler):
    @app.task(name="watchful", soft_timeout=0.05)
    def watchful() -> str:
        context = current_context()
        deadline = time.monotonic() + 5
        while not context.cancelled and time.monotonic() < deadline:
            time.sleep(0.005)
        return "saw it" if context.cancelled else "saw nothing"

    with app.worker():
        assert watchful.enqueue().get(timeout=8) == "saw it"


def test_the_context_of_an_abandoned_thread_is_closed_and_its_late_return_discarded(app: Heeler):
    go_on, done = threading.Event(), threading.Event()
    refused: list[str] = []

    @app.task(name="late", timeout=0.05, takes_context=True)
    def late(context: TaskContext) -> str:
        go_on.wait(10)
        for say in (lambda: context.progress(1.0), lambda: context.save(1), lambda: context.enqueue(late.s())):
            try:
                say()
            except HeelerError as error:
                refused.append(str(error))
        done.set()
        return "too late"

    with app.worker():
        result = late.enqueue()
        with pytest.raises(TaskFailed):
            result.get(timeout=5)
        go_on.set()
        assert done.wait(5)
    assert len(refused) == 3
    assert all("after the run was over" in text for text in refused)
    result.refresh()
    assert result.status is TaskStatus.FAILED


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_running_job_is_cancelled_at_once(app: Heeler, kind: str):
    started, end = threading.Event(), threading.Event()
    if kind == "thread":

        @app.task(name="long")
        def long() -> None:
            started.set()
            end.wait(10)
    else:

        @app.task(name="long")
        async def long() -> None:
            started.set()
            await asyncio.sleep(10)

    with app.worker():
        result = long.enqueue()
        assert started.wait(5)
        before = time.monotonic()
        result.cancel()
        result.join(timeout=5)
        assert time.monotonic() - before < 3
        end.set()
    assert result.status is TaskStatus.CANCELLED


def test_an_expired_job_is_not_run(app: Heeler):
    ran = threading.Event()

    @app.task(name="soon")
    def soon() -> None:
        ran.set()

    result = soon.using(expires=0.01).enqueue()
    time.sleep(0.02)  # what is waited for is time itself
    with app.worker():
        result.join(timeout=5)
    assert (result.status, result.last_error.exception_class_path) == (TaskStatus.FAILED, "heeler.errors.Expired")
    assert not ran.is_set()
    assert app.dead_letters.list() == []


def test_callbacks_run_before_the_settlement_and_their_own_errors_change_nothing(app: Heeler, caplog):
    told: list[tuple] = []

    def on_processing(context):
        told.append(("processing", context.attempt))
        raise RuntimeError("a broken callback")

    async def on_success(context, value):
        told.append(("success", value))

    def on_retry(context, error):
        told.append(("retry", str(error)))

    def on_failure(context, error):
        told.append(("failure", type(error)))

    callbacks = {
        "on_processing": on_processing,
        "on_success": on_success,
        "on_retry": on_retry,
        "on_failure": on_failure,
    }

    @app.task(name="watched", retry=Retry(2, delay=0.0), **callbacks)
    def watched(fail_until: int) -> str:
        if current_context().attempt < fail_until:
            raise ValueError("again")
        return "done"

    with app.worker():
        assert watched.enqueue(2).get(timeout=5) == "done"
        assert told == [("processing", 1), ("retry", "again"), ("processing", 2), ("success", "done")]
        told.clear()
        with pytest.raises(TaskFailed):
            watched.enqueue(9).get(timeout=5)
    assert told[-1] == ("failure", ValueError)
    assert "a broken callback" in caplog.text


def test_middleware_stands_around_every_kind_of_run():
    class Shout:
        async def around_run(self, context, call_next):
            value = await call_next(context)
            return f"{context.name}: {value}!"

    with Heeler("memory://", middleware=[Shout()]) as app:

        @app.task(name="a")
        async def coroutine() -> str:
            return "coroutine"

        @app.task(name="b")
        def thread() -> str:
            return current_context().name

        with app.worker():
            assert coroutine.enqueue().get(timeout=5) == "a: coroutine!"
            assert thread.enqueue().get(timeout=5) == "b: b!"


def test_a_middleware_s_own_error_fails_the_attempt_and_names_the_hook():
    class Broken:
        async def around_run(self, context, call_next):
            raise LookupError("no tenant")

    with Heeler("memory://", middleware=[Broken()]) as app:

        @app.task(name="a")
        async def a() -> None: ...

        with app.worker():
            result = a.enqueue()
            with pytest.raises(TaskFailed, match="no tenant"):
                result.get(timeout=5)
    assert "Broken.around_run" in result.last_error.traceback


def test_an_option_of_the_message_goes_before_that_of_the_task(app: Heeler):
    @app.task(name="flaky")
    def flaky() -> int:
        attempt = current_context().attempt
        if attempt < 3:
            raise ValueError(attempt)
        return attempt

    with app.worker():
        assert flaky.using(retry=Retry(3, delay=0.0)).enqueue().get(timeout=5) == 3


def test_a_result_that_cannot_be_encoded_is_a_failed_attempt(app: Heeler):
    @app.task(name="odd")
    async def odd():
        return object()

    with app.worker(), pytest.raises(TaskFailed):
        odd.enqueue().get(timeout=5)


def test_arguments_that_do_not_fit_any_more_are_parked_at_once(app: Heeler):
    @app.task(name="changed", retry=Retry(5))
    async def changed(a: int) -> None: ...

    sender = Heeler(broker=app.connections.broker)
    result = sender.enqueue_by_name("changed", "not a number", surplus=1)
    with app.worker():
        result.join(timeout=5)
    (letter,) = app.dead_letters.list()
    assert letter.reason.startswith("InvalidArguments")
    assert letter.envelope.body


def test_a_task_that_exits_fails_and_the_worker_goes_on(app: Heeler):
    @app.task(name="quits")
    async def quits() -> None:
        raise SystemExit(3)

    @app.task(name="fine")
    async def fine() -> int:
        return 1

    with app.worker():
        with pytest.raises(TaskFailed, match="SystemExit"):
            quits.enqueue().get(timeout=5)
        assert fine.enqueue().get(timeout=5) == 1


def test_log_records_inside_a_task_carry_its_id_name_and_attempt(app: Heeler, caplog):
    @app.task(name="talks")
    def talks() -> None:
        logging.getLogger("mine").warning("from inside")

    with app.worker():
        result = talks.enqueue()
        result.get(timeout=5)
        logging.getLogger("mine").warning("from outside")
    inside, outside = [record for record in caplog.records if record.name == "mine"]
    assert (inside.task_id, inside.task_name, inside.task_attempt) == (result.id, "talks", 1)
    assert (outside.task_id, outside.task_name) == ("", "")


def test_reports_all_announces_even_a_short_run(app: Heeler):
    go_on = threading.Event()

    @app.task(name="short", reports="all")
    def short() -> None:
        go_on.wait(10)

    with app.worker():
        kinds = []
        for report in short.enqueue().reports():
            kinds.append(report.kind)
            if report.kind == "running":
                go_on.set()
    assert "running" in kinds


def test_state_of_the_startup_hooks_reaches_the_tasks_and_the_shutdown_hooks(app: Heeler):
    closed = []

    @app.on_startup
    async def open_pool(state) -> None:
        state.pool = "a pool"
        state["size"] = 5

    @app.on_shutdown
    def close_pool(state) -> None:
        closed.append((state.pool, state["pool"], state.size, "size" in state, "host" in state))

    @app.task(name="uses")
    async def uses() -> str:
        return current_context().state.pool

    with app.worker():
        assert uses.enqueue().get(timeout=5) == "a pool"
    assert closed == [("a pool", "a pool", 5, True, False)]


def test_a_startup_hook_that_fails_is_a_fault_of_the_start(app: Heeler, caplog):
    @app.on_startup
    def cannot() -> None:
        raise RuntimeError("no database")

    worker = app.worker(name="unlucky")
    worker.start()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            worker.wait(5)
    # Who waits for a result, and not for the worker, finds it in the log.
    assert "worker unlucky: works no more: RuntimeError: no database" in caplog.messages


async def test_a_fault_of_the_start_is_said_before_the_end_of_the_block_and_raised_there(app: Heeler, caplog):
    @app.on_startup
    async def cannot() -> None:
        raise RuntimeError("no database")

    worker = await app.worker(name="unlucky").__aenter__()
    assert await asyncio.to_thread(worker.wait_ready, 5) is False
    assert "worker unlucky: works no more: RuntimeError: no database" in caplog.messages
    assert "unlucky" not in app.workers
    with pytest.raises(RuntimeError, match="no database"):
        await worker.__aexit__(None, None, None)


def test_an_executor_that_cannot_start_fails_the_attempt_and_not_the_worker(app: Heeler):
    class Broken(ThreadExecutor):
        def start(self, workers: int) -> None:
            raise OSError("no threads left")

    @app.task(name="unlucky", executor=Broken())
    def unlucky() -> None: ...

    @app.task(name="fine")
    def fine() -> int:
        return 1

    with app.worker():
        with pytest.raises(TaskFailed, match="no threads left"):
            unlucky.enqueue().get(timeout=5)
        assert fine.enqueue().get(timeout=5) == 1


def test_an_executor_of_the_user_s_own_runs_its_tasks(app: Heeler):
    ran = []

    class Counting(ThreadExecutor):
        def submit(self, calls) -> None:
            ran.append(len(calls))
            super().submit(calls)

    @app.task(name="mine", executor=Counting())
    def mine(number: int) -> int:
        return number

    with app.worker():
        results = mine.enqueue_many([(n,) for n in range(50)])
        assert [result.get(timeout=5) for result in results] == list(range(50))
    assert sum(ran) == 50


def test_a_coroutine_cancelled_while_a_callback_runs_is_cancelled_at_once(app: Heeler, caplog):
    called = threading.Event()

    async def wait(context: TaskContext) -> None:
        called.set()
        await asyncio.Event().wait()

    @app.task(name="late", on_processing=wait)
    async def late() -> None: ...

    with app.worker():
        result = late.enqueue()
        assert called.wait(5)
        assert result.cancel()
        assert result.status is TaskStatus.CANCELLED
    assert "abandoned" not in caplog.text


def test_an_executor_of_the_user_s_own_serves_one_worker_after_the_other(app: Heeler):
    @app.task(name="mine", executor=ThreadExecutor())
    def mine(number: int) -> int:
        return number

    for _ in range(3):
        with app.worker():
            assert [result.get(timeout=5) for result in mine.enqueue_many([(1,), (2,), (3,)])] == [1, 2, 3]


def test_two_workers_cannot_have_the_same_executor_at_once(app: Heeler):
    @app.task(name="mine", executor=ThreadExecutor())
    def mine() -> None: ...

    with app.worker(["first"]):
        mine.using(queue_name="first").enqueue().get(timeout=5)
        with app.worker(["second"]), pytest.raises(TaskFailed, match="is at work for another worker of this process"):
            mine.using(queue_name="second").enqueue().get(timeout=5)
        mine.using(queue_name="first").enqueue().get(timeout=5)


def test_an_executor_that_refuses_a_call_fails_the_attempt_and_not_the_worker(app: Heeler):
    class Full(ThreadExecutor):
        def submit(self, calls) -> None:
            raise OSError("no room")

    @app.task(name="unlucky", executor=Full())
    def unlucky() -> None: ...

    with app.worker() as worker:
        for _ in range(2):
            with pytest.raises(TaskFailed, match="no room"):
                unlucky.enqueue().get(timeout=5)
    assert worker.running == 0


class Token:
    """An argument of a type of the user's own."""


@pytest.mark.parametrize("error", [KeyError, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("kind", ["thread", "coroutine", "wrapped"])
def test_whatever_a_decoder_of_the_user_s_raises_parks_the_job_alone(
    app: Heeler, kind: str, error: type[BaseException]
):
    broken = False

    def decode(value: str) -> Token:
        if broken:
            raise error("not any more")
        return Token()

    app.types.register(Token, lambda token: "", decode)

    def take(token: Token) -> int:
        return 1

    async def take_async(token: Token) -> int:
        return 1

    if kind == "coroutine":
        task = app.task(take_async, name="take")
    else:
        task = app.task(take, name="take", **({"on_success": lambda *a: None} if kind == "wrapped" else {}))
    results = task.enqueue_many([(Token(),), (Token(),)])
    broken = True
    with app.worker():
        for result in results:
            with pytest.raises(TaskFailed, match="InvalidArguments"):
                result.get(timeout=5)
        broken = False
        assert task.enqueue(Token()).get(timeout=5) == 1


def test_an_end_that_is_settled_before_its_slot_is_free_is_not_overlooked(app: Heeler, monkeypatch):
    ended = Starter.ended

    def ended_late(self: Starter, run: Run) -> None:
        app.get_result(run.delivery.envelope.id).join(timeout=5)
        ended(self, run)

    monkeypatch.setattr(Starter, "ended", ended_late)

    @app.task(name="quick")
    async def quick() -> None: ...

    results = quick.enqueue_many([()] * 3)
    worker = app.worker(concurrency=1, burst=True)
    worker.start()
    for result in results:
        result.join(timeout=10)
    worker.wait()


@pytest.mark.parametrize("executor", ["thread", None])
def test_a_value_that_cannot_be_saved_says_that_it_was_saved(app: Heeler, executor: str | None):
    def saver(context: TaskContext) -> None:
        context.save(object())

    async def asaver(context: TaskContext) -> None:
        context.save(object())

    result = app.task(saver if executor else asaver, name="saver").enqueue()
    app.worker(burst=True).run()
    result.refresh()
    assert "saver saved what cannot be stored" in result.last_error.message
