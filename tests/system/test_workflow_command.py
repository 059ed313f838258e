"""`heeler workflow show`, as a user types it."""

import os
import pty
import subprocess

from command_shell import PATIENCE, Shell, read_until, wait_for_file

START = """
import sys
from heeler import Workflow, chord, group
from shop import add, app, fail, hold, resize

flow = Workflow("nightly")
if sys.argv[1] == "good":
    first = flow.add(add.s(1, 2))
    flow.add(group([add.s(first, n) for n in range(50)]), name="many")
elif sys.argv[1] == "bad":
    flow.add(add.s(flow.add(fail.s("no\\x1b[2J luck")), 1))
else:
    flow.add(add.s(1, 2), after=[flow.add(hold.s(sys.argv[1]))])
print(flow.enqueue().id)
"""


def _start(shell: Shell, kind: str) -> str:
    (shell.folder / "start.py").write_text(START)
    done = subprocess.run(
        [*shell.command()[:1], "start.py", kind],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.strip()


def test_a_workflow_before_and_after_it_has_run(shell: Shell) -> None:
    id = _start(shell, "good")
    before = shell.heeler("workflow", "show", id)
    assert before.code == 0, before.err
    lines = before.out.splitlines()
    assert lines[0] == "○ nightly  graph  READY"
    assert "0 %  0 of 51 jobs" in lines[2]
    assert lines[5].split() == ["├─", "○", "add", "READY", "-", "-", "-"]
    assert "└─ … of 50 members: 50 waiting" in lines[-1]
    assert shell.heeler("worker", "--burst").code == 0
    after = shell.heeler("workflow", "show", id, "--watch")
    assert after.code == 0, after.err
    assert after.out.splitlines()[0] == "✓ nightly  graph  SUCCESSFUL"
    assert "50 successful" in after.out
    [record] = shell.heeler("workflow", "show", id, "--json", "--members", "50").records
    assert (record["state"], record["done"], record["total"]) == ("SUCCESSFUL", 51, 51)
    assert [part["name"] for part in record["parts"]] == ["add", "many"]
    assert record["parts"][0]["attempts"] == 1
    assert record["parts"][1]["after"] == ["add"]
    assert len(record["parts"][1]["parts"]) == 50


def test_one_that_failed_says_why_and_exits_with_1(shell: Shell) -> None:
    id = _start(shell, "bad")
    shell.heeler("worker", "--burst")
    shown = shell.heeler("workflow", "show", id)
    assert shown.code == 1
    assert "RuntimeError: no\\x1b[2J luck" in shown.out
    assert "SKIPPED" in shown.out


def test_one_that_is_not_there_is_one_line_and_exits_with_1(shell: Shell) -> None:
    shown = shell.heeler("workflow", "show", "nothing")
    assert shown.code == 1
    assert shown.err.startswith("heeler: no workflow 'nothing' in sqlite:///")
    assert shown.out == ""
    assert shown.err.count("\n") == 1


def test_watching_goes_on_until_it_has_ended(shell: Shell) -> None:
    id = _start(shell, str(shell.folder))
    worker = shell.worker()
    read_until(worker, "running")
    screen, terminal = pty.openpty()
    watching = subprocess.Popen(
        shell.command("workflow", "show", id, "--watch"),
        cwd=shell.folder,
        env=shell.environment | {"TERM": "xterm", "COLUMNS": "80", "LINES": "40"},
        stdout=terminal,
        stderr=terminal,
        stdin=terminal,
    )
    os.close(terminal)
    wait_for_file(shell.folder / "begun", worker)
    seen = ""
    while "RUNNING" not in seen:
        seen += os.read(screen, 65536).decode(errors="replace")
    (shell.folder / "enough").touch()
    while True:
        try:
            data = os.read(screen, 65536).decode(errors="replace")
        except OSError:
            break
        if not data:
            break
        seen += data
    assert watching.wait(PATIENCE) == 0
    os.close(screen)
    assert seen.rindex("SUCCESSFUL") > seen.rindex("RUNNING")
    assert "100 %" in seen
