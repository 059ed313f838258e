"""What every executor promises, as tests. Import all of it into a test module that has a fixture `make_executor`.

    from heeler.testing.conformance.executor import *

    @pytest.fixture
    def make_executor():
        return MyExecutor

`make_executor()` gives an executor that was not started. One with `remote = True` has to be built with the entry
point `ENTRY_POINT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

from heeler.contracts import Call, CallChannel, Executor, Finished, KillAnswer

__all__ = [
    "ENTRY_POINT",
    "Bench",
    "TestCalls",
    "TestClosing",
    "TestKilling",
    "TestSignals",
    "bench",
    "run_action",
]

ENTRY_POINT = "heeler.testing.conformance.executor:run_action"
WAIT = 20.0  # seconds until a test gives up


class Visitor:
    """A call that stands at the gate: it has started, and goes on when it is let through."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def let_through(self) -> None:
        self._writer.write(b"!")

    async def gone(self) -> None:
        """Return when nobody is there any more: the call went on, or its process died."""
        async with asyncio.timeout(WAIT):
            with contextlib.suppress(ConnectionError):  # it died before it could look
                await self._reader.read()

    async def send_away(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # nobody is there
            await self._writer.wait_closed()


class Bench:
    """An executor at work, what it said so far, and a gate that calls wait at wherever they run."""

    def __init__(self, executor: Executor, gate: str) -> None:
        self.executor = executor
        self.gate = gate
        self.told: list[Finished] = []
        self.signals: list[tuple[str, bytes]] = []
        self.threads: set[int] = set()
        self.visitors: list[Visitor] = []
        self._arrivals: asyncio.Queue[Visitor] = asyncio.Queue()
        self._news = asyncio.Event()
        executor.on_done = self._on_done
        executor.on_signal = self._on_signal

    def call(self, id: str, action: Callable[..., Any], *args: Any) -> Call:
        """A call of one of the actions of this module."""
        if self.executor.remote:
            return Call(id=id, order=msgspec.msgpack.encode([action.__name__, args]))
        return Call(id=id, function=action, args=args)

    def submit(self, *calls: Call) -> None:
        self.executor.submit(calls)

    async def visitor(self) -> Visitor:
        """Wait for the next call to come to the gate."""
        async with asyncio.timeout(WAIT):
            return await self._arrivals.get()

    async def ended(self, *ids: str) -> list[Finished]:
        """Wait until the calls have ended; how, in the same order."""
        async with asyncio.timeout(WAIT):
            while not set(ids) <= {finished.id for finished in self.told}:
                self._news.clear()
                await self._news.wait()
        last = {finished.id: finished for finished in self.told}
        return [last[name] for name in ids]

    async def signalled(self) -> tuple[str, bytes]:
        """Wait for a signal of a call."""
        async with asyncio.timeout(WAIT):
            while not self.signals:
                self._news.clear()
                await self._news.wait()
        return self.signals.pop(0)

    def value(self, finished: Finished) -> Any:
        """What the function returned."""
        assert finished.error is None
        assert finished.died is None
        return msgspec.msgpack.decode(finished.value) if self.executor.remote else finished.value

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitor = Visitor(reader, writer)
        self.visitors.append(visitor)
        self._arrivals.put_nowait(visitor)

    def _on_done(self, finished: list[Finished]) -> None:
        self.threads.add(threading.get_ident())
        self.told += finished
        self._news.set()

    def _on_signal(self, id: str, data: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.signals.append((id, data))
        self._news.set()


# The actions: what calls do, in this process or in another.


def give_back(value: Any) -> Any:
    return value


def fail(text: str) -> None:
    raise LookupError(text)


def wait_at(gate: str, value: Any = None) -> Any:
    """Come to the gate and wait there; returns `value` when let through."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(gate)
        connection.recv(1)
    return value


def run_action(order: bytes, channel: CallChannel) -> bytes:
    """The entry point of remote executors."""
    name, arguments = msgspec.msgpack.decode(order)
    if name == "answer_signals":
        return msgspec.msgpack.encode(answer_signals(channel, *arguments))
    actions: dict[str, Callable[..., Any]] = {action.__name__: action for action in (give_back, fail, wait_at)}
    return msgspec.msgpack.encode(actions[name](*arguments))


def answer_signals(channel: CallChannel, gate: str) -> list[bytes]:
    """Say something, wait at the gate, return what was heard meanwhile."""
    channel.send(b"here")
    wait_at(gate)
    return channel.received()


@pytest_asyncio.fixture
async def bench(make_executor: Callable[[], Executor]) -> AsyncIterator[Bench]:
    """The executor, started with two workers on the test's loop and closed at its end."""
    with tempfile.TemporaryDirectory(prefix="heeler-") as folder:
        gate = str(Path(folder, "gate"))
        at_work = Bench(make_executor(), gate)
        server = await asyncio.start_unix_server(at_work.welcome, gate)
        at_work.executor.start(2)
        try:
            yield at_work
        finally:
            await at_work.executor.close()
            server.close()
            for visitor in at_work.visitors:
                await visitor.send_away()
            await server.wait_closed()


class TestCalls:
    """Calls are run, each once, and how they ended is told on the loop."""

    async def test_a_call_ends_with_the_value_of_its_function(self, bench: Bench) -> None:
        bench.submit(bench.call("a", give_back, [1, "two"]))
        [finished] = await bench.ended("a")
        assert bench.value(finished) == [1, "two"]

    async def test_every_call_of_a_large_batch_is_made_once(self, bench: Bench) -> None:
        ids = [str(number) for number in range(200)]
        bench.submit(*(bench.call(name, give_back, name) for name in ids))
        assert [bench.value(finished) for finished in await bench.ended(*ids)] == ids
        assert len(bench.told) == len(ids)

    async def test_an_error_ends_its_own_call_only(self, bench: Bench) -> None:
        bench.submit(bench.call("bad", fail, "no such page"), bench.call("good", give_back, 1))
        bad, good = await bench.ended("bad", "good")
        assert "no such page" in str(bad.error)
        assert bench.value(good) == 1

    async def test_a_call_that_blocks_does_not_hold_up_another(self, bench: Bench) -> None:
        bench.submit(bench.call("slow", wait_at, bench.gate), bench.call("quick", give_back, 1))
        await bench.ended("quick")
        assert [finished.id for finished in bench.told] == ["quick"]
        (await bench.visitor()).let_through()
        await bench.ended("slow")

    async def test_a_call_beyond_the_workers_waits_for_a_free_one(self, bench: Bench) -> None:
        bench.submit(*(bench.call(name, wait_at, bench.gate, name) for name in "abc"))
        first, second = await bench.visitor(), await bench.visitor()
        assert bench.told == []
        first.let_through()
        third = await bench.visitor()
        assert len(bench.told) == 1
        second.let_through()
        third.let_through()
        assert [bench.value(finished) for finished in await bench.ended(*"abc")] == list("abc")

    async def test_megabytes_go_in_and_out(self, bench: Bench) -> None:
        large = b"x" * (8 << 20)
        bench.submit(bench.call("a", give_back, large), bench.call("b", give_back, large))
        for finished in await bench.ended("a", "b"):
            assert bench.value(finished) == large

    async def test_all_is_told_on_the_loop_that_the_executor_was_started_on(self, bench: Bench) -> None:
        bench.submit(*(bench.call(name, give_back, name) for name in "abc"))
        await bench.ended(*"abc")
        assert bench.threads == {threading.get_ident()}


class TestKilling:
    """A call can be ended, or left to itself, at any time, and its place is free at once."""

    async def test_nothing_is_told_of_a_killed_call(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate))
        visitor = await bench.visitor()
        assert bench.executor.kill("a") in (KillAnswer.KILLED, KillAnswer.ABANDONED)
        visitor.let_through()
        await visitor.gone()
        bench.submit(bench.call("b", give_back, 1))
        await bench.ended("b")
        assert [finished.id for finished in bench.told] == ["b"]

    async def test_the_place_of_a_killed_call_is_free(self, bench: Bench) -> None:
        bench.submit(*(bench.call(name, wait_at, bench.gate) for name in "abc"))
        visitors = [await bench.visitor(), await bench.visitor()]
        bench.executor.kill("a")
        visitors.append(await bench.visitor())
        assert bench.told == []
        for visitor in visitors:
            visitor.let_through()
        await bench.ended("b", "c")

    async def test_a_call_that_waits_is_killed_unrun(self, bench: Bench) -> None:
        bench.submit(*(bench.call(name, wait_at, bench.gate) for name in "ab"))
        visitors = [await bench.visitor(), await bench.visitor()]
        bench.submit(bench.call("waiting", wait_at, bench.gate))
        assert bench.executor.kill("waiting") is KillAnswer.KILLED
        for visitor in visitors:
            visitor.let_through()
        await bench.ended("a", "b")
        bench.submit(bench.call("last", give_back, 1))
        await bench.ended("last")
        assert sorted(finished.id for finished in bench.told) == ["a", "b", "last"]

    async def test_what_has_ended_or_never_was_is_gone(self, bench: Bench) -> None:
        bench.submit(bench.call("a", give_back, 1))
        await bench.ended("a")
        assert bench.executor.kill("a") is KillAnswer.GONE
        assert bench.executor.kill("never") is KillAnswer.GONE

    async def test_the_id_of_a_killed_call_can_be_used_again_at_once(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate, "first"))
        visitor = await bench.visitor()
        bench.executor.kill("a")
        bench.submit(bench.call("a", wait_at, bench.gate, "second"))
        again = await bench.visitor()
        visitor.let_through()
        await visitor.gone()
        again.let_through()
        [finished] = await bench.ended("a")
        assert bench.value(finished) == "second"
        assert len(bench.told) == 1

    async def test_an_abandoned_call_is_counted_while_it_goes_on(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate))
        visitor = await bench.visitor()
        expected = 1 if bench.executor.kill("a") is KillAnswer.ABANDONED else 0
        assert bench.executor.abandoned == expected
        visitor.let_through()
        await _until(lambda: bench.executor.abandoned == 0)


class TestClosing:
    """The end of an executor leaves nothing behind that somebody waits for."""

    async def test_closing_waits_for_what_runs(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate, 1))
        visitor = await bench.visitor()
        closing = asyncio.create_task(bench.executor.close(WAIT))
        visitor.let_through()
        await closing
        [finished] = bench.told
        assert bench.value(finished) == 1

    async def test_what_runs_longer_than_the_grace_is_not_waited_for(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate))
        visitor = await bench.visitor()
        async with asyncio.timeout(WAIT):
            await bench.executor.close(0.01)
        visitor.let_through()
        await visitor.gone()
        assert bench.told == []

    async def test_closing_twice_is_harmless(self, bench: Bench) -> None:
        bench.submit(bench.call("a", give_back, 1))
        await bench.ended("a")
        await bench.executor.close(1)
        await bench.executor.close(1)

    async def test_an_executor_that_made_no_call_can_be_closed(self, bench: Bench) -> None:
        await bench.executor.close(1)

    async def test_after_its_close_an_executor_can_be_started_again(self, bench: Bench) -> None:
        for number in range(3):
            bench.submit(bench.call(f"{number}", give_back, number), bench.call(f"late {number}", wait_at, bench.gate))
            [finished] = await bench.ended(f"{number}")
            assert bench.value(finished) == number
            await bench.visitor()
            await bench.executor.close(0)  # with a call that still runs
            bench.executor.start(2)


class TestSignals:
    """A remote call and its worker can speak while it runs. Calls in this process need no signals: leave it out."""

    async def test_signals_go_both_ways(self, bench: Bench) -> None:
        bench.submit(_signal_call("a", bench.gate))
        assert await bench.signalled() == ("a", b"here")
        visitor = await bench.visitor()
        bench.executor.signal("a", b"one")
        bench.executor.signal("a", b"two")
        visitor.let_through()
        [finished] = await bench.ended("a")
        assert bench.value(finished) == [b"one", b"two"]

    async def test_a_signal_is_heard_by_its_own_call_only(self, bench: Bench) -> None:
        bench.submit(bench.call("a", wait_at, bench.gate), _signal_call("b", bench.gate))
        visitors = [await bench.visitor(), await bench.visitor()]
        bench.executor.signal("a", b"for a")
        for visitor in visitors:
            visitor.let_through()
        [_, of_b] = await bench.ended("a", "b")
        assert bench.value(of_b) == []
        bench.submit(*(_signal_call(name, bench.gate) for name in "cd"))
        for _ in "cd":
            (await bench.visitor()).let_through()
        for finished in await bench.ended("c", "d"):
            assert bench.value(finished) == []

    async def test_a_signal_to_a_call_that_has_ended_does_nothing(self, bench: Bench) -> None:
        bench.submit(bench.call("a", give_back, 1))
        await bench.ended("a")
        bench.executor.signal("a", b"too late")
        bench.submit(bench.call("b", give_back, 2))
        assert bench.value((await bench.ended("b"))[0]) == 2


def _signal_call(id: str, *arguments: Any) -> Call:
    return Call(id=id, order=msgspec.msgpack.encode(["answer_signals", arguments]))


async def _until(condition: Callable[[], bool]) -> None:
    """Let other threads go on until the condition holds; nothing tells of what it is asked for."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
