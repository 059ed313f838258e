"""Jobs that ended for good are counted by queue, but only while somebody asks."""

from __future__ import annotations

from heeler import Heeler, Reject, Retry
from heeler.testing.manual_clock import ManualClock
from heeler.worker.tally import COUNTS_FOR, Tally


def test_nothing_is_counted_until_somebody_asks_nor_long_after() -> None:
    clock = ManualClock()
    tally = Tally(clock)
    with Heeler("memory://") as app:

        @app.task(name="fine")
        def fine() -> None: ...

        @app.task(name="flaky", queue_name="other", retry=Retry(2, delay=0.0))
        def flaky() -> None:
            raise Reject("no")

        with app.worker() as worker:
            assert worker.wait_ready(10)
            fine.enqueue().join(10)
            [before] = app.live_workers(5)
            assert before.done == {}
            fine.enqueue().join(10)
            flaky.enqueue().join(10)
            [after] = app.live_workers(5)
            assert (after.done, after.ended) == ({"default": 1, "other": 1}, 3)
    tally.asked()
    tally.counts["default"] = 7
    clock.advance(COUNTS_FOR / 2)
    tally.asked()
    assert tally.counts == {"default": 7}
    clock.advance(COUNTS_FOR + 1)
    tally.asked()
    assert tally.counts == {}
