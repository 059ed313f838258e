"""`heeler demo` from start to end, and what it leaves behind: nothing."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
from command_shell import Shell


def test_it_counts_the_standard_library_and_leaves_nothing_behind(shell: Shell, tmp_path: Path) -> None:
    done = shell.heeler("demo", TMPDIR=str(tmp_path))
    assert done.code == 0, done.err
    assert "attempt 3 of 3" in done.out
    assert "dead letter" in done.out
    assert "jobs per second" in done.out
    assert list(tmp_path.glob("heeler-demo-*")) == []


def test_its_figures_are_there_as_json(shell: Shell) -> None:
    (record,) = shell.heeler("demo", "--json").records
    assert record["files"] > 300
    assert record["failed"] == 0
    assert record["lines"] > 100_000
    assert record["names"]["self"] > 1_000
    assert len(record["dead_letter"]["errors"]) == 3
    assert 0 < record["round_trip_median"] <= record["round_trip_p99"]


def test_killed_in_its_midst_it_leaves_no_process(shell: Shell, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        shell.command("demo"), env=shell.environment | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL
    )
    parent = psutil.Process(demo.pid)
    deadline = time.monotonic() + 30
    while len(parent.children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    family = parent.children(recursive=True)
    assert len(family) >= 3
    os.kill(demo.pid, signal.SIGKILL)
    demo.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
