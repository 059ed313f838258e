import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Iterator

import pytest

from heeler.io_thread import Handoff, IoThread


@pytest.fixture
def io() -> Iterator[IoThread]:
    thread = IoThread("test-io")
    yield thread
    thread.close()


async def where() -> str:
    return threading.current_thread().name


def test_nothing_runs_before_the_first_use(io: IoThread) -> None:
    assert not io.started
    assert not io.here()
    assert io.run(where()) == "test-io"
    assert io.started


def test_all_work_runs_on_the_same_thread_and_loop(io: IoThread) -> None:
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    assert {io.run(loop()) for _ in range(3)} == {id(io.loop)}
    assert io.submit(where()).result(5) == "test-io"


async def test_work_is_awaited_from_any_loop(io: IoThread) -> None:
    assert await io.arun(where()) == "test-io"
    assert await asyncio.to_thread(lambda: asyncio.run(io.arun(where()))) == "test-io"


def test_errors_come_to_the_caller(io: IoThread) -> None:
    async def fail() -> None:
        raise LookupError("there")

    with pytest.raises(LookupError, match="there"):
        io.run(fail())


def test_a_timeout_cancels_the_work(io: IoThread) -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        io.run(hang(), timeout=0.01)
    assert cancelled.wait(5)


async def test_cancelling_the_awaiting_side_cancels_the_work(io: IoThread) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(io.arun(hang()))
    assert await asyncio.to_thread(started.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(cancelled.wait, 5)


def test_a_blocking_call_on_the_io_thread_itself_is_refused(io: IoThread) -> None:
    async def nested() -> None:
        assert io.here()
        io.run(where())

    with pytest.raises(RuntimeError, match="use the async twin"):
        io.run(nested())


def test_an_awaited_call_on_the_io_thread_runs_in_place(io: IoThread) -> None:
    async def nested() -> str:
        return await io.arun(where())

    assert io.run(nested(), timeout=5) == "test-io"


def test_close_cancels_what_runs_and_is_harmless_twice_and_unstarted() -> None:
    io = IoThread()
    io.close()
    ended = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def begin() -> None:
        io.spawn(hang(), "hanging")
        await asyncio.sleep(0)

    io.run(begin())
    io.close()
    assert ended.is_set()
    assert not io.started
    io.close()


def test_it_starts_again_after_close(io: IoThread) -> None:
    first = io.loop
    io.close()
    assert io.run(where()) == "test-io"
    assert io.loop is not first


def test_it_cannot_close_itself(io: IoThread) -> None:
    async def close() -> None:
        io.close()

    with pytest.raises(RuntimeError, match="cannot close itself"):
        io.run(close())


def test_many_threads_that_begin_at_once_get_one_loop(io: IoThread) -> None:
    barrier = threading.Barrier(8)

    def begin() -> int:
        barrier.wait()
        return id(io.loop)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: begin(), range(8)))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_the_child_gets_a_thread_of_its_own(io: IoThread) -> None:
    assert io.run(where()) == "test-io"
    child = os.fork()
    if child == 0:
        answer = 1
        try:
            if not io.started and io.run(where(), timeout=5) == "test-io":
                answer = 0
        finally:
            os._exit(answer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert io.run(where()) == "test-io"


async def test_a_handoff_delivers_in_order_with_one_wake_up_for_many() -> None:
    batches: list[list[int]] = []
    handoff = Handoff(asyncio.get_running_loop(), batches.append)
    for number in range(5):
        handoff.put(number)
    handoff.put_many([5, 6])
    handoff.put_many([])
    assert batches == []
    await asyncio.sleep(0)
    assert batches == [[0, 1, 2, 3, 4, 5, 6]]
    handoff.put(7)
    await asyncio.sleep(0)
    assert batches[1:] == [[7]]


async def test_nothing_put_by_other_threads_is_lost() -> None:
    count, threads = 2_000, 4
    received: list[tuple[int, int]] = []
    complete = asyncio.Event()

    def take(batch: list[tuple[int, int]]) -> None:
        received.extend(batch)
        if len(received) == count * threads:
            complete.set()

    handoff = Handoff(asyncio.get_running_loop(), take)

    def put(thread: int) -> None:
        for number in range(count):
            handoff.put((thread, number))

    await asyncio.gather(*(asyncio.to_thread(put, thread) for thread in range(threads)))
    await asyncio.wait_for(complete.wait(), 10)
    for thread in range(threads):
        assert [number for owner, number in received if owner == thread] == list(range(count))


async def test_what_is_put_while_a_batch_is_delivered_comes_in_the_next() -> None:
    batches: list[list[str]] = []

    def take(batch: list[str]) -> None:
        batches.append(batch)
        if batch == ["first"]:
            handoff.put("second")

    handoff = Handoff(asyncio.get_running_loop(), take)
    handoff.put("first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert batches == [["first"], ["second"]]
