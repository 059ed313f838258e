"""`heeler jobs`: what it lists, shows and drops."""

from __future__ import annotations

import pytest
from command_shell import Shell, wait_for_file


def ids(shell: Shell, *arguments: str) -> list[str]:
    done = shell.heeler("jobs", "list", "--json", *arguments)
    assert done.code == 0, done.err
    return [record["id"] for record in done.records]


def test_jobs_are_listed_newest_first_and_by_what_is_asked_for(shell: Shell) -> None:
    assert shell.heeler("jobs", "list").out == "no jobs\n"
    added = shell.enqueue("add", "--args", "[1, 2]")
    failed = shell.enqueue("fail", "--args", '["it was to be"]')
    shell.heeler("worker", "--burst")
    later = shell.enqueue("resize", "--args", '["cat.png"]', "--in", "1h")
    assert ids(shell) == [later, failed, added]
    assert ids(shell, "--status", "failed", "-s", "SUCCESSFUL") == [failed, added]
    assert ids(shell, "--scheduled") == ids(shell, "--queue", "images") == ids(shell, "--task", "resize") == [later]
    assert ids(shell, "--since", "1h") == [later, failed, added]
    shown = shell.heeler("jobs", "list", "--limit", "2")
    assert [line.split()[1:3] for line in shown.out.splitlines()[1:]] == [
        ["shop.resize", "READY"],
        ["shop.fail", "FAILED"],
    ]
    assert "due in 60 min" in shown.out or "due in 1 h" in shown.out
    assert "RuntimeError: it was to be" in shown.out
    assert shown.err == f"heeler: there are more: --after {failed} shows what follows\n"
    assert ids(shell, "--after", failed) == [added]
    assert shell.heeler("jobs", "list", "--after", added).out == "no more jobs\n"


def test_a_running_job_shows_since_when(shell: Shell) -> None:
    running = shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    worker = shell.worker()
    wait_for_file(shell.folder / "begun", worker)
    while not ids(shell, "--status", "RUNNING"):
        assert worker.poll() is None
    shown = shell.heeler("jobs", "list", "--status", "RUNNING").out
    assert f"{running} shop.hold  RUNNING" in shown
    assert "for " in shown
    refused = shell.heeler("jobs", "delete", running)
    assert (refused.code, refused.out) == (1, "")
    assert f"is running: heeler cancel {running} stops it" in refused.err
    (shell.folder / "enough").touch()


def test_one_job_is_shown_with_the_traceback_of_every_error(shell: Shell) -> None:
    id = shell.enqueue("resize", "--args", '["broken"]')
    shell.worker()
    shell.heeler("result", id, "--wait")
    shown = shell.heeler("jobs", "show", id)
    assert shown.code == 0
    facts = dict(line.split("  ", 1) for line in shown.out.split("\n\n")[0].splitlines())
    assert facts["status"].strip() == "FAILED"
    assert facts["arguments"].strip() == '"broken"'
    assert facts["attempts"].strip() == "3 of 3"
    assert facts["workers"].strip().startswith("worker-1@")
    assert shown.out.count('raise ValueError("no such picture")') == 3
    assert shown.out.count("\nattempt ") == 3
    (record,) = shell.heeler("jobs", "show", id, "--json").records
    assert (record["status"], len(record["errors"])) == ("FAILED", 3)


def test_waiting_and_ended_jobs_and_their_dead_letters_are_deleted(shell: Shell) -> None:
    ended, failed = shell.enqueue("add", "--args", "[1, 2]"), shell.enqueue("fail", "--args", '["gone"]')
    shell.heeler("worker", "--burst")
    waiting = shell.enqueue("add", "--args", "[3, 4]")
    done = shell.heeler("jobs", "delete", ended, failed, waiting, "nobody")
    assert done.code == 1
    assert [line.split() for line in done.out.splitlines()] == [[id, "deleted"] for id in (ended, failed, waiting)]
    assert done.err == "heeler: there is no job nobody\n"
    assert ids(shell) == []
    assert shell.heeler("dead", "list").out == "no dead letters\n"
    assert shell.heeler("queues", "list", "--json").records[0]["waiting"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--status", "lost"), "--status takes READY, RUNNING, FAILED, SUCCESSFUL, CANCELLED, got 'lost'"),
        (("list", "--since", "yesterday"), "--since takes a time like 30"),
        (("list", "--limit", "0"), "--limit"),
        (("delete",), "Missing argument"),
    ],
)
def test_wrong_usage_says_what_would_be_right(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    done = shell.heeler("jobs", *arguments)
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize("command", [("show", "no-such-id"), ("list", "--after", "no-such-id")])
def test_an_unknown_id_is_1(shell: Shell, command: tuple[str, ...]) -> None:
    done = shell.heeler("jobs", *command)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "no-such-id" in done.err
