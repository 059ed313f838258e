"""The process pool with real processes: who dies, who lives, and what is told of it."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from heeler.contracts import Call, Finished, KillAnswer
from heeler.executors import ProcessExecutor, in_pool_process

WAIT = 20.0
ENTRY = "pool_actions:act"
HERE = str(Path(__file__).parent)


class Gate:
    """A socket that children come to, tell their process id, and wait at."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._arrivals: asyncio.Queue[tuple[int, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self._arrivals.put_nowait((int(await reader.readline()), writer))

    async def arrival(self) -> tuple[int, asyncio.StreamWriter]:
        async with asyncio.timeout(WAIT):
            return await self._arrivals.get()


class Pool:
    """A process pool and what it told."""

    def __init__(self, **options: Any) -> None:
        self.executor = ProcessExecutor(ENTRY, **options)
        self.executor.on_done = self._take
        self._finished: dict[str, Finished] = {}
        self._news = asyncio.Event()
        self._last = 0

    def _take(self, finished: list[Finished]) -> None:
        self._finished |= {one.id: one for one in finished}
        self._news.set()

    def submit(self, *orders: str) -> list[str]:
        ids = [f"{self._last + number}" for number in range(1, len(orders) + 1)]
        self._last += len(orders)
        self.executor.submit([Call(id=id_, order=order.encode()) for id_, order in zip(ids, orders, strict=True)])
        return ids

    async def end_of(self, id: str) -> Finished:
        async with asyncio.timeout(WAIT):
            while id not in self._finished:
                self._news.clear()
                await self._news.wait()
        return self._finished[id]

    async def do(self, order: str) -> str:
        """Make one call; what it returns."""
        [id_] = self.submit(order)
        finished = await self.end_of(id_)
        assert finished.error is None, finished
        assert finished.died is None, finished
        return str(finished.value.decode())


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    with tempfile.TemporaryDirectory(prefix="heeler-") as folder:
        gate = Gate(str(Path(folder, "gate")))
        server = await asyncio.start_unix_server(gate.welcome, gate.path)
        yield gate
        server.close()
        for writer in gate.writers:
            writer.close()
        await server.wait_closed()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    pool.executor.start(2)
    yield pool
    await pool.executor.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Nothing that the test opened stays open."""
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


async def gone(pid: int) -> None:
    """Return when that process, whoever's child it is, has ended."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(watched, lambda: ended.done() or ended.set_result(None))
        async with asyncio.timeout(WAIT):
            await ended
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)


async def test_a_child_is_warm_and_used_again(pool: Pool) -> None:
    assert await pool.do("pid") == await pool.do("pid")
    assert await pool.do("calls") == "3"


async def test_no_process_is_started_before_the_first_call(pool: Pool) -> None:
    assert pool.executor._template is None


@pytest.mark.parametrize(
    ("order", "how"), [("exit 3", "exit code 3"), ("exit 0", "exit code 0"), (f"signal {signal.SIGKILL}", "signal 9")]
)
async def test_a_child_that_dies_takes_its_own_call_with_it(pool: Pool, gate: Gate, order: str, how: str) -> None:
    meeting, dying = pool.submit(f"meet {gate.path}", order)
    _, writer = await gate.arrival()
    finished = await pool.end_of(dying)
    assert (finished.died, finished.value, finished.error) == (how, None, None)
    writer.write(b"!")
    assert (await pool.end_of(meeting)).value == b"met"
    assert await pool.do("parent") == str(pool.executor._template.pid)  # type: ignore[union-attr]


async def test_a_child_that_dies_idle_is_replaced(pool: Pool) -> None:
    pid = int(await pool.do("pid"))
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    async with asyncio.timeout(WAIT):
        while pool.executor._idle:  # noqa: ASYNC110 - until the pool has seen it as well
            await asyncio.sleep(0)
    assert int(await pool.do("pid")) != pid


async def test_a_call_that_an_idle_child_did_not_live_to_read_is_made_by_another(pool: Pool) -> None:
    child = int(await pool.do("pid"))
    os.kill(child, signal.SIGSTOP)
    [id_] = pool.submit("pid")
    os.kill(child, signal.SIGKILL)
    finished = await pool.end_of(id_)
    assert (finished.died, finished.error) == (None, None)
    assert int(finished.value.decode()) != child


async def test_a_call_that_was_read_or_signalled_is_charged(pool: Pool, gate: Gate) -> None:
    child = int(await pool.do("pid"))
    [id_] = pool.submit(f"meet {gate.path}")
    await gate.arrival()
    os.kill(child, signal.SIGSTOP)
    pool.executor.signal(id_, b"a note that it never reads")
    os.kill(child, signal.SIGKILL)
    assert (await pool.end_of(id_)).died == "signal 9"


async def test_a_killed_call_is_over_and_what_it_has_started_too(pool: Pool, gate: Gate) -> None:
    computing, starting = pool.submit(f"meet_and_compute {gate.path}", f"meet_and_start {gate.path}")
    pids = [(await gate.arrival())[0] for _ in range(2)]
    assert pool.executor.kill(computing) is KillAnswer.KILLED
    assert pool.executor.kill(starting) is KillAnswer.KILLED
    for pid in pids:
        await gone(pid)


async def test_a_child_is_replaced_after_its_number_of_calls() -> None:
    pool = Pool(max_jobs_per_child=2)
    pool.executor.start(1)
    pids = [await pool.do("pid") for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    await pool.executor.close()


async def test_no_more_children_run_than_there_are_workers(pool: Pool) -> None:
    ids = pool.submit(*["pid"] * 100)
    assert len({(await pool.end_of(id_)).value for id_ in ids}) <= 2


async def test_what_the_entry_point_raises_comes_back_as_text(pool: Pool) -> None:
    [id_] = pool.submit("fail there")
    error = (await pool.end_of(id_)).error
    assert "KeyError: 'there'" in str(error)
    assert "pool_actions" in str(error)


async def test_a_wrong_entry_point_is_said_by_each_call() -> None:
    pool = Pool()
    pool.executor._entry = "pool_actions:nothing"
    pool.executor.start(1)
    [id_] = pool.submit("pid")
    assert "no attribute 'nothing'" in str((await pool.end_of(id_)).error)
    await pool.executor.close()


async def test_children_import_what_the_worker_would_and_scripts_by_their_path_from_the_working_directory(
    pool: Pool,
) -> None:
    path = list(dict.fromkeys([*sys.path, os.getcwd()]))
    expected = (path, sys.argv, os.environ.get("PYTHONPATH"), os.getcwd())
    assert await pool.do("path") == repr(expected)


async def test_modules_are_imported_once_in_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "heavy_module.py").write_text(f"open({str(imported)!r}, 'a').write('x')")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(imports=["heavy_module"], environment={"HEAVY": "yes"}, max_jobs_per_child=1)
    pool.executor.start(1)
    assert [await pool.do("env HEAVY") for _ in range(2)] == ["yes", "yes"]
    assert imported.read_text() == "x"
    await pool.executor.close()


async def test_an_import_that_fails_is_logged_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_module.py").write_text("import threading\nraise LookupError('not today')")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(imports=["broken_module"])
    pool.executor.start(1)
    assert await pool.do("calls") == "1"
    assert "broken_module" in caplog.text
    assert "LookupError: not today" in caplog.text
    await pool.executor.close()


async def test_threads_that_imports_start_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "threaded_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(imports=["threaded_module"])
    pool.executor.start(1)
    assert await pool.do("calls") == "1"
    assert "started 1 thread" in caplog.text
    await pool.executor.close()


async def test_a_template_that_dies_is_replaced_and_its_children_go_on(
    pool: Pool, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    [meeting] = pool.submit(f"meet {gate.path}")
    _, writer = await gate.arrival()
    template = pool.executor._template
    assert template is not None
    os.kill(template.pid, signal.SIGKILL)
    async with asyncio.timeout(WAIT):
        await template.gone.wait()
    assert await pool.do("parent") != str(template.pid)
    writer.write(b"!")
    assert (await pool.end_of(meeting)).value == b"met"
    assert "will be replaced" in caplog.text


async def test_calls_that_a_dead_template_never_started_are_made_by_the_next(pool: Pool) -> None:
    ids = pool.submit("calls", "calls", "calls")
    template = pool.executor._template
    assert template is not None
    os.kill(template.pid, signal.SIGKILL)
    for id_ in ids:
        assert (await pool.end_of(id_)).value is not None


async def test_a_child_that_dies_after_its_template_is_told_of_all_the_same(pool: Pool, gate: Gate) -> None:
    [meeting] = pool.submit(f"meet {gate.path}")
    pid, _ = await gate.arrival()
    template = pool.executor._template
    assert template is not None
    os.kill(template.pid, signal.SIGKILL)
    async with asyncio.timeout(WAIT):
        await template.gone.wait()
    os.kill(pid, signal.SIGKILL)
    assert "unknown cause" in str((await pool.end_of(meeting)).died)


async def test_a_template_that_can_never_live_fails_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly_module.py").write_text("import os\nos._exit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(imports=["deadly_module"])
    pool.executor.start(2)
    for id_ in pool.submit("pid", "pid", "pid"):
        assert "died 3 times in a row" in str((await pool.end_of(id_)).error)
    await pool.executor.close()


async def test_where_no_process_can_be_started_the_calls_fail_with_the_reason(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    [id_] = pool.submit("pid")
    assert isinstance((await pool.end_of(id_)).error, FileNotFoundError)


async def test_signals_to_the_terminal_or_the_service_do_not_reach_what_runs(pool: Pool, gate: Gate) -> None:
    [meeting] = pool.submit(f"meet {gate.path}")
    pid, writer = await gate.arrival()
    assert os.getpgid(pid) != os.getpgrp()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
        os.kill(pool.executor._template.pid, number)  # type: ignore[union-attr]
    writer.write(b"!")
    assert (await pool.end_of(meeting)).value == b"met"
    assert await pool.do("parent") == str(pool.executor._template.pid)  # type: ignore[union-attr]


async def test_what_a_call_starts_can_be_terminated_as_usual(pool: Pool) -> None:
    assert await pool.do("terminated") == str(-signal.SIGTERM)


async def test_code_can_ask_whether_a_pool_imports_it(pool: Pool) -> None:
    assert await pool.do("in_pool") == "True"
    assert not in_pool_process()


async def test_output_is_seen_when_the_call_ends(capfd: pytest.CaptureFixture[str]) -> None:
    pool = Pool()
    pool.executor.start(1)
    await pool.do("print hello from a child")
    assert capfd.readouterr().out == "hello from a child\n"
    await pool.executor.close()


async def test_a_child_in_retirement_has_its_last_words(tmp_path: Path) -> None:
    pool = Pool(max_jobs_per_child=1)
    pool.executor.start(1)
    words = [tmp_path / "first", tmp_path / "second"]
    for path in words:
        await pool.do(f"last_words {path}")
    await pool.executor.close(WAIT)
    assert all(path.exists() for path in words)


async def test_closing_leaves_no_process_and_no_descriptor(gate: Gate, descriptors: None) -> None:
    pool = Pool()
    pool.executor.start(2)
    pool.submit(f"meet_and_compute {gate.path}")
    pid, writer = await gate.arrival()
    idle = int(await pool.do("pid"))
    template = pool.executor._template
    assert template is not None
    await pool.executor.close()
    for process in (pid, idle, template.pid):
        await gone(process)
    writer.close()
    await writer.wait_closed()


async def test_children_inherit_no_descriptors_of_each_other(pool: Pool, gate: Gate) -> None:
    alone = await pool.do("descriptors")
    [meeting] = pool.submit(f"meet {gate.path}")
    _, writer = await gate.arrival()
    assert await pool.do("descriptors") == alone
    writer.write(b"!")
    await pool.end_of(meeting)


WORKER = """
import asyncio, os, signal, sys
sys.path.insert(0, {here!r})
from heeler.contracts import Call
from heeler.executors import ProcessExecutor

async def main():
    executor = ProcessExecutor("pool_actions:act")
    executor.start(3)
    executor.submit([
        Call(id="a", order=b"meet {gate}"),
        Call(id="b", order=b"meet_and_compute {gate}"),
        Call(id="c", order=b"meet_and_start {gate}"),
    ])
    async with asyncio.timeout(60):
        while executor._template is None or not executor._template._ready:
            await asyncio.sleep(0.01)
    print(executor._template.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("template_dies_first", [False, True])
async def test_nobody_outlives_a_worker_that_is_killed(gate: Gate, template_dies_first: bool) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER.format(here=HERE, gate=gate.path), stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    try:
        template = int(await worker.stdout.readline())
        pids = [(await gate.arrival())[0] for _ in range(3)]
        if template_dies_first:
            os.kill(template, signal.SIGKILL)
            await gone(template)
        assert all(alive(pid) for pid in pids)
    finally:
        worker.kill()
        await worker.wait()
    for pid in (template, *pids):
        await gone(pid)


def alive(pid: int) -> bool:
    watched = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        return not ended.poll(0)
    finally:
        os.close(watched)


async def test_a_worker_that_is_killed_during_the_imports_leaves_no_template(tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "endless_module.py").write_text(f"import pool_actions; pool_actions.meet({gate.path!r})")
    program = (
        f"import asyncio, sys; sys.path[:0] = [{HERE!r}, {str(tmp_path)!r}]\n"
        "from heeler.contracts import Call\n"
        "from heeler.executors import ProcessExecutor\n"
        "async def main():\n"
        "    executor = ProcessExecutor('pool_actions:act', imports=['endless_module'])\n"
        "    executor.start(1)\n"
        "    executor.submit([Call(id='a', order=b'pid')])\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    template, _ = await gate.arrival()
    worker.kill()
    await worker.wait()
    await gone(template)


async def test_a_submit_before_start_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before start"):
        ProcessExecutor(ENTRY).submit([Call(id="a", order=b"pid")])
