"""Tasks that a child process can import; the tests run them in pools and as suspects."""

import asyncio
import os
import signal
import time

from heeler import Heeler, Retry, TaskContext, current_context

app = Heeler("memory://")


@app.task(executor="process")
def pid() -> int:
    return os.getpid()


@app.task(executor="process")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process", timeout=0.3)
def hang() -> None:
    time.sleep(60)


@app.task(executor="process", takes_context=True, retry=Retry(2, delay=0.0))
def speak(context: TaskContext) -> None:
    context.progress(0.5, "half")
    if context.attempt == 1:
        context.save(["kept"])
        raise ValueError("first")
    context.save([*context.saved, "and more"])


@app.task(executor="process")
def as_it_is(value: dict[str, int]) -> dict[str, int]:
    return value


@app.task
def where() -> int:
    return os.getpid()


@app.task
async def where_async() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@app.task
def poison() -> None:
    if os.getppid() != os.getpid() and current_context().crashes < 99:
        os.kill(os.getpid(), signal.SIGKILL)
