import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from heeler.contracts import Call, Finished, KillAnswer
from heeler.executors import ThreadExecutor

WAIT = 10.0
place = contextvars.ContextVar("place", default="nowhere")


class Told:
    """Collects what an executor tells, and waits for it."""

    def __init__(self, executor: ThreadExecutor) -> None:
        self.finished: list[Finished] = []
        self.batches = 0
        self._news = asyncio.Event()
        executor.on_done = self.take

    def take(self, finished: list[Finished]) -> None:
        self.finished += finished
        self.batches += 1
        self._news.set()

    async def count(self, number: int) -> list[Finished]:
        async with asyncio.timeout(WAIT):
            while len(self.finished) < number:
                self._news.clear()
                await self._news.wait()
        return self.finished


@pytest.fixture
async def executor() -> AsyncIterator[ThreadExecutor]:
    executor = ThreadExecutor()
    yield executor
    await executor.close()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heeler-call"]


async def test_a_call_runs_in_its_own_context(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(1)
    contexts = [contextvars.copy_context() for _ in range(2)]
    contexts[0].run(place.set, "here")
    executor.submit([Call(id=str(i), function=place.get, context=context) for i, context in enumerate(contexts)])
    assert [finished.value for finished in await told.count(2)] == ["here", "nowhere"]


async def test_calls_of_one_thread_start_in_the_order_of_submission(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(1)
    executor.submit([Call(id=str(i), function=int) for i in range(100)])
    assert [finished.id for finished in await told.count(100)] == [str(i) for i in range(100)]


async def test_many_ends_share_a_wake_up(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(1)
    last = threading.Event()
    executor.submit([*(Call(id=str(i), function=int) for i in range(50)), Call(id="last", function=last.set)])
    last.wait(WAIT)  # the loop stands still meanwhile
    await told.count(51)
    assert told.batches <= 2


async def test_system_exit_ends_the_call_and_not_the_thread(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(1)
    executor.submit([Call(id="a", function=sys.exit, args=(3,)), Call(id="b", function=int)])
    first, second = await told.count(2)
    assert isinstance(first.error, SystemExit)
    assert second.value == 0


async def test_a_blocking_call_in_the_middle_of_a_batch_starves_nobody(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(3)
    gate = threading.Event()
    calls = [Call(id=str(i), function=int) for i in range(100)]
    calls[10] = Call(id="slow", function=gate.wait)
    calls[20] = Call(id="slow too", function=gate.wait)
    executor.submit(calls)
    assert len(await told.count(98)) == 98
    gate.set()
    await told.count(100)


async def test_the_late_return_of_an_abandoned_call_is_discarded(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(1)
    started, gate = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        gate.wait(WAIT)

    executor.submit([Call(id="slow", function=slow), Call(id="next", function=threading.current_thread)])
    started.wait(WAIT)
    [old] = threads()
    assert executor.kill("slow") is KillAnswer.ABANDONED
    assert executor.abandoned == 1
    [finished] = await told.count(1)
    assert finished.id == "next"
    assert finished.value is not old
    gate.set()
    old.join(WAIT)
    assert not old.is_alive()
    assert executor.abandoned == 0
    executor.submit([Call(id="last", function=int)])
    assert [finished.id for finished in await told.count(2)] == ["next", "last"]


async def test_no_more_threads_are_started_than_there_are_workers(executor: ThreadExecutor) -> None:
    told = Told(executor)
    executor.start(2)
    before = len(threads())
    barrier = threading.Barrier(2)
    executor.submit([Call(id=str(i), function=barrier.wait, args=(WAIT,)) for i in range(20)])
    await told.count(20)
    assert len(threads()) - before <= 2


async def test_idle_threads_end_and_new_ones_start_when_needed() -> None:
    executor = ThreadExecutor(idle=0.01)
    told = Told(executor)
    executor.start(2)
    executor.submit([Call(id="a", function=threading.current_thread)])
    [first] = await told.count(1)
    first.value.join(WAIT)
    assert not first.value.is_alive()
    executor.submit([Call(id="b", function=threading.current_thread)])
    assert (await told.count(2))[1].value is not first.value
    await executor.close()


async def test_where_the_system_has_no_thread_left_the_calls_fail_with_its_error(
    executor: ThreadExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    told = Told(executor)
    executor.start(2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    executor.submit([Call(id="a", function=int), Call(id="b", function=int)])
    assert [str(finished.error) for finished in await told.count(2)] == ["can't start new thread"] * 2


async def test_closing_ends_the_threads() -> None:
    executor = ThreadExecutor()
    told = Told(executor)
    executor.start(1)
    executor.submit([Call(id="a", function=threading.current_thread)])
    [finished] = await told.count(1)
    await executor.close()
    finished.value.join(WAIT)
    assert not finished.value.is_alive()


async def test_a_submit_after_the_end_is_an_error() -> None:
    executor = ThreadExecutor()
    executor.start(1)
    await executor.close()
    with pytest.raises(RuntimeError, match="after close"):
        executor.submit([Call(id="a", function=int)])


BLOCKED_FOR_EVER = """
import asyncio, threading
from heeler.contracts import Call
from heeler.executors import ThreadExecutor

async def main():
    executor = ThreadExecutor()
    executor.start(2)
    started = threading.Barrier(3)
    def block():
        started.wait()
        threading.Event().wait()
    executor.submit([Call(id="a", function=block), Call(id="b", function=block)])
    started.wait()
    executor.kill("a")
    await executor.close()

asyncio.run(main())
print("over")
"""


def test_running_and_abandoned_threads_do_not_delay_the_end_of_the_program() -> None:
    ended = subprocess.run([sys.executable, "-c", BLOCKED_FOR_EVER], capture_output=True, text=True, timeout=30)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("over\n", "", 0)


async def test_it_can_be_started_again_after_its_close(executor: ThreadExecutor) -> None:
    told = Told(executor)
    go_on = threading.Event()
    executor.start(1)
    executor.submit([Call(id="left behind", function=go_on.wait, args=(WAIT,))])
    await executor.close()
    for turn in range(20):
        executor.start(2)
        executor.submit([Call(id=f"{turn}/{number}", function=int) for number in range(4)])
        assert len(await told.count(4 * turn + 4)) == 4 * turn + 4
        await executor.close()
    go_on.set()
    assert "left behind" not in {finished.id for finished in told.finished}
