"""A process whose threads use a SQLite file forks again and again: no child hangs, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import multiprocessing, os, signal, sys, threading, time
from heeler import Heeler
from heeler.clock import new_id
from heeler.model import Envelope, Publication

url, how, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
app = Heeler(url)
told = [app.enqueue_by_name("of.parent").id]
over = threading.Event()


def produce():
    while not over.is_set():
        told.append(app.enqueue_by_name("of.parent").id)


def listen():
    while not over.is_set():
        assert app.get_result(told[-1]).status == "READY"
        app.queues.sizes()


def child(whole):
    if whole:  # with an I/O thread, a session and an inbox of its own
        result = app.enqueue_by_name("of.child")
        result.cancel()
        result.join(timeout=5)
        app.enqueue_by_name("of.child")
    else:
        envelope = Envelope(id=new_id(), task="of.child", queue="default", body=b"", content_type="m")
        app.connections.broker.publish_blocking(Publication(envelopes=(envelope,)))


def forked(whole):
    process = os.fork()
    if process == 0:
        code = 1
        try:
            child(whole)
            code = 0
        finally:
            os._exit(code)
    signal.alarm(20)  # ends this program where a child hangs
    assert os.waitpid(process, 0)[1] == 0
    signal.alarm(0)


def started(whole):
    process = multiprocessing.get_context("fork").Process(target=child, args=(whole,))
    process.start()
    process.join(20)
    assert process.exitcode == 0, process.exitcode


threads = [threading.Thread(target=work) for work in (produce, produce, listen)]
for thread in threads:
    thread.start()
end, forks = time.monotonic() + seconds, 0
while time.monotonic() < end:
    (forked if how == "os.fork" else started)(forks % 20 == 0)
    forks += 1
over.set()
for thread in threads:
    thread.join()
app.close()
with Heeler(url) as other:
    print(forks, len(told), other.queues.sizes()[0].waiting)
"""


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_children_forked_at_any_moment_work_and_lose_nothing(tmp_path: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"sqlite:///{tmp_path}/jobs.db", how, "4"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    forks, told, waiting = map(int, done.stdout.split())
    assert waiting == forks + told
    assert forks > 5
