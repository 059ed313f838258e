"""What a worker says of itself."""

import asyncio
import mmap
import os
import threading

from heeler import Heeler, TaskContext
from heeler.worker.memory import resident_bytes
from heeler.worker.portrait import Pace


def test_the_pace_is_that_of_the_last_ten_seconds():
    pace = Pace(100.0)
    assert pace.rate(100.0, 0) == 0.0
    assert pace.rate(101.0, 50) == 50.0
    assert pace.rate(105.0, 50) == 10.0
    for second in range(6, 31):
        pace.rate(100.0 + second, 50)
    assert pace.rate(131.0, 50) == 0.0
    assert pace.rate(132.0, 72) == 2.2


def test_the_pace_over_a_long_silence_is_an_average():
    pace = Pace(0.0)
    assert pace.rate(15.0, 150) == 10.0
    assert pace.rate(30.0, 150) == 0.0


def test_memory_is_that_of_this_process():
    with mmap.mmap(-1, 50_000_000) as block:
        before = resident_bytes()
        block[:] = b"x" * len(block)
        assert resident_bytes() - before > 40_000_000


def test_a_live_worker_says_what_it_runs_since_when_and_how_far_it_is(app: Heeler):
    told, go_on = threading.Event(), threading.Event()

    @app.task(name="work", takes_context=True)
    def work(context: TaskContext) -> None:
        context.progress(0.5, "half")
        told.set()
        go_on.wait(10)

    with app.worker(name="one", concurrency=3) as worker:
        assert worker.wait_ready(5)
        result = work.enqueue()
        assert told.wait(5)
        [live] = app.live_workers()
        [job] = live.jobs
        assert (job.id, job.task, job.queue, job.attempt) == (result.id, "work", "default", 1)
        assert (job.fraction, job.message) == (0.5, "half")
        assert 0 <= job.age < 10
        assert (live.name, live.pid, live.state, live.running, live.concurrency) == (
            "one",
            os.getpid(),
            "running",
            1,
            3,
        )
        assert live.memory > 1_000_000
        go_on.set()
        result.join(5)
        [live] = app.live_workers()
        assert (live.jobs, live.ended) == ((), 1)
        assert live.rate > 0
    assert app.live_workers() == []


def test_only_the_jobs_that_run_longest_are_named(app: Heeler):
    go_on = threading.Event()

    @app.task(name="work")
    def work() -> None:
        go_on.wait(10)

    with app.worker(concurrency=25) as worker:
        assert worker.wait_ready(5)
        results = work.enqueue_many([()] * 25)
        while not (live := app.live_workers()) or live[0].running < 25:
            pass
        ages = [job.age for job in live[0].jobs]
        assert len(ages) == 20
        assert ages == sorted(ages, reverse=True)
        go_on.set()
        for result in results:
            result.join(5)


async def test_a_worker_is_seen_and_reached_as_soon_as_it_is_ready(app: Heeler):
    async with app.worker(name="one") as worker:
        assert await asyncio.to_thread(worker.wait_ready, 5)
        assert [live.state for live in await app.alive_workers(0)] == ["running"]
        assert [told.name for told in await app.aquiet_workers("one")] == ["one"]
        while worker.state != "quiet":
            await app.alive_workers()
        assert [live.state for live in await app.alive_workers()] == ["quiet"]
        assert await app.astop_workers("nobody") == []


def test_a_worker_that_is_told_to_stop_stops(app: Heeler):
    with app.worker(name="one") as one, app.worker(name="two") as two:
        assert one.wait_ready(5)
        assert two.wait_ready(5)
        assert [told.id for told in app.stop_workers(one.id)] == [one.id]
        assert one.wait(10)
        assert [live.name for live in app.live_workers()] == ["two"]
