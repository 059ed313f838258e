"""What `heeler worker` writes to its log."""

import json

from command_shell import Shell

LOGGING_APP = """
import logging
from heeler import Heeler, Retry
app = Heeler()
log = logging.getLogger("shop")

@app.task
def say(what: str) -> None:
    log.info("saying %s", what, extra={"what": what})

@app.task(executor="process")
def say_in_child(what: str) -> None:
    log.info("saying %s", what, extra={"what": what})

@app.task
def fail() -> None:
    raise RuntimeError("no paper")
"""


def test_json_is_the_only_thing_on_stderr_and_names_the_task_also_of_a_child(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(LOGGING_APP)
    ids = [shell.enqueue(*command) for command in (("say", "--args", '["hi"]'), ("say_in_child", "--args", '["ho"]'))]
    failed = shell.enqueue("fail")
    done = shell.heeler("worker", "--burst", "--log-format", "json")
    records = [json.loads(line) for line in done.err.splitlines()]
    assert (records[0]["message"], records[0]["app"], records[0]["concurrency"]) == (
        "starting",
        "shop:app",
        "20 jobs at once",
    )
    said = {record["task_id"]: record for record in records if record["logger"] == "shop"}
    assert {id: (said[id]["task_name"], said[id]["task_attempt"], said[id]["what"]) for id in ids} == {
        ids[0]: ("shop.say", 1, "hi"),
        ids[1]: ("shop.say_in_child", 1, "ho"),
    }
    assert said[ids[0]]["process"] != said[ids[1]]["process"]
    (error,) = [record for record in records if record["level"] == "error"]
    assert (error["task_id"], error["task_name"]) == (failed, "shop.fail")
    assert error["exception"].endswith("RuntimeError: no paper")


def test_lines_for_people_name_the_task_and_the_error(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(LOGGING_APP)
    id = shell.enqueue("say_in_child", "--args", '["ho"]')
    failed = shell.enqueue("fail")
    lines = shell.heeler("worker", "--burst").err.splitlines()
    assert any(line.endswith(f"shop: saying ho [shop.say_in_child {id}]") for line in lines)
    assert any(line.endswith(f"shop.fail {failed} failed after 1 attempt: RuntimeError: no paper") for line in lines)


def test_a_level_hides_what_is_below(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(LOGGING_APP)
    shell.enqueue("say", "--args", '["hi"]')
    said = shell.heeler("worker", "--burst", HEELER_LOG_LEVEL="warning").err
    assert "saying" not in said
    assert "running" not in said
