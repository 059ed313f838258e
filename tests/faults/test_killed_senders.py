"""The process that sends a large workflow dies before it has sent all of it: the workflow is broken in time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from heeler import FailedRun, Heeler, TaskFailed, TaskStatus
from heeler.clock import new_id
from services import forget_namespace, redis_url, wait_until

DEADLINE = 1.5


def touched_at(app: Heeler, id: str) -> float:
    """When something was last heard of the sender."""
    connections = app.connections
    [latch] = connections.io.run(connections.needed_store().latches([id]))
    assert latch is not None
    return latch.touched_at


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_workflow_whose_sender_was_killed_is_broken_after_the_stated_time(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else redis_url()
    namespace, id = f"test-{new_id()}", f"flow-{new_id()}"
    script = Path(__file__).with_name("dying_sender.py")
    sender = subprocess.Popen(
        [sys.executable, str(script), url, namespace, id, str(DEADLINE)], stdout=subprocess.PIPE, text=True
    )
    ran: list[int] = []
    refunded: list[FailedRun] = []
    told = threading.Event()
    with Heeler(url, namespace=namespace) as app, app.worker():

        @app.task(name="stream.member")
        def member(number: int) -> int:
            ran.append(number)
            return number

        @app.task(name="stream.body")
        def body(parts: list[int]) -> None:
            raise AssertionError("not all members were sent")

        @app.task(name="stream.refund")
        def refund(failed: FailedRun) -> None:
            refunded.append(failed)
            told.set()

        assert sender.stdout is not None
        assert sender.stdout.readline() == "three batches are out\n"
        run = app.get_workflow(id)
        first = touched_at(app, id)
        wait_until(lambda: touched_at(app, id) > first + 2 * DEADLINE, "the sender says that it lives")
        run.refresh()
        assert run.status is TaskStatus.RUNNING, "a sender that only takes its time is waited for"
        killed_at = time.monotonic()
        sender.kill()
        sender.wait()
        sender.stdout.close()
        with pytest.raises(TaskFailed, match="was not sent to its end: the process that sent it has not been heard of"):
            run.get(timeout=20)
        assert DEADLINE / 2 < time.monotonic() - killed_at < 2 * DEADLINE + 3
        assert run.status is TaskStatus.FAILED
        assert told.wait(10)
        assert len(ran) == len(set(ran)), "none was counted twice"
        assert run.progress.done <= len(ran)
        assert [failed.id for failed in refunded] == [f"{id}:watch"]
    if kind == "redis":
        forget_namespace(redis_url(), namespace)
