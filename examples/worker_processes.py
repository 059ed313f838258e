"""Jobs cross from this process to worker processes through a SQLite file; no server is involved."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from heeler import Heeler, gather

HERE = Path(__file__).resolve()
app = Heeler(os.environ.get("HEELER_URL", "memory://"))  # the worker process gets the URL from its environment


@app.task(name="who")
def who(number: int) -> tuple[int, int]:
    time.sleep(0.05)
    return number, os.getpid()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/jobs.db"
        worker = subprocess.Popen(
            [sys.executable, "-m", "heeler", "worker", "--app", f"{HERE.stem}:app", "--processes", "2"],
            cwd=HERE.parent,
            env=os.environ | {"HEELER_URL": url},
        )
        try:
            with Heeler(url) as producer:
                sends = producer.declare("who", who.func)
                answers = gather(sends.enqueue_many((n,) for n in range(200)), timeout=30)
        finally:
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(timeout=30)
    processes = {pid for _, pid in answers}
    print(f"{len(answers)} jobs ran in {len(processes)} other processes; the worker ended with {code}")
    assert [number for number, _ in answers] == list(range(200))
    assert os.getpid() not in processes
    assert code == 0


if __name__ == "__main__":
    main()
