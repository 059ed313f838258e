"""The app and the tasks that every benchmark runs; its broker comes from `HEELER_URL`."""

import time

from heeler import Heeler

app = Heeler(result_ttl=3600)


@app.task
async def coroutine_noop(a: int, b: int) -> int:
    return a + b


@app.task
def thread_noop(a: int, b: int) -> int:
    return a + b


@app.task
async def started_at(sent: float) -> float:
    return time.time() - sent


@app.task
async def size(values: list[int]) -> int:
    return len(values)
