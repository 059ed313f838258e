"""How much runs at once, and what is not held while it cannot run."""

import asyncio
import threading
import time
from collections import Counter

from heeler import Heeler


def test_concurrency_bounds_all_runs_of_a_worker(app: Heeler):
    running, most = [0], [0]

    @app.task(name="count")
    async def count() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.001)
        running[0] -= 1

    results = count.enqueue_many([()] * 100)
    app.worker(concurrency=7, burst=True).run()
    assert most == [7]
    assert all(result.get(timeout=1) is None for result in results)


def test_a_task_s_own_limit_does_not_block_others(app: Heeler):
    running, most = [0], [0]
    both, go_on = threading.Semaphore(0), threading.Event()

    @app.task(name="limited", concurrency=2)
    def limited() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        both.release()
        go_on.wait(10)
        running[0] -= 1

    @app.task(name="free")
    def free() -> str:
        return "ran"

    with app.worker(concurrency=10):
        held = limited.enqueue_many([()] * 30)
        assert both.acquire(timeout=5)
        assert both.acquire(timeout=5)
        assert [free.enqueue().get(timeout=5) for _ in range(10)] == ["ran"] * 10
        go_on.set()
        for result in held:
            result.get(timeout=10)
    assert most == [2]


def test_a_long_job_never_holds_unstarted_ones(app: Heeler):
    """One worker is kept busy for long; what it had read ahead starts elsewhere within a second."""
    block, go_on = threading.Event(), threading.Event()
    ran = Counter()

    @app.task(name="work")
    def work(long: bool) -> None:
        if long:
            block.set()
            go_on.wait(20)

    work.enqueue_many([(False,)] * 3000)
    work.enqueue(True)
    first = app.worker(concurrency=1, name="first")
    first.start()
    assert block.wait(10)
    before = time.monotonic()
    rest = work.enqueue_many([(False,)] * 50)
    with app.worker(concurrency=1, name="second"):
        for result in rest:
            result.get(timeout=10)
            ran[result.worker_ids[0].partition("@")[0]] += 1
    assert time.monotonic() - before < 1.5
    assert ran == {"second": 50}
    go_on.set()
    first.stop()
    first.wait(10)


def test_a_task_that_blocks_the_event_loop_holds_no_unstarted_ones_either(app: Heeler):
    block, go_on = threading.Event(), threading.Event()

    @app.task(name="blocks")
    async def blocks() -> None:
        block.set()
        go_on.wait(20)

    @app.task(name="quick")
    async def quick() -> int:
        return 1

    with app.worker(name="first", concurrency=4) as first:
        blocks.enqueue()
        assert block.wait(5)
        rest = quick.enqueue_many([()] * 20)
        with app.worker(name="second"):
            assert [result.get(timeout=5) for result in rest] == [1] * 20
        go_on.set()
        first.stop()


def test_weighted_queues_share_the_worker(app: Heeler):
    order: list[str] = []

    @app.task(name="note")
    async def note(queue: str) -> None:
        order.append(queue)

    note.using(queue_name="a").enqueue_many([("a",)] * 1000)
    note.using(queue_name="b").enqueue_many([("b",)] * 1000)
    app.worker(queues={"a": 3, "b": 1}, concurrency=1, burst=True).run()
    assert 650 <= Counter(order[:1000])["a"] <= 850


def test_a_worker_that_is_not_ready_does_not_fetch():
    class Gate:
        open = threading.Event()
        asked = threading.Event()

        def ready(self, worker) -> bool:
            self.asked.set()
            return self.open.is_set()

    gate = Gate()
    with Heeler("memory://", middleware=[gate]) as app:

        @app.task(name="a")
        async def a() -> int:
            return 1

        with app.worker():
            result = a.enqueue()
            assert gate.asked.wait(5)
            result.refresh()
            assert not result.is_finished
            gate.open.set()
            assert result.get(timeout=5) == 1
