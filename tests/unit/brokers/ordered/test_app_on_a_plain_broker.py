"""An app whose messages and results are in different places: its tasks and workers cannot tell the difference."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heeler import ConfigurationError, Heeler, Reject, Retry, TaskCancelled, TaskContext, TaskFailed, current_context
from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.ordered import OrderedBroker, UnstoredBroker
from heeler.cli.worker import refuse_unshared
from heeler.clock import SystemClock, new_id
from heeler.contracts import Features
from heeler.io_thread import IoThread
from heeler.testing.plain_memory import MemoryPlainBroker
from services import forget_namespace, redis_url


def _plain() -> MemoryPlainBroker:
    return MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())


@pytest.fixture(params=["memory://", "sqlite", "redis"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    results = {"sqlite": f"sqlite:///{tmp_path}/results.db", "redis": redis_url()}.get(request.param, request.param)
    namespace = f"test-{new_id()}"
    with Heeler(broker=_plain(), results=results, namespace=namespace) as app:
        yield app
    forget_namespace(results, namespace)


def test_results_retries_and_follow_ups(app: Heeler):
    @app.task(name="flaky", retry=Retry(3, delay=0.01))
    def flaky() -> int:
        if current_context().attempt < 3:
            raise ValueError("not yet")
        return current_context().attempt

    followed = threading.Event()

    @app.task(name="second")
    def second() -> None:
        followed.set()

    @app.task(name="first", takes_context=True)
    def first(context: TaskContext) -> str:
        context.enqueue(second.s())
        return "done"

    with app.worker():
        assert flaky.enqueue().get(timeout=5) == 3
        assert first.enqueue().get(timeout=5) == "done"
        assert followed.wait(5)


def test_a_rejected_job_is_a_dead_letter_that_can_be_redriven(app: Heeler):
    good = threading.Event()

    @app.task(name="picky")
    def picky() -> str:
        if not good.is_set():
            raise Reject("not today")
        return "well"

    with app.worker():
        result = picky.enqueue()
        with pytest.raises(TaskFailed):
            result.get(timeout=5)
        [letter] = app.dead_letters.list()
        assert letter.reason.endswith("not today")
        good.set()
        assert app.dead_letters.redrive([result.id]) == 1
        result.refresh()
        assert result.get(timeout=5) == "well"


def test_a_run_that_nobody_was_told_of_yet_is_cancelled_at_once_and_stopped_soon(app: Heeler):
    started, ended = threading.Event(), threading.Event()

    @app.task(name="long")
    async def long() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with app.worker():
        result = long.enqueue()
        assert started.wait(5)
        assert result.cancel()
        assert ended.wait(5)
        with pytest.raises(TaskCancelled):
            result.get(timeout=5)


def test_a_caller_given_id_is_enqueued_once(app: Heeler):
    runs: list[float] = []

    @app.task(name="once")
    def once() -> None:
        runs.append(time.monotonic())

    first = once.using(id="given").enqueue()
    assert once.using(id="given").enqueue().id == first.id
    app.worker(burst=True).run()
    assert len(runs) == 1


def test_without_results_a_plain_broker_still_works():
    done = threading.Event()
    with Heeler(broker=_plain()) as app:
        assert isinstance(app.connections.broker, UnstoredBroker)
        assert app.connections.store is None

        @app.task(name="work")
        def work() -> None:
            done.set()

        work.enqueue()
        app.worker(burst=True).run()
        assert done.is_set()


def test_results_may_be_an_object_of_the_right_kind():
    with Heeler(broker=_plain(), results=MemoryOrderedStore(clock=SystemClock(), namespace="heeler")) as app:
        assert isinstance(app.connections.broker, OrderedBroker)
    with (
        Heeler("memory://") as other,
        pytest.raises(ConfigurationError, match=r"MemoryPlainBroker has no store of its own.*sqlite://"),
    ):
        Heeler(broker=_plain(), results=other.connections.store)
    with pytest.raises(ConfigurationError, match=r"unknown result store scheme 'eager'; known are .*memory://"):
        Heeler(broker=_plain(), results="eager://")


def test_a_worker_elsewhere_is_refused_where_only_the_results_are_in_one_process():
    plain = _plain()
    plain.features = Features()
    with Heeler(broker=plain, results="memory://") as app:
        assert not app.connections.broker.features.shared
        with pytest.raises(ConfigurationError, match=r"^results=memory:// keeps its jobs inside one process"):
            refuse_unshared(app)
    plain = _plain()
    plain.features = Features()
    with Heeler(broker=plain, results="sqlite:///results.db") as app:
        refuse_unshared(app)
