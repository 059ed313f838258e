"""Tasks that the tests run in a pool child, or as if they were there."""

import asyncio
import contextvars
import os
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from heeler import Heeler, Reject, RetryLater, SoftTimeout, TaskContext, current_context

app = Heeler("memory://")
startups: list[str] = []
shutdowns: list[str] = []
left_behind = contextvars.ContextVar("left_behind", default="")


class Refused(LookupError):
    pass


@app.task
def add(a: Decimal, b: Decimal) -> Decimal:
    return a + b


@app.task(name="elsewhere.named")
def named() -> int:
    return os.getpid()


@app.task
def nothing() -> None:
    pass


@app.task
def fail(text: str) -> None:
    raise Refused(text, 7)


@app.task
def later(after: float, count: bool) -> None:
    raise RetryLater(after, count)


@app.task
def refuse() -> None:
    raise Reject("no good")


@app.task
def leave() -> None:
    raise SystemExit(3)


@app.task
def unstorable() -> Any:
    return object()


@app.task
async def loop_id() -> int:
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


@app.task
def spin() -> str:
    try:
        while True:
            pass
    except SoftTimeout:
        return "cleaned up"


@app.task
async def wait() -> str:
    try:
        await asyncio.Event().wait()
    except SoftTimeout:
        await asyncio.sleep(0)
        return "cleaned up"
    return "never"


@app.task
def sleepy() -> None:
    time.sleep(3600)


@app.task(takes_context=True)
def speak(context: TaskContext, value: int) -> list[Any]:
    context.progress(0.5, "half")
    context.save(value)
    context.enqueue(add.s(Decimal(1), Decimal(2)))
    return [
        context.id,
        context.attempt,
        context.cancelled,
        vars(context.state),
        current_context() is context,
        context.saved,
    ]


@app.task(takes_context=True)
def save_again(context: TaskContext) -> list[Any]:
    before = context.saved
    context.save({"rows": 2})
    return [before, context.saved]


@app.task(takes_context=True)
def speak_and_fail(context: TaskContext) -> None:
    context.enqueue(nothing.s())
    raise Refused


@app.task(takes_context=True)
def keep(context: TaskContext) -> None:
    kept.append(context)


kept: list[TaskContext] = []


@app.task
def leave_behind() -> str:
    before = left_behind.get()
    left_behind.set("something")
    return before


hooked = Heeler("memory://")


@hooked.on_startup
async def open_pool(state: SimpleNamespace) -> None:
    startups.append("once")
    state.loop = asyncio.get_running_loop()


@hooked.on_shutdown
async def close_pool(state: SimpleNamespace) -> None:
    shutdowns.append("same loop" if asyncio.get_running_loop() is state.loop else "another loop")


@hooked.task(takes_context=True)
def use_pool(context: TaskContext) -> str:
    return "open" if context.state.loop else "closed"


broken = Heeler("memory://")


@broken.on_startup
def fail_to_start() -> None:
    raise ConnectionError("no database")


@broken.task
def never_started() -> None:
    pass
