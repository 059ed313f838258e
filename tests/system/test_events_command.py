"""`heeler events` beside a worker and a producer, each in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess

from command_shell import PATIENCE, Shell, read_until


def test_it_shows_what_happens_elsewhere_until_it_is_interrupted(shell: Shell) -> None:
    with subprocess.Popen(
        shell.command("events", "--json", "--kind", "job"),
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        read_until(follower, "following sqlite:///")
        id = shell.enqueue("add", "--args", "[1, 2]")
        shell.worker()
        seen = []
        for line in follower.stdout:
            seen.append(json.loads(line))
            if seen[-1]["kind"] == "job.succeeded":
                break
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 0
    assert [(event["kind"], event["id"]) for event in seen] == [
        ("job.enqueued", id),
        ("job.started", id),
        ("job.succeeded", id),
    ]
    assert seen[0]["at"].endswith("Z")


def test_a_kind_or_level_that_there_is_not_is_wrong_usage(shell: Shell) -> None:
    for arguments, told in ((("--kind", "jobs"), "'jobs' is no kind"), (("--level", "loud"), "'loud' is no level")):
        done = shell.heeler("events", *arguments)
        assert (done.code, done.out) == (2, "")
        assert told in done.err
