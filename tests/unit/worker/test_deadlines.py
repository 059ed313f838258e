"""One heap and one timer for all timeouts."""

import asyncio

from heeler.model import Delivery, Envelope, Receipt
from heeler.worker.deadlines import SLACK, Deadline, Deadlines
from heeler.worker.run import Run


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def a_run(id: str = "1") -> Run:
    envelope = Envelope(id=id, task="t", queue="q", body=b"", content_type="")
    return Run(Delivery(envelope=envelope, receipt=Receipt(id, 1), leased_at=0.0), 0.0)


async def test_a_sweep_tells_of_what_has_passed_in_order():
    hand, told = Hand(), []
    deadlines = Deadlines(asyncio.get_running_loop(), hand.monotonic, lambda run, what: told.append((run, what)))
    first, second, third = a_run("1"), a_run("2"), a_run("3")
    deadlines.add(5.0, third, Deadline.HARD)
    deadlines.add(1.0, first, Deadline.SOFT)
    deadlines.add(2.0, second, Deadline.HARD)
    hand.now = 2.0
    deadlines.sweep()
    assert told == [(first, Deadline.SOFT), (second, Deadline.HARD)]
    deadlines.close()


async def test_a_run_that_ended_is_left_alone():
    hand, told = Hand(), []
    deadlines = Deadlines(asyncio.get_running_loop(), hand.monotonic, lambda run, what: told.append(run))
    run = a_run()
    deadlines.add(1.0, run, Deadline.HARD)
    run.ended = True
    hand.now = 9.0
    deadlines.sweep()
    assert told == []


async def test_the_timer_follows_the_earliest_deadline():
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    deadlines = Deadlines(loop, loop.time, lambda run, what: came.set())
    deadlines.add(loop.time() + 3600, a_run("1"), Deadline.HARD)
    deadlines.add(loop.time() + 0.01, a_run("2"), Deadline.HARD)
    await asyncio.wait_for(came.wait(), 5)
    assert len(deadlines) == 1
    deadlines.close()


async def test_the_heap_does_not_grow_with_runs_that_ended_long_before_their_timeout():
    hand = Hand()
    deadlines = Deadlines(asyncio.get_running_loop(), hand.monotonic, lambda run, what: None)
    for number in range(20 * SLACK):
        run = a_run(str(number))
        deadlines.add(3600.0, run, Deadline.HARD)
        run.ended = True
    assert len(deadlines) <= 2 * SLACK
    deadlines.close()
