"""`heeler worker` as a process: how it starts, what it refuses, how it ends."""

import os
import signal
import subprocess
import sys

import pytest
from command_shell import Shell, read_until, wait_for_file

from heeler import Heeler


def test_it_says_what_it_is_before_it_works(shell: Shell) -> None:
    worker = shell.worker("--queues", "images=3,default=1", "--concurrency", "7")
    said = read_until(worker, "concurrency")
    facts = dict(line.strip().split("  ", 1) for line in said.splitlines() if "  " in line.strip())
    assert facts["app"].strip() == "shop:app"
    assert facts["broker"].strip().startswith("sqlite:///")
    assert facts["queues"].strip() == "images=3, default=1"
    assert "shop.resize" in facts["tasks"]
    assert facts["concurrency"].strip() == "7 jobs at once"


def test_memory_is_refused_with_the_reason(shell: Shell) -> None:
    done = shell.heeler("worker", HEELER_URL="memory://")
    assert done.code == 2
    assert "memory:// keeps its jobs inside one process" in done.err
    assert done.err.count("\n") == 1


def test_burst_ends_when_nothing_is_left(shell: Shell) -> None:
    ids = [shell.enqueue("add", "--args", f"[{number}, 1]") for number in range(3)]
    assert shell.heeler("worker", "--burst").code == 0
    values = [shell.heeler("result", id, "--json").records[0]["return_value"] for id in ids]
    assert values == [1, 2, 3]


def test_sigterm_lets_what_runs_end_and_exits_with_0(shell: Shell) -> None:
    worker = shell.worker()
    id = shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    wait_for_file(shell.folder / "begun", worker)
    worker.send_signal(signal.SIGTERM)
    read_until(worker, "1 running")
    (shell.folder / "enough").touch()
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert shell.heeler("result", id, "--json").records[0]["status"] == "SUCCESSFUL"


def test_a_running_job_is_cancelled_while_its_worker_goes_on(shell: Shell) -> None:
    worker = shell.worker()
    id = shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    wait_for_file(shell.folder / "begun", worker)
    assert shell.heeler("cancel", id).code == 0
    assert shell.heeler("result", id, "--wait", "--timeout", "30", "--json").records[0]["status"] == "CANCELLED"
    (shell.folder / "enough").touch()
    assert shell.heeler("enqueue", "add", "--args", "[1, 2]", "--wait").code == 0


def process_id(shell: Shell) -> int:
    """Of the process that runs a job now."""
    (record,) = shell.heeler("enqueue", "process_id", "--wait", "--timeout", "30", "--json").records
    return int(record["return_value"])


def ended(worker: subprocess.Popen[str]) -> int:
    worker.terminate()
    worker.communicate(timeout=30)
    return worker.returncode


def test_several_processes_share_the_work_and_a_dead_one_is_replaced(shell: Shell) -> None:
    worker = shell.worker("--processes", "2")
    first = process_id(shell)
    assert first != worker.pid
    os.kill(first, signal.SIGKILL)
    read_until(worker, "SIGKILL")
    assert {process_id(shell) for _ in range(3)}.isdisjoint({first, worker.pid})
    assert ended(worker) == 0


@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
def test_a_second_signal_does_not_spoil_the_exit_code_however_late_it_comes(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    worker = shell.worker(*arguments)
    read_until(worker, "running")
    worker.send_signal(signal.SIGINT)
    read_until(worker, "stopped")
    while worker.poll() is None:
        worker.send_signal(signal.SIGINT)
    assert worker.returncode == 0


def test_a_process_worn_out_by_stuck_threads_begins_anew(shell: Shell) -> None:
    worker = shell.worker("--grace", "0")
    with Heeler(shell.environment["HEELER_URL"]) as app:
        app.declare("shop.stick").enqueue_many([()] * 9)
    read_until(worker, "so that a new one can take over")
    read_until(worker, "running")
    assert process_id(shell) == worker.pid
    assert ended(worker) == 0


def test_a_signal_that_comes_while_a_worn_out_process_stops_ends_it_for_good(shell: Shell) -> None:
    worker = shell.worker("--concurrency", "4")
    shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    wait_for_file(shell.folder / "begun", worker)
    with Heeler(shell.environment["HEELER_URL"]) as app:
        app.declare("shop.stick").enqueue_many([()] * 9)
    read_until(worker, "1 running")  # it is on its way to begin anew
    worker.send_signal(signal.SIGTERM)
    (shell.folder / "enough").touch()
    worker.communicate(timeout=30)
    assert worker.returncode == 0


def test_a_startup_hook_that_fails_ends_the_worker_with_its_error(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(
        "from heeler import Heeler\napp = Heeler()\n@app.on_startup\ndef refuse():\n    raise RuntimeError('no')\n"
    )
    done = shell.heeler("worker")
    assert done.code == 1
    assert "RuntimeError: no" in done.err.splitlines()[-1]


@pytest.mark.parametrize(("meanwhile", "after"), [("os.kill(os.getpid(), 15)", "told"), ("pass", "-15")])
def test_a_signal_just_before_the_process_begins_anew_is_not_lost(meanwhile: str, after: str) -> None:
    script = f"""
import os, signal
from heeler.cli import worker_processes
signal.signal(15, lambda *_: None)
signal.signal(2, lambda *_: None)
def mask(*_):
    {meanwhile}
worker_processes.signal.pthread_sigmask = mask
if worker_processes._was_told_late():
    print("told", flush=True)
    os._exit(0)
os.kill(os.getpid(), 15)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.strip() or str(done.returncode)) == after
