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
    while not asked:
        signal.pause()
    lives.write(f"{number} ended\\n")
    return 0

sys.exit(Children(2, work, logging.getLogger("heeler")).run())
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


def test_a_child_that_cannot_work_stops_all(run, tmp_path: Path):
    assert run("usage").wait(10) == 2
    assert len(lives(tmp_path, 1)) <= 2


def test_children_do_not_outlive_a_parent_that_is_killed(run, tmp_path: Path):
    parent = run("waits")
    pids = [int(pid) for _, pid in lives(tmp_path, 2)]
    os.kill(parent.pid, signal.SIGKILL)
    assert len(lives(tmp_path, 4)) == 4
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert alive == []
