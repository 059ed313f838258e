"""The parent of `--processes N`, with real processes that write down what happens to them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import logging, os, signal, sys, time
from heeler.worker.children import Children

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
what = sys.argv[1]
lives = open(sys.argv[2], "a", buffering=1)

def work(number: int) -> int:
    first = not os.path.exists(f"{sys.argv[2]}.{number}")
    open(f"{sys.argv[2]}.{number}", "w").close()
    asked = []
    if what != "is not ready":
        signal.signal(signal.SIGTERM, lambda *a: asked.append(1))
    lives.write(f"{number} {os.getpid()}\\n")
    if what == "dies" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "recycles" and first:
        return 75
    if what == "ends":
        return 0
    if what == "usage":
        return 2
    if what == "gives up":
        return 3
    while not asked:
        signal.pause()
    lives.write(f"{number} ended\\n")
    return 0

def beside() -> int:
    first = not os.path.exists(f"{sys.argv[2]}.0")
    open(f"{sys.argv[2]}.0", "w").close()
    if what == "beside is stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lives.write(f"0 {os.getpid()}\\n")
    if what == "beside dies" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "beside cannot":
        return 2
    while True:
        signal.pause()

has_beside = what.startswith("beside")
sys.exit(Children(2, work, logging.getLogger("heeler"), beside if has_beside else None).run())
"""


@pytest.fixture
def run(tmp_path: Path):
    """Starts the parent; `lives` is what the children wrote."""
    started: list[subprocess.Popen[str]] = []
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def start(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), what, str(tmp_path / "lives")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def lives(tmp_path: Path, count: int) -> list[list[str]]:
    """The lines that the children wrote, as soon as there are so many."""
    deadline = time.monotonic() + 20
    path = tmp_path / "lives"
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [line.split() for line in lines]
        time.sleep(0.01)
    raise AssertionError(f"only {lines} after 20 s")


def test_a_signal_goes_on_to_all_children_and_the_parent_ends_with_them(run, tmp_path: Path):
    parent = run("waits")
    pids = [int(pid) for _, pid in lives(tmp_path, 2)]
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(10) == 0
    assert sorted(line[1] for line in lives(tmp_path, 4)[2:]) == ["ended", "ended"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_child_that_had_no_handler_yet_for_the_signal_has_ended_in_order(run, tmp_path: Path):
    parent = run("is not ready")
    lives(tmp_path, 2)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(10) == 0


@pytest.mark.parametrize("what", ["dies", "recycles"])
def test_a_child_that_dies_or_is_worn_out_is_replaced(run, tmp_path: Path, what: str):
    parent = run(what)
    numbers = [number for number, _ in lives(tmp_path, 4)]
    assert sorted(numbers) == ["1", "1", "2", "2"]
    parent.send_signal(signal.SIGINT)
    assert parent.wait(10) == 0
    assert ("SIGKILL" if what == "dies" else "exit code 75") in parent.stderr.read()


def test_when_all_children_have_done_their_work_the_parent_ends(run, tmp_path: Path):
    assert run("ends").wait(10) == 0
    assert len(lives(tmp_path, 2)) == 2


@pytest.mark.parametrize(("what", "code"), [("usage", 2), ("gives up", 3)])
def test_a_child_that_cannot_work_or_gives_up_the_broker_stops_all(run, tmp_path: Path, what: str, code: int):
    assert run(what).wait(10) == code
    assert len(lives(tmp_path, 1)) <= 2


@pytest.mark.parametrize("what", ["beside serves", "beside is stubborn"])
def test_the_process_beside_the_workers_serves_until_they_have_ended(run, tmp_path: Path, what: str):
    parent = run(what)
    pids = {number: int(pid) for number, pid in lives(tmp_path, 3)}
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == 0
    assert sorted(number for number, said in lives(tmp_path, 5)[3:] if said == "ended") == ["1", "2"]
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_the_process_beside_the_workers_is_replaced_when_it_dies(run, tmp_path: Path):
    parent = run("beside dies")
    assert sorted(number for number, _ in lives(tmp_path, 4)) == ["0", "0", "1", "2"]
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == 0
    assert "the process beside the workers ended (signal SIGKILL)" in parent.stderr.read()


def test_when_the_process_beside_them_cannot_work_all_are_stopped(run, tmp_path: Path):
    assert run("beside cannot").wait(20) == 2


def test_children_do_not_outlive_a_parent_that_is_killed(run, tmp_path: Path):
    parent = run("waits")
    pids = [int(pid) for _, pid in lives(tmp_path, 2)]
    os.kill(parent.pid, signal.SIGKILL)
    assert len(lives(tmp_path, 4)) == 4
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert alive == []
