"""A chord beside a plain drain: what it costs a job to be a member of something."""

import statistics
import time
from collections import deque


def chord_beside_drain(members: int, rounds: int = 3) -> dict[str, float]:
    """Jobs per second of one worker, of plain jobs and of a chord's members, in turns, each from the worker's start.

    All are enqueued before, and the chord ends with its body.
    """
    from benchmarks.jobs import app, coroutine_noop, size
    from heeler import chord

    def ended(last) -> float:
        worker = app.worker()
        begin = time.perf_counter()
        worker.start()
        last.join(60)
        seconds = time.perf_counter() - begin
        worker.stop()
        worker.wait()
        return members / seconds

    def plain() -> float:
        (last,) = deque(coroutine_noop.enqueue_iter((n, n) for n in range(members)), maxlen=1)
        return ended(last)

    def joined() -> float:
        return ended(chord((coroutine_noop.s(n, n) for n in range(members)), size.s()).enqueue())

    rates = [(plain(), joined()) for _ in range(rounds)]
    return {
        "plain/s": statistics.median(plain for plain, _ in rates),
        "chord/s": statistics.median(joined for _, joined in rates),
        "share": statistics.median(joined / plain for plain, joined in rates),
    }
