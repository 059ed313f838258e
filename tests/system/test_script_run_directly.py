"""A script that is run directly is `__main__` to itself and a module to all others: tasks and errors are the same."""

from __future__ import annotations

import subprocess
import sys

from command_shell import PATIENCE, Shell

SCRIPT = """
from heeler import Heeler, Retry, TaskFailed

print("read")
app = Heeler()

class OutOfStock(Exception): ...

@app.task(retry=Retry(max_attempts=2, delay=0, on=OutOfStock))
def sell(item: str) -> str:
    raise OutOfStock(item)

@app.task(executor="process", retry=Retry(max_attempts=2, delay=0, on=OutOfStock))
def pack(item: str) -> str:
    raise OutOfStock(item)

if __name__ == "__main__":
    {begin}
    for task in (sell, pack):
        try:
            task.enqueue("melon").get(timeout=20)
        except TaskFailed as failed:
            print(task.name, failed.exception_class_path, failed.attempts, type(failed.__cause__) is OutOfStock)
    app.close()
"""

SAID = [
    "read",
    "market.sell market.OutOfStock 2 True",
    "market.pack market.OutOfStock 2 True",
]


def run_script(shell: Shell, begin: str) -> list[str]:
    (shell.folder / "market.py").write_text(SCRIPT.format(begin=begin))
    done = subprocess.run(
        [sys.executable, "market.py"],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_worker_that_imports_it_runs_its_jobs_and_its_errors_come_back(shell: Shell) -> None:
    (shell.folder / "market.py").write_text(SCRIPT.format(begin="pass"))
    shell.worker("--app", "market:app")
    assert run_script(shell, "pass") == SAID


def test_so_do_a_worker_within_it_and_its_children(shell: Shell) -> None:
    said = run_script(shell, "app.worker().start()")
    assert [line for line in said if line != "read"] == SAID[1:]
