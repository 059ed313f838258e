"""The app that the system tests use, as a user would write it."""

import os
import time
from pathlib import Path

from heeler import Heeler, Retry

app = Heeler()


@app.task(queue_name="images", retry=Retry(3, delay=0.05, jitter=False), timeout=30)
def resize(path: str, width: int = 64) -> str:
    if path == "broken":
        raise ValueError("no such picture")
    return f"{path}-{width}"


@app.task
async def add(a: int, b: int) -> int:
    return a + b


@app.task(retry=Retry(1))
def fail(message: str) -> None:
    raise RuntimeError(message)


@app.task
def hold(folder: str) -> None:
    """Runs from when it has made the file "begun" until there is a file "enough"."""
    Path(folder, "begun").touch()
    while not Path(folder, "enough").exists():
        time.sleep(0.01)


@app.task
def process_id() -> int:
    return os.getpid()


@app.task(timeout=0.1)
def stick() -> None:
    """Cannot be ended: its thread is abandoned when its time is over."""
    time.sleep(600)
