"""`heeler health`, and what several worker processes tell at one door."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_shell import Shell, read_until

BLOCKING_APP = """
import time
from heeler import Heeler
app = Heeler()

@app.task
async def block(seconds: float) -> None:
    time.sleep(seconds)
"""


def port_of(said: str) -> int:
    return int(said.rstrip().rpartition(" ")[2])


def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_one_port_and_one_file_tell_how_all_processes_are(shell: Shell, tmp_path: Path, processes: str) -> None:
    file = tmp_path / "health.json"
    worker = shell.worker("--processes", processes, "--health-port", "0", "--health-file", str(file))
    port = port_of(read_until(worker, "health on port"))
    until(lambda: ask(port, "/ready")[0] == 200)
    _, report = ask(port, "/live")
    assert len({told["pid"] for told in report["workers"]}) == int(processes)
    done = shell.heeler("health", "--port", str(port), "--ready", HEELER_APP="nowhere:app")
    assert (done.code, done.out.count("is ready")) == (0, int(processes))
    assert shell.heeler("health", HEELER_HEALTH_PORT=str(port)).code == 0
    until(file.exists)
    assert shell.heeler("health", "--file", str(file), "--json").records[0]["well"] is True
    worker.terminate()
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert not file.exists()
    assert shell.heeler("health", "--port", str(port)).code == 1
    assert shell.heeler("health", "--file", str(file)).code == 1


def test_a_stopped_process_ends_the_life_of_all_and_a_killed_one_is_replaced(shell: Shell) -> None:
    worker = shell.worker("--processes", "2", "--health-port", "0", "--health-patience", "1s")
    port = port_of(read_until(worker, "health on port"))
    until(lambda: ask(port, "/ready")[0] == 200)
    pid = ask(port, "/")[1]["workers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: ask(port, "/live")[0] == 503)
    [silent, other] = ask(port, "/live")[1]["workers"]
    assert (silent["live"], other["live"]) == (False, True)
    assert silent["reasons"][0].startswith("it has not answered for")
    os.kill(pid, signal.SIGKILL)
    until(lambda: ask(port, "/ready")[0] == 200)
    assert pid not in [told["pid"] for told in ask(port, "/")[1]["workers"]]


def test_a_blocked_loop_is_told_with_exit_code_1(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(BLOCKING_APP)
    worker = shell.worker("--health-port", "0", "--health-patience", "500ms")
    port = str(port_of(read_until(worker, "health on port")))
    read_until(worker, "running")
    shell.enqueue("block", "--args", "[15]")
    until(lambda: ask(int(port), "/live")[0] == 503)
    done = shell.heeler("health", "--port", port)
    assert (done.code, done.err) == (1, "")
    assert "is not live: its task loop has been silent for" in done.out


def test_without_a_port_or_a_file_the_workers_are_asked_through_the_broker(shell: Shell) -> None:
    nobody = shell.heeler("health")
    assert (nobody.code, nobody.out) == (1, "no worker is there\n")
    worker = shell.worker("--name", "night")
    read_until(worker, "running")
    done = shell.heeler("health", "--here", "--ready")
    assert (done.code, done.out) == (0, f"night (pid {worker.pid}) is ready\n")
    assert shell.heeler("health", "--name", "day").code == 1
    worker.send_signal(signal.SIGSTOP)
    silent = shell.heeler("health")
    worker.send_signal(signal.SIGCONT)
    assert (silent.code, silent.out) == (1, f"night (pid {worker.pid}) is not live: it does not answer\n")
    shell.heeler("workers", "quiet", "night")
    read_until(worker, "quiet")
    assert shell.heeler("health").code == 0
    assert shell.heeler("health", "--ready").code == 1


def test_a_broker_that_cannot_be_reached_is_exit_code_3(shell: Shell) -> None:
    assert shell.heeler("health", HEELER_URL="redis://127.0.0.1:1/0").code == 3


def test_a_port_that_is_taken_ends_all_processes_with_one_reason(shell: Shell) -> None:
    worker = shell.worker("--health-port", "0")
    port = port_of(read_until(worker, "health on port"))
    for processes in ("1", "2"):
        done = shell.heeler("worker", "--processes", processes, "--health-port", str(port))
        assert done.code == 2
        assert f"heeler: --health-port {port}: it cannot be had on this machine (" in done.err


def test_the_metrics_of_all_processes_are_at_one_port(shell: Shell) -> None:
    worker = shell.worker("--processes", "2", "--health-port", "0")
    port = port_of(read_until(worker, "health on port"))
    until(lambda: ask(port, "/ready")[0] == 200)
    assert shell.heeler("enqueue", "add", "--args", "[1, 2]", "--wait").code == 0

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    until(lambda: 'outcome="succeeded"' in read())
    text = read()
    for process in ("1", "2"):
        assert f'heeler_worker_slots{{process="{process}",worker="worker-{process}"}} 20.0' in text
    assert text.count('heeler_queue_jobs{queue="default",state="waiting"} 0.0') == 1
