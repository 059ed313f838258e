"""What each command prints, and how it exits."""

import subprocess

import pytest
from command_shell import Shell


def test_the_version_is_said(shell: Shell) -> None:
    assert shell.heeler("--version").out == "heeler 0.1.0\n"


def test_no_command_shows_the_help(shell: Shell) -> None:
    done = shell.heeler()
    assert done.code == 0
    assert all(command in done.out for command in ("worker", "enqueue", "queues", "dead", "doctor", "demo"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("enqueue",),
        ("enqueue", "add", "--args", "[1"),
        ("enqueue", "add", "--args", '["one", 2]'),
        ("enqueue", "add", "--in", "soon"),
        ("enqueue", "add", "--priority", "500"),
        ("queues", "purge"),
        ("dead", "redrive"),
        ("worker", "--queues", "a=1,b"),
        ("--app", "nowhere:app", "tasks"),
    ],
)
def test_wrong_usage_is_one_line_and_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell.heeler(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("heeler: ")
    assert done.err.count("\n") == 1


def test_the_app_may_be_named_before_or_after_the_command(shell: Shell) -> None:
    for arguments in (
        ("--app", "shop:app", "queues", "list"),
        ("queues", "-A", "shop:app", "list"),
        ("queues", "list", "-A", "shop:app"),
    ):
        assert shell.heeler(*arguments, HEELER_APP="nowhere:app").code == 0


def test_an_error_in_the_apps_module_shows_its_traceback_only_with_debug(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text("import heeler\n1 / 0\n")
    brief, full = shell.heeler("tasks"), shell.heeler("tasks", "--debug")
    assert brief.code == full.code == 2
    assert brief.err.count("\n") == 1
    assert "ZeroDivisionError: division by zero (shop.py, line 2)" in brief.err
    assert "Traceback" in full.err


def test_an_unreachable_broker_is_3(shell: Shell) -> None:
    done = shell.heeler("enqueue", "add", "--args", "[1, 2]", HEELER_URL="sqlite:////nowhere/to/be/found/jobs.db")
    assert done.code == 3
    assert done.err.startswith("heeler: ")
    assert done.err.count("\n") == 1


def test_tasks_are_listed_with_signatures_and_options(shell: Shell) -> None:
    done = shell.heeler("tasks")
    line = next(line for line in done.out.splitlines() if "resize" in line)
    assert line.split("  ")[0] == "shop.resize"
    assert "(path: str, width: int = 64) -> str" in line
    assert "images" in line
    assert "3 attempts, timeout 30 s" in line
    record = next(record for record in shell.heeler("tasks", "--json").records if record["name"] == "shop.resize")
    assert record["queue_name"] == "images"
    assert record["retry"]["max_attempts"] == 3


def test_a_job_goes_from_enqueue_by_worker_to_result(shell: Shell) -> None:
    id = shell.enqueue("resize", "--args", '["cat.png"]', "--kwargs", '{"width": 320}')
    assert shell.heeler("result", id).out.splitlines()[2].split() == ["status", "READY"]
    assert shell.heeler("worker", "--burst").code == 0
    done = shell.heeler("result", id)
    assert done.code == 0
    facts = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert facts["status"].strip() == "SUCCESSFUL"
    assert facts["value"].strip() == '"cat.png-320"'
    (record,) = shell.heeler("result", id, "--json").records
    assert record["return_value"] == "cat.png-320"
    assert (record["args"], record["kwargs"]) == (["cat.png"], {"width": 320})
    assert record["finished_at"].endswith("Z")


def test_enqueue_can_wait_for_the_value(shell: Shell) -> None:
    shell.worker()
    done = shell.heeler("enqueue", "add", "--args", "[1, 2]", "--wait", "--timeout", "30")
    assert (done.code, done.out.splitlines()[1]) == (0, "3")
    (record,) = shell.heeler("enqueue", "add", "--args", "[1, 2]", "--wait", "--json").records
    assert record["return_value"] == 3


def test_a_failed_job_is_1_and_its_traceback_shows_with_debug(shell: Shell) -> None:
    shell.worker()
    brief = shell.heeler("enqueue", "fail", "--args", '["it was to be"]', "--wait")
    assert brief.code == 1
    assert brief.err.count("\n") == 1
    assert "RuntimeError: it was to be" in brief.err
    full = shell.heeler("result", brief.out.strip())
    assert full.code == 1
    assert "RuntimeError: it was to be" in full.out
    assert (
        "in fail\n    raise RuntimeError(message)"
        in shell.heeler("enqueue", "fail", "--args", '["it was to be"]', "--wait", "--debug").err
    )


def test_a_wait_that_takes_too_long_is_1(shell: Shell) -> None:
    done = shell.heeler("enqueue", "add", "--args", "[1, 2]", "--wait", "--timeout", "100ms")
    assert done.code == 1
    assert "0.1 s" in done.err


def test_an_unknown_task_is_sent_by_its_name(shell: Shell) -> None:
    done = shell.heeler("enqueue", "elsewhere.task", "--args", "[1]", "--queue", "other")
    assert done.code == 0
    assert "elsewhere.task" in done.err
    sizes = {record["queue_name"]: record["waiting"] for record in shell.heeler("queues", "list", "--json").records}
    assert sizes["other"] == 1


@pytest.mark.parametrize(
    "command", [("result",), ("cancel",), ("dead", "show"), ("dead", "redrive"), ("dead", "purge")]
)
def test_an_unknown_id_is_1(shell: Shell, command: tuple[str, ...]) -> None:
    done = shell.heeler(*command, "no-such-id")
    assert done.code == 1
    assert done.err.startswith("heeler: ")
    assert done.err.count("\n") == 1


def test_a_waiting_job_is_cancelled_once_and_an_ended_one_not(shell: Shell) -> None:
    waiting = shell.enqueue("add", "--args", "[1, 2]")
    assert shell.heeler("cancel", waiting).code == 0
    (record,) = shell.heeler("result", waiting, "--json").records
    assert record["status"] == "CANCELLED"
    assert shell.heeler("result", waiting).code == 1
    ended = shell.enqueue("add", "--args", "[1, 2]")
    shell.heeler("worker", "--burst")
    done = shell.heeler("cancel", ended)
    assert done.code == 1
    assert "had ended SUCCESSFUL" in done.err


def test_queues_are_listed_paused_and_resumed(shell: Shell) -> None:
    shell.enqueue("resize", "--args", '["cat.png"]')
    shell.enqueue("resize", "--args", '["cat.png"]', "--in", "1h")
    assert shell.heeler("queues", "pause", "images").code == 0
    shell.heeler("worker", "--burst")
    sizes = {record["queue_name"]: record for record in shell.heeler("queues", "list", "--json").records}
    assert (sizes["images"]["waiting"], sizes["images"]["scheduled"], sizes["images"]["paused"]) == (1, 1, True)
    assert sizes["default"]["waiting"] == 0
    assert shell.heeler("queues", "resume", "images").code == 0
    shell.heeler("worker", "--burst")
    sizes = {record["queue_name"]: record for record in shell.heeler("queues", "list", "--json").records}
    assert (sizes["images"]["waiting"], sizes["images"]["paused"]) == (0, False)


def test_purge_drops_the_waiting_and_with_all_also_the_scheduled(shell: Shell) -> None:
    first = shell.enqueue("resize", "--args", '["cat.png"]')
    shell.enqueue("resize", "--args", '["cat.png"]', "--in", "1h")
    shell.enqueue("add", "--args", "[1, 2]")
    refused = shell.heeler("queues", "purge", "images")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert shell.heeler("queues", "purge", "images", "--yes", "--json").records == [
        {"queue_name": "images", "purged": 1}
    ]
    assert shell.heeler("result", first, "--json").records[0]["status"] == "CANCELLED"
    purged = {
        record["queue_name"]: record["purged"]
        for record in shell.heeler("queues", "purge", "--all", "--yes", "--json").records
    }
    assert (purged["images"], purged["default"]) == (1, 1)
    assert shell.heeler("queues", "purge", "--all").code == 0


def test_dead_letters_are_listed_shown_redriven_and_purged(shell: Shell) -> None:
    id = shell.enqueue("resize", "--args", '["broken"]')
    other = shell.enqueue("fail", "--args", '["gone"]')
    with_worker = shell.worker()
    assert shell.heeler("result", id, "--wait").code == 1
    assert shell.heeler("result", other, "--wait").code == 1
    with_worker.terminate()
    assert with_worker.wait(30) == 0
    assert {letter["id"] for letter in shell.heeler("dead", "list", "--json").records} == {id, other}
    (letter,) = shell.heeler("dead", "list", "--task", "resize", "--json").records
    assert (letter["queue_name"], bool(letter["raw"])) == ("images", True)
    failed = shell.heeler("result", id, "--json").records[0]
    assert failed["last_error"] == failed["errors"][-1]
    assert failed["last_error"]["exception_class_path"] == "builtins.ValueError"
    assert id in shell.heeler("dead", "list", "--task", "resize").out
    assert other not in shell.heeler("dead", "list", "--task", "resize").out
    shown = shell.heeler("dead", "show", id)
    assert shown.out.count("ValueError: no such picture") >= 3
    assert 'path="broken"' in shown.out or '"broken"' in shown.out
    assert shell.heeler("dead", "redrive", "--task", "resize", "--json").records == [{"redriven": 1}]
    (record,) = shell.heeler("result", id, "--json").records
    assert (record["status"], record["attempts"]) == ("READY", 0)
    assert shell.heeler("dead", "purge", "--all").code == 2
    assert shell.heeler("dead", "purge", "--all", "--yes", "--json").records == [{"purged": 1}]
    assert shell.heeler("dead", "list").out == "no dead letters\n"


def test_doctor_finds_a_plain_app_well(shell: Shell) -> None:
    done = shell.heeler("doctor")
    assert done.code == 0, done.out + done.err
    assert "all is well" in done.out
    topics = {record["topic"]: record["level"] for record in shell.heeler("doctor", "--json").records}
    assert topics["connection"] == "ok"
    assert topics["durability"] == "ok"


def test_output_into_a_closed_pipe_is_no_error(shell: Shell) -> None:
    piped = subprocess.run(
        f"{' '.join(shell.command('tasks', '--json'))} | head -c 1",
        shell=True,
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (piped.stdout, piped.stderr) == ("{", "")
