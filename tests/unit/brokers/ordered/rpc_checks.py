"""What `results="rpc://"` must do, on any message server that carries replies."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from heeler import Heeler, Retry, RetryLater, TaskContext, as_completed, gather
from heeler.errors import ConfigurationError, TaskFailed

__all__ = ["RpcChecks"]


class RpcChecks:
    """To be derived from with a fixture `app`, whose worker is in this process too."""

    def test_values_and_errors_come_back(self, app: Heeler) -> None:
        @app.task(name="double")
        async def double(number: int) -> int:
            if number < 0:
                raise ValueError("too small")
            return 2 * number

        with app.worker():
            assert double.enqueue(21).get(timeout=10) == 42
            assert gather(double.enqueue_many([(n,) for n in range(300)]), timeout=20) == list(range(0, 600, 2))
            assert {result.get() for result in as_completed([double.enqueue(n) for n in range(5)], timeout=10)} == {
                *range(0, 10, 2)
            }
            with pytest.raises(TaskFailed, match="too small") as raised:
                double.enqueue(-1).get(timeout=10)
        assert isinstance(raised.value.__cause__, ValueError)

    def test_async_code_waits_as_well(self, app: Heeler) -> None:
        @app.task(name="double")
        async def double(number: int) -> int:
            return 2 * number

        async def use() -> int:
            result = await double.aenqueue(4)
            return await result.aget(timeout=10)

        with app.worker():
            assert asyncio.run(use()) == 8

    def test_a_result_that_came_before_anybody_waited_is_there(self, app: Heeler) -> None:
        done = threading.Event()

        @app.task(name="work")
        def work() -> str:
            return "done"

        @app.task(name="last")
        def last() -> None:
            done.set()

        with app.worker(concurrency=1):
            early = work.enqueue()
            last.enqueue().add_done_callback(lambda _: done.set())
            assert done.wait(10)
            early.join(timeout=10)
        assert early.return_value == "done"
        assert early.args == ()
        early.get(timeout=0)

    def test_who_does_not_wait_keeps_nothing(self, app: Heeler) -> None:
        @app.task(name="work")
        async def work(number: int) -> None: ...

        with app.worker():
            for number in range(20):
                work.enqueue(number)
            work.enqueue(99).get(timeout=10)
        gc.collect()
        assert len(app._producer.sealer._listener._handles) <= 1

    def test_reports_come_as_they_happen(self, app: Heeler) -> None:
        def begin(context: TaskContext, path: str) -> str:
            if context.attempt == 1:
                raise RetryLater(0.0)
            return path

        task = app.task(begin, name="begin", takes_context=True, retry=Retry(3), reports="all")
        with app.worker():
            seen = list(task.enqueue("a").reports(timeout=10))
        kinds = [report.kind for report in seen]
        assert kinds[0] == "sent"
        assert "retrying" in kinds
        assert kinds[-1] == "finished"

    def test_what_needs_a_store_is_a_clear_error(self, app: Heeler) -> None:
        @app.task(name="work")
        async def work() -> None: ...

        result = work.enqueue()
        asked: list[Any] = [result.refresh, result.cancel, result.forget, lambda: app.get_result(result.id)]
        for ask in asked:
            with pytest.raises(ConfigurationError, match=r'results="rpc://" sends results to the process.*a store'):
                ask()
        with pytest.raises(ConfigurationError, match="paused"):
            app.queues.pause("default")

    def test_the_features_deny_it(self, app: Heeler) -> None:
        features = app.connections.broker.features
        denied = ("fencing", "joins", "guards", "id_deduplication", "stores_results", "one_step_settle")
        assert not any(getattr(features, promise) for promise in denied)

    def test_a_result_that_is_too_large_fails_its_job(self, app: Heeler) -> None:
        @app.task(name="huge")
        async def huge() -> bytes:
            return b"x" * (2 << 20)

        with app.worker(), pytest.raises(TaskFailed, match="the result has"):
            huge.enqueue().get(timeout=10)

    def test_an_ignored_result_is_not_sent(self, app: Heeler) -> None:
        ran = threading.Event()

        @app.task(name="work", ignore_result=True)
        async def work() -> None:
            ran.set()

        with app.worker():
            result = work.enqueue()
            assert ran.wait(10)
            with pytest.raises(Exception, match="ignore_result"):
                result.get(timeout=5)
