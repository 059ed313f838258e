"""`heeler schedules …` and `heeler scheduler`, as a user types them."""

import signal
import subprocess
from pathlib import Path

from command_shell import PATIENCE, Shell, read_until

DECLARED = """

@app.schedule("*/5 * * * *", timezone="Europe/Berlin")
@app.task
def sync() -> None: ...


@app.schedule(every=0.2, args=[1, 2])
@app.task(name="shop.tick")
def tick(a: int, b: int) -> int:
    return a + b
"""


def _declare(shell: Shell) -> None:
    with (shell.folder / "shop.py").open("a") as file:
        file.write(DECLARED)


def test_a_schedule_from_its_adding_to_its_removal(shell: Shell) -> None:
    added = shell.heeler(
        *("schedules", "add", "report-42", "add", "--args", "[40, 2]", "--cron", "0 7 * * mon-fri"),
        *("--timezone", "America/New_York", "--overlap", "skip", "--start", "2031-03-01T08:00"),
    )
    assert added.code == 0, added.err
    assert added.out == (
        "report-42  active: At 07:00 on Monday through Friday, America/New_York, next run 2031-03-03 07:00:00 EST\n"
    )
    listed = shell.heeler("schedules", "list")
    assert listed.out.splitlines()[1].split("  ")[0] == "report-42"
    assert "shop.add(40, 2)" in listed.out
    shown = shell.heeler("schedules", "show", "report-42")
    assert "declared by  nobody: it was added at run time" in shown.out
    assert shown.out.count(" 07:00:00 EST") == 5 or "EDT" in shown.out
    paused = shell.heeler("schedules", "pause", "report-42", "--json")
    assert [(record["state"], record["next_run"]) for record in paused.records] == [("paused", None)]
    assert shell.heeler("schedules", "resume", "report-42").out.startswith("report-42  active")
    triggered = shell.heeler("schedules", "trigger", "report-42")
    assert shell.heeler("result", triggered.out.strip(), "--json").records[0]["args"] == [40, 2]
    assert shell.heeler("schedules", "remove", "report-42").out == "report-42  removed\n"
    assert shell.heeler("schedules", "list").out.startswith("no schedules")


def test_one_that_starts_a_workflow_is_named_and_its_outcome_is_the_workflows(shell: Shell) -> None:
    with (shell.folder / "shop.py").open("a") as file:
        file.write("""
from heeler import chain
app.schedule("@yearly", name="nightly")(chain(add.s(1, 2), fail.si("no luck"), add.si(3, 4)))
""")
    assert "starts       chain(shop.add(1, 2), shop.fail('no luck'), shop.add(3, 4))" in (
        shell.heeler("schedules", "show", "nightly").out
    )
    triggered = shell.heeler("schedules", "trigger", "nightly", "--json")
    [run] = triggered.records
    assert (run["kind"], run["status"], run["total"]) == ("chain", "READY", 3)
    assert shell.heeler("worker", "--burst").code == 0
    assert shell.heeler("schedules", "show", "nightly", "--json").records[0]["last_outcome"] == "FAILED"
    shown = shell.heeler("workflow", "show", run["id"])
    assert shown.code == 1
    assert "RuntimeError: no luck" in shown.out


def test_a_preview_shows_the_next_times(shell: Shell) -> None:
    times = shell.heeler("schedules", "preview", "0 0 29 2 *", "-n", "2", "-z", "Europe/Berlin", "--json").records
    assert [time["at"][5:] for time in times] == ["02-29T00:00:00+01:00"] * 2


def test_what_is_wrong_or_not_there_is_one_line_and_a_code(shell: Shell) -> None:
    wrong = shell.heeler("schedules", "add", "r", "add", "--args", "[1, 2]", "--cron", "0 25 * * *")
    assert wrong.code == 2
    assert wrong.err == (
        "heeler: schedule 'r': cron expression '0 25 * * *', at column 3: '25': an hour is a number from 0 to 23\n"
    )
    assert shell.heeler("schedules", "add", "r", "add", "--every", "5s").code == 2
    assert shell.heeler("schedules", "add", "r", "add", "--args", "[1, 2]", "--every", "5s", "--end", "soon").code == 2
    missing = shell.heeler("schedules", "pause", "nobody")
    assert (missing.code, missing.err) == (1, "heeler: there is no schedule 'nobody'\n")
    assert shell.heeler("schedules", "show", "nobody").code == 1
    assert shell.heeler("schedules", "remove", "nobody").code == 1


def test_the_list_shows_where_the_code_differs(shell: Shell) -> None:
    _declare(shell)
    listed = shell.heeler("schedules", "list")
    assert "heeler: schedule shop.sync: the code declares it, the store does not have it" in listed.err
    assert shell.heeler("schedules", "pause", "sync").code == 0
    assert "shop.sync" not in shell.heeler("schedules", "list").err


def test_a_worker_starts_them_unless_it_is_told_not_to(shell: Shell) -> None:
    _declare(shell)
    read_until(shell.worker("--no-scheduler"), "running")
    assert "shop.tick: the code declares it" in shell.heeler("schedules", "list").err
    read_until(shell.worker(), "running")
    _until_it_has_run(shell)
    assert "shop.tick" not in shell.heeler("schedules", "list").err


def test_a_scheduler_alone_starts_them_and_ends_with_a_signal(shell: Shell) -> None:
    _declare(shell)
    read_until(shell.worker("--no-scheduler"), "running")
    scheduler = subprocess.Popen(
        shell.command("scheduler"),
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    shell.workers.append(scheduler)
    assert "declared  shop.sync, shop.tick" in read_until(scheduler, "running")
    _until_it_has_run(shell)
    scheduler.send_signal(signal.SIGTERM)
    scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0


def test_a_scheduler_of_an_app_without_a_store_is_refused(shell: Shell) -> None:
    Path(shell.folder, "bare.py").write_text('from heeler import Heeler\napp = Heeler("memory://")\n')
    refused = shell.heeler("scheduler", "--app", "bare:app")
    assert refused.code == 2
    assert "keeps its jobs inside one process" in refused.err


def _until_it_has_run(shell: Shell) -> None:
    for _ in range(100):
        [record] = [one for one in shell.heeler("schedules", "list", "--json").records if one["name"] == "shop.tick"]
        if record["last_outcome"] == "SUCCESSFUL":
            return
    raise AssertionError("shop.tick never ran")
