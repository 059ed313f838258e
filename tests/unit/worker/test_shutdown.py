"""How a worker ends, and what becomes of what it holds."""

import asyncio
import gc
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from heeler import Heeler, TaskStatus
from heeler.errors import HeelerError


def test_what_runs_is_waited_for_and_what_has_not_started_is_given_back_at_once(app: Heeler):
    started, go_on = threading.Event(), threading.Event()

    @app.task(name="work")
    def work(first: bool) -> str:
        if first:
            started.set()
            go_on.wait(20)
        return "finished"

    running = work.enqueue(True)
    worker = app.worker(concurrency=1)
    worker.start()
    assert started.wait(5)
    waiting = work.enqueue_many([(False,)] * 50)
    before = time.monotonic()
    worker.stop()
    with app.worker():
        assert [result.get(timeout=5) for result in waiting] == ["finished"] * 50
        assert time.monotonic() - before < 1
    assert {result.attempts for result in waiting} == {1}
    assert worker.state == "stopping"
    go_on.set()
    assert worker.wait(10)
    assert running.get(timeout=1) == "finished"


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_after_the_grace_what_still_runs_is_given_back_and_not_counted(app: Heeler, kind: str):
    started, end = threading.Event(), threading.Event()
    if kind == "thread":

        @app.task(name="long")
        def long() -> str:
            if started.is_set():
                return "second run"
            started.set()
            end.wait(20)
            return "first run"
    else:

        @app.task(name="long")
        async def long() -> str:
            if started.is_set():
                return "second run"
            started.set()
            await asyncio.sleep(20)
            return "first run"

    result = long.enqueue()
    worker = app.worker(grace=0.05)
    worker.start()
    assert started.wait(5)
    worker.stop()
    assert worker.wait(10)
    with app.worker():
        assert result.get(timeout=5) == "second run"
    assert (result.attempts, result.errors) == (1, [])
    end.set()


def test_a_job_that_blocks_the_event_loop_is_given_back_without_it(app: Heeler, monkeypatch):
    monkeypatch.setattr("heeler.worker.shutdown.LAST_WORDS", 0.1)
    started, end = threading.Event(), threading.Event()

    @app.task(name="blocks")
    async def blocks() -> str:
        if started.is_set():
            return "second run"
        started.set()
        end.wait(20)
        return "first run"

    result = blocks.enqueue()
    worker = app.worker(grace=0.05)
    worker.start()
    assert started.wait(5)
    worker.stop()
    with app.worker():
        assert result.get(timeout=5) == "second run"
    end.set()
    assert worker.wait(10)


@pytest.mark.parametrize("how", ["blocks", "ignores its cancellation", "leaves a thread"])
def test_a_coroutine_that_never_ends_does_not_keep_who_waits_for_the_worker(app: Heeler, monkeypatch, caplog, how: str):
    monkeypatch.setattr("heeler.worker.shutdown.LAST_WORDS", 0.1)
    monkeypatch.setattr("heeler.worker.interrupter.PATIENCE", 0.1)
    monkeypatch.setattr("heeler.worker.worker.LEAVE_WITHIN", 0.1)
    started, end = threading.Event(), threading.Event()

    @app.task(name="stays")
    async def stays() -> None:
        started.set()
        if how == "blocks":
            end.wait(20)
        elif how == "leaves a thread":
            await asyncio.to_thread(end.wait, 20)
        while not end.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    worker = app.worker(grace=0.0)
    worker.start()
    result = stays.enqueue()
    assert started.wait(5)
    worker.stop()
    assert worker.wait(5)
    assert "leaving without it" in caplog.text
    assert worker.name not in app.workers
    result.refresh()
    assert (result.status, result.attempts) == (TaskStatus.READY, 0)
    end.set()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == f"heeler-worker {worker.name}"]
    thread.join(10)


def test_stopping_twice_is_harmless(app: Heeler):
    worker = app.worker()
    worker.start()
    worker.stop()
    worker.stop()
    assert worker.wait(5)
    worker.stop()
    assert worker.state == "stopped"


def test_a_worker_works_once(app: Heeler):
    worker = app.worker()
    with worker:
        pass
    with pytest.raises(HeelerError, match="make another"):
        worker.start()


def test_one_calm_line_per_phase(app: Heeler, caplog):
    caplog.set_level(logging.INFO, "heeler")
    with app.worker(name="calm"):
        pass
    lines = [record.getMessage() for record in caplog.records if record.name == "heeler.worker"]
    assert [line.partition(":")[2].partition(";")[0] for line in lines] in (
        [" running", " stopping", " stopped"],
        [" stopped"],  # it was stopped before it had a connection
    )


def test_the_presence_is_announced_and_withdrawn(app: Heeler):
    control = app.connections.broker.control

    @app.task(name="known")
    async def known() -> None: ...

    with app.worker(name="here") as worker:
        known.enqueue().get(timeout=5)
        (presence,) = app.connections.io.run(control.live())
        assert (presence.id, presence.name, presence.tasks) == (worker.id, "here", ("known",))
    assert app.connections.io.run(control.live()) == []


async def test_it_works_in_the_caller_s_loop_and_a_cancel_is_a_calm_stop():
    app = Heeler("memory://")
    loop_of_task = []
    again = asyncio.Event()

    @app.task(name="here")
    async def here() -> None:
        if loop_of_task:
            again.set()
        loop_of_task.append(asyncio.get_running_loop())
        await asyncio.sleep(0.01)

    worker = asyncio.create_task(app.worker().arun())
    result = await here.aenqueue()
    await result.aget(timeout=5)
    assert loop_of_task == [asyncio.get_running_loop()]
    last = await here.aenqueue()
    await again.wait()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    await last.arefresh()
    assert last.status is TaskStatus.SUCCESSFUL
    await app.aclose()


async def test_as_an_async_context_manager_it_works_in_the_caller_s_loop(app: Heeler):
    @app.task(name="a")
    async def a() -> int:
        return id(asyncio.get_running_loop())

    async with app.worker():
        assert await (await a.aenqueue()).aget(timeout=5) == id(asyncio.get_running_loop())


def test_several_workers_share_an_app_and_stopping_one_leaves_the_others(app: Heeler):
    @app.task(name="left")
    async def left() -> str:
        return "left"

    @app.task(name="right")
    async def right() -> str:
        return "right"

    first, second = app.worker(tasks=["left"], name="first"), app.worker(tasks=["right"], name="second")
    with second:
        with first:
            results = left.enqueue_many([()] * 20) + right.enqueue_many([()] * 20)
            assert [result.get(timeout=10) for result in results] == ["left"] * 20 + ["right"] * 20
        assert right.enqueue().get(timeout=5) == "right"


def test_the_settings_of_the_interpreter_are_restored_by_the_last_worker(app: Heeler):
    before = sys.getswitchinterval(), gc.get_threshold()
    with app.worker() as worker:
        assert worker.wait_ready(5)
        with app.worker():
            pass
        assert (sys.getswitchinterval(), gc.get_threshold()[0]) == (pytest.approx(0.001), 10_000)
    assert (sys.getswitchinterval(), gc.get_threshold()) == before


SCRIPT = """
import logging, sys, time
from heeler import Heeler
logging.basicConfig(level=logging.INFO)
app = Heeler("memory://")

@app.task(name="thread")
def thread(seconds: float) -> None:
    print("started", flush=True)
    time.sleep(seconds)
    print("ended", flush=True)

@app.task(name="blocks")
async def blocks(seconds: float) -> None:
    print("started", flush=True)
    time.sleep(seconds)

app.tasks[sys.argv[1]].enqueue(float(sys.argv[2]))
worker = app.worker(grace=float(sys.argv[3]))
worker.run()
print("left", flush=True)
sys.exit(worker.exit_code)
"""


def a_process(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_runs_and_exits_with_zero(tmp_path: Path, number: signal.Signals):
    with a_process(tmp_path, "thread", "0.3", "10") as process:
        process.send_signal(number)
        assert process.stdout.read() == "ended\nleft\n"
    assert process.returncode == 0


def test_a_second_signal_does_not_wait(tmp_path: Path):
    with a_process(tmp_path, "thread", "60", "30") as process:
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        while "stopping; 1 running" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "left\n"
        assert time.monotonic() - before < 10
    assert process.returncode == 0


def test_a_task_that_blocks_the_loop_does_not_keep_the_process(tmp_path: Path):
    with a_process(tmp_path, "blocks", "60", "0.1") as process:
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        assert time.monotonic() - before < 12
    assert process.returncode == 0


def test_too_many_abandoned_threads_recycle_the_process(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import sys, time
from heeler import Heeler
app = Heeler("memory://")

@app.task(name="hang", timeout=0.05)
def hang() -> None:
    time.sleep(60)

hang.enqueue_many([()] * 12)
worker = app.worker(grace=1)
worker.run()
sys.exit(worker.exit_code)
"""
    )
    assert subprocess.run([sys.executable, str(script)], timeout=20, check=False).returncode == 75
