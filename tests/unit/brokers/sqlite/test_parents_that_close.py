"""A forked child whose parent has the database open, and closes it first."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from heeler import Heeler

app = Heeler(sys.argv[1])
app.enqueue_by_name("parent")
told, tell = os.pipe()
may, let = os.pipe()
if os.fork() == 0:
    app.enqueue_by_name("child")
    os.write(tell, b"x")
    os.read(may, 1)
    for _ in range(50):
        app.enqueue_by_name("child")
    os.write(tell, b"x")
    os._exit(0)
os.read(told, 1)
app.close()
os.write(let, b"x")
os.read(told, 1)
os.wait()
with Heeler(sys.argv[1]) as other:
    print(other.queues.sizes()[0].waiting)
"""


def test_what_a_child_enqueues_is_kept_when_its_parent_closes_the_file_first(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"sqlite:///{tmp_path}/jobs.db"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        check=False,
    )

    assert done.stdout.strip() == "52", done.stderr
