"""What a type checker must accept, and (on lines marked `# error`) reject, of code that uses tasks."""

from collections.abc import Coroutine
from typing import Any, assert_type

from heeler import Heeler, Retry, Signature, TaskContext, TaskResult, gather

app = Heeler("memory://")


@app.task
def resize(path: str, width: int = 64) -> str:
    return f"{path}:{width}"


@app.task(retry=Retry(max_attempts=5), timeout=30)
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(takes_context=True)
def report(context: TaskContext, day: int) -> float:
    return day / context.attempt


@app.task(takes_context=True, queue_name="slow")
async def areport(context: TaskContext, day: int) -> float:
    return day / context.attempt


@app.task(id_as_first_arg=True)
def stamp(id: str, count: int) -> str:
    return id * count


def shrink(path: str, width: int) -> str:
    raise NotImplementedError


remote = app.declare("images.shrink", shrink)


async def check() -> None:
    assert_type(resize.enqueue("cat.png", 320), TaskResult[str])
    assert_type(resize.enqueue("cat.png", width=320).get(timeout=1), str)
    assert_type(resize("cat.png", 320), str)
    assert_type(resize.s("cat.png"), Signature[str])
    assert_type(resize.using(priority=5).enqueue("cat.png", 1), TaskResult[str])
    assert_type(await resize.aenqueue("cat.png"), TaskResult[str])
    assert_type(await fetch.aenqueue("url"), TaskResult[bytes])
    assert_type(fetch.enqueue("url"), TaskResult[bytes])
    _ = assert_type(fetch("url"), Coroutine[Any, Any, bytes])
    assert_type(await (await fetch.aenqueue("url")).aget(), bytes)
    assert_type(report.enqueue(3), TaskResult[float])
    assert_type(areport.enqueue(3), TaskResult[float])
    assert_type(stamp.enqueue(3), TaskResult[str])
    assert_type(remote.enqueue("cat.png", 3), TaskResult[str])
    assert_type(resize.enqueue_many([("a", 1)]), list[TaskResult[str]])
    assert_type(gather([resize.enqueue("a")]), list[str])
    assert_type(resize.enqueue("a").return_value, str)

    resize.enqueue(320)  # error
    resize.enqueue("cat.png", "wide")  # error
    resize.enqueue("cat.png", height=3)  # error
    resize.enqueue()  # error
    await resize.aenqueue("cat.png", "wide")  # error
    await fetch.aenqueue(b"url")  # error
    resize.s(b"cat.png")  # error
    resize.s("cat.png", "wide")  # error
    resize.using(priority=5).enqueue(1)  # error
    resize.using(prioriti=5)  # error
    report.enqueue("monday")  # error
    areport.enqueue("monday")  # error
    stamp.enqueue("three")  # error
    remote.enqueue("cat.png")  # error
    length: int = resize.enqueue("cat.png").get()  # error
    resize("cat.png", "wide")  # error
    del length
