"""`heeler worker --reload`: a changed file is a new worker."""

import os
import signal
import subprocess
import time

import psutil
from command_shell import Shell, read_until

APP = """
import time
from heeler import Heeler
app = Heeler()

@app.task
def answer() -> int:
    return {answer}

@app.task
def wait() -> None:
    time.sleep(600)
"""


def write(shell: Shell, answer: str) -> None:
    (shell.folder / "shop.py").write_text(APP.format(answer=answer))


def answer(shell: Shell) -> int:
    (record,) = shell.heeler("enqueue", "answer", "--wait", "--timeout", "30", "--json").records
    return int(record["return_value"])


def ended(worker: subprocess.Popen[str]) -> int:
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=30)
    return worker.returncode


def test_a_changed_file_takes_effect_without_a_restart_by_hand(shell: Shell) -> None:
    write(shell, "1")
    worker = shell.worker("--reload")
    read_until(worker, "running")
    assert answer(shell) == 1
    write(shell, "2")
    read_until(worker, "shop.py changed, reloading")
    read_until(worker, "running")
    assert answer(shell) == 2
    assert ended(worker) == 0


def test_a_file_that_does_not_work_is_waited_out(shell: Shell) -> None:
    write(shell, "(")
    worker = shell.worker("--reload", "--processes", "2")
    said = read_until(worker, "starts again when a file changes")
    assert "importing shop failed: SyntaxError" in said
    write(shell, "3")
    read_until(worker, "running")
    assert answer(shell) == 3
    assert ended(worker) == 0


def test_what_runs_for_long_is_given_back_and_does_not_hold_up_the_reload(shell: Shell) -> None:
    write(shell, "1")
    worker = shell.worker("--reload")
    read_until(worker, "running")
    id = shell.enqueue("wait")
    while shell.heeler("workers", "--json").records[0]["running"] == 0:
        pass
    began = time.monotonic()
    write(shell, "2")
    read_until(worker, "giving back")
    read_until(worker, "running")
    assert time.monotonic() - began < 20
    assert shell.heeler("cancel", id).code == 0
    assert ended(worker) == 0


def test_the_worker_does_not_outlive_who_reloads_it(shell: Shell) -> None:
    write(shell, "1")
    reloader = shell.worker("--reload")
    read_until(reloader, "running")
    children = psutil.Process(reloader.pid).children()
    os.kill(reloader.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_a_worker_that_has_done_its_work_ends_the_reloading(shell: Shell) -> None:
    done = shell.heeler("worker", "--reload", "--burst")
    assert done.code == 0


def test_a_folder_that_is_not_there_is_named(shell: Shell) -> None:
    done = shell.heeler("worker", "--reload", "--reload-dir", "scr")
    assert (done.code, done.err) == (2, "heeler: --reload-dir scr: there is no such folder\n")
