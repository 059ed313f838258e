"""A chord beside a plain drain: what it costs a job to be a member of something."""

import statistics
import time
from collections import deque


def chord_beside_drain(members: int, rounds: int = 3) -> dict[str, float]:
    """Jobs per second of one worker, of plain jobs and of a chord's members, in turns, from its start to the last end.

    All are enqueued before, and the chord ends with its body. Nobody waits, so that nobody is told of every end.
    """
    from benchmarks.jobs import app, coroutine_noop, size
    from heeler import chord

    def rate(last) -> float:
        worker = app.worker()
        begin = time.perf_counter()
        worker.start()
        while not last.is_finished:
            time.sleep(0.005)
            last.refresh()
        seconds = time.perf_counter() - begin
        worker.stop()
        worker.wait()
        return members / seconds

    def plain() -> float:
        (last,) = deque(coroutine_noop.enqueue_iter((n, n) for n in range(members)), maxlen=1)
        return rate(last)

    def joined() -> float:
        return rate(chord((coroutine_noop.s(n, n) for n in range(members)), size.s()).enqueue())

    rates = [(plain(), joined()) for _ in range(rounds)]
    return {
        "plain/s": statistics.median(plain for plain, _ in rates),
        "chord/s": statistics.median(joined for _, joined in rates),
        "share": statistics.median(joined / plain for plain, joined in rates),
    }
