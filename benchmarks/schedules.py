"""How late schedules and delayed jobs start; cases like those of `cases`."""

import random
import time
from datetime import UTC, datetime

import msgspec

from benchmarks.measure import percentile

BEGIN_AFTER = 1.0  # seconds
WARM_UP = 10  # starts; the first time may be over before the worker is there


def lateness(times: int, others: int = 0) -> dict[str, float]:
    """One schedule, five times a second, beside `others` that are not due; from its time to the start of its job."""
    from benchmarks.jobs import app

    late: list[float] = []

    @app.task(name="scheduled", takes_context=True, ignore_result=True)
    async def scheduled(context) -> None:
        due = datetime.fromisoformat(context.headers["heeler-scheduled-for"]).timestamp()
        late.append(time.time() - due)

    _fill(app, scheduled, others)
    app.schedules.add("often", scheduled.s(), every=0.2)
    with app.worker():
        while len(late) < WARM_UP + times:
            time.sleep(0.05)
    app.close()
    return _milliseconds(late[WARM_UP:])


def due_at_once(schedules: int) -> dict[str, float]:
    """So many schedules that are due at the same moment; until the last of their jobs has started."""
    from benchmarks.jobs import app

    late: list[float] = []
    at = time.time() + 1.0 + schedules / 500

    @app.task(name="scheduled", ignore_result=True)
    async def scheduled() -> None:
        late.append(time.time() - at)

    start = datetime.fromtimestamp(at, UTC)
    for number in range(schedules):
        app.schedules.add(f"s{number}", scheduled.s(), every=86400, start=start)
    late_by = time.time() - at
    with app.worker():
        while len(late) < schedules:
            time.sleep(0.02)
    app.close()
    return {"started ms": max(late) * 1e3 - max(0.0, late_by) * 1e3, "ms each": max(late) * 1e3 / schedules}


def _fill(app, task, others: int) -> None:
    """Schedules that are due next year, written as the store has them: one by one would take minutes."""
    from heeler.contracts import ScheduleChange

    async def fill() -> None:
        store = (await app.connections.opened()).schedules
        [entry] = await store.get(["later"])
        due_at = time.time() + 365 * 86400
        for start in range(0, others, 1000):
            numbers = range(start, min(start + 1000, others))
            copies = [msgspec.structs.replace(entry, name=f"later {n}", due_at=due_at + n) for n in numbers]
            await store.change([ScheduleChange(copy.name, None, copy) for copy in copies])

    app.schedules.add("later", task.s(), cron="@yearly")
    app.connections.io.run(fill())


def run_after(jobs: int, rate: float) -> dict[str, float]:
    """Jobs with a time of their own each, published in any order, that come due at `rate` per second."""
    from benchmarks.jobs import app

    late: list[float] = []

    @app.task(name="delayed", ignore_result=True)
    async def delayed(due: float) -> None:
        late.append(time.time() - due)

    # A trial tells how long publishing takes.
    begin = time.perf_counter()
    far = datetime.fromtimestamp(time.time() + 1e6, UTC)
    delayed.enqueue_many([delayed.using(run_after=far).s(0.0) for _ in range(2000)])
    first = time.time() + (time.perf_counter() - begin) / 2000 * jobs * 1.5 + BEGIN_AFTER
    dues = [first + number / rate for number in range(jobs)]
    random.Random(0).shuffle(dues)
    for start in range(0, jobs, 1000):
        part = dues[start : start + 1000]
        moments = [datetime.fromtimestamp(due, UTC) for due in part]
        calls = zip(part, moments, strict=True)
        delayed.enqueue_many([delayed.using(run_after=moment).s(due) for due, moment in calls])
    if time.time() > first:
        raise RuntimeError("publishing took longer than expected")
    with app.worker():
        while len(late) < jobs:
            time.sleep(0.1)
    app.close()
    return _milliseconds(late)


def _milliseconds(late: list[float]) -> dict[str, float]:
    return {"p50 ms": percentile(late, 0.5) * 1e3, "p99 ms": percentile(late, 0.99) * 1e3, "max ms": max(late) * 1e3}
