"""What middleware is told after the fact: sent jobs and ended runs."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import pool_tasks
import pytest
from broken_broker import BrokenBroker

from heeler import BrokerUnavailable, Heeler, Middleware, Reject, Retry, TaskContext
from heeler.model import EndedRun, RunEnd, Sending


class Listening(Middleware):
    def __init__(self) -> None:
        self.sendings: list[Sending] = []
        self.runs: list[EndedRun] = []
        self.threads: set[str] = set()

    def on_sent(self, sending: Sending) -> None:
        self.sendings.append(sending)

    def on_settled(self, runs: Sequence[EndedRun]) -> None:
        self.threads.add(threading.current_thread().name)
        self.runs += runs

    def ends(self) -> list[tuple[str, RunEnd, int]]:
        return [(run.task, run.end, run.attempt) for run in self.runs]


def test_every_way_of_sending_is_told_once_with_what_was_accepted():
    ears = Listening()
    with Heeler("memory://", middleware=[ears]) as app:

        @app.task(name="add")
        def add(a: int) -> int:
            return a

        async def send_more() -> None:
            await asyncio.gather(add.aenqueue(2), add.aenqueue(3))
            await add.aenqueue_many([(4,), (5,)])

        first = add.using(id="one", headers={"who": "me"}).enqueue(1)
        asyncio.run(send_more())
        add.using(id="one").enqueue(1)
        list(add.enqueue_iter([(6,)]))
    sizes = [len(sending.jobs) for sending in ears.sendings]
    assert (sorted(sizes), sizes[0]) == ([1, 1, 1, 1, 1, 2], 1)
    job = ears.sendings[0].jobs[0]
    assert (job.id, job.task, job.queue, job.headers, job.accepted) == (
        first.id,
        "add",
        "default",
        {"who": "me"},
        True,
    )
    assert [sending.jobs[0].accepted for sending in ears.sendings[-2:]] == [False, True]
    assert all(sending.began <= sending.ended and sending.error is None for sending in ears.sendings)


def test_a_sending_that_fails_is_told_with_its_error():
    ears = Listening()
    broker = BrokenBroker("told")
    with Heeler(broker=broker, middleware=[ears]) as app:

        @app.task(name="add")
        def add() -> None: ...

        broker.down = {"publish"}
        with pytest.raises(BrokerUnavailable):
            add.enqueue()
        broker.down = set()
    [sending] = ears.sendings
    assert isinstance(sending.error, BrokerUnavailable)
    assert [job.accepted for job in sending.jobs] == [False]


def test_every_end_of_a_run_is_told_with_its_times():
    ears = Listening()
    with Heeler("memory://", middleware=[ears]) as app:

        @app.task(name="good", takes_context=True)
        def good(context: TaskContext) -> None:
            context.enqueue(after.s())

        @app.task(name="after")
        async def after() -> None: ...

        @app.task(name="flaky", retry=Retry(2, delay=0.01))
        def flaky() -> None:
            raise ValueError("no")

        @app.task(name="rejects")
        def rejects() -> None:
            raise Reject("never")

        @app.task(name="slow", timeout=0.05)
        async def slow() -> None:
            await asyncio.sleep(60)

        @app.task(name="late", expires=timedelta(0))
        def late() -> None: ...

        results = [task.enqueue() for task in (good, flaky, rejects, slow, late)]
        with app.worker() as worker:
            for result in results:
                result.join(10)
        worker_id = worker.id
    assert sorted(ears.ends()) == [
        ("after", "succeeded", 1),
        ("flaky", "failed", 2),
        ("flaky", "retried", 1),
        ("good", "succeeded", 1),
        ("late", "expired", 1),
        ("rejects", "failed", 1),
        ("slow", "failed", 1),
    ]
    runs = {(run.task, run.attempt): run for run in ears.runs}
    assert [job.task for job in runs["good", 1].follow_ups] == ["after"]
    assert runs["good", 1].worker_id == worker_id
    assert 0.05 <= runs["slow", 1].ran < 10
    assert 0 <= runs["flaky", 1].waited < 10
    assert runs["flaky", 2].waited is None
    assert runs["flaky", 1].error.message == "no"
    assert runs["slow", 1].error.exception_class_path == "heeler.errors.TaskTimedOut"
    assert (runs["late", 1].started_at, runs["late", 1].ran, runs["late", 1].waited) == (None, None, None)
    for run in ears.runs:
        assert run.started_at is None or run.started_at <= run.settling_at <= run.settled_at
    assert len(ears.threads) == 1


def test_the_wait_of_a_delayed_job_counts_from_when_it_was_due():
    ears = Listening()
    with Heeler("memory://", middleware=[ears]) as app:

        @app.task(name="later")
        async def later() -> None: ...

        with app.worker():
            later.using(run_after=timedelta(seconds=0.5)).enqueue().join(10)
    assert ears.runs[0].waited < 0.4


def test_cancelled_and_given_back_runs_are_told():
    ears = Listening()
    started = threading.Event()
    with Heeler("memory://", middleware=[ears]) as app:

        @app.task(name="endless")
        async def endless() -> None:
            started.set()
            await asyncio.sleep(60)

        with app.worker(grace=0):
            cancelled = endless.enqueue()
            assert started.wait(5)
            cancelled.cancel()
            cancelled.join(10)
            started.clear()
            endless.enqueue()
            assert started.wait(5)
    assert ears.ends() == [("endless", "cancelled", 1), ("endless", "released", 1)]


def test_a_lost_lease_is_told_once():
    ears = Listening()
    broker = BrokenBroker("shared")
    started, closed = threading.Event(), threading.Event()

    def paused(context: TaskContext) -> None:
        started.set()
        while not context.cancelled:
            time.sleep(0.005)
        closed.set()

    with (
        Heeler(broker=broker, lease=0.2, middleware=[ears]) as here,
        Heeler(broker=BrokenBroker("shared"), lease=0.2) as elsewhere,
    ):
        result = here.task(paused, name="job", takes_context=True).enqueue()
        elsewhere.task(lambda: None, name="job")
        with here.worker(name="first", concurrency=1):
            assert started.wait(5)
            broker.down = {"extend"}
            with elsewhere.worker(name="second"):
                result.join(10)
                broker.down = set()
                assert closed.wait(10)
    assert ears.ends() == [("job", "lost", 1)]
    assert ears.runs[0].ran > 0


def test_a_death_of_a_child_is_told_as_a_crash(monkeypatch: pytest.MonkeyPatch):
    ears = Listening()
    monkeypatch.setattr(pool_tasks.app, "middleware", (ears,))
    with pool_tasks.app.worker():
        pool_tasks.die.enqueue().join(60)
    pool_tasks.app.dead_letters.purge()
    assert [run.end for run in ears.runs] == ["crashed", "crashed", "crashed", "failed"]
    assert {run.error.exception_class_path for run in ears.runs} == {"heeler.errors.WorkerCrashed"}


def test_a_hook_that_fails_is_logged_and_hinders_nothing(caplog: pytest.LogCaptureFixture):
    class Failing(Middleware):
        def on_sent(self, sending: Sending) -> None:
            raise RuntimeError("deaf")

        def on_settled(self, runs: Sequence[EndedRun]) -> None:
            raise RuntimeError("deaf, too")

    with Heeler("memory://", middleware=[Failing()]) as app:

        @app.task(name="add")
        def add() -> int:
            return 3

        with app.worker(), caplog.at_level(logging.ERROR):
            assert add.enqueue().get(10) == 3
    assert [record.message.rpartition(".")[2] for record in caplog.records] == ["on_sent failed", "on_settled failed"]
