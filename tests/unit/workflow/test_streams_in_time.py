"""Streams under a clock by hand: who takes his time is waited for, who is not heard of is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from workflow_tasks import until

from heeler import Heeler, TaskFailed, TaskStatus, chord, group
from heeler.model import LatchRecord
from heeler.testing import ManualClock
from heeler.workflow_sender import STREAM_DEADLINE, WorkflowOptions, _Sending

MEMBERS = 1_200  # three batches


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timed_app(clock: ManualClock) -> Iterator[Heeler]:
    with Heeler("memory://", clock=clock) as app:
        yield app


def latch(app: Heeler, id: str) -> LatchRecord:
    connections = app.connections
    [found] = connections.io.run(connections.needed_store().latches([id]))
    assert found is not None
    return found


def looked_at(app: Heeler, clock: ManualClock) -> bool:
    """Whether the job that watches the sender has looked at this moment, and waits for another one."""
    return any((watch.next_at or 0.0) > clock.time() for watch in app.queues.list_jobs("scheduled"))


def test_a_sender_that_takes_its_time_keeps_its_workflow_alive(timed_app: Heeler, clock: ManualClock) -> None:
    twice = timed_app.task(lambda n: 2 * n, name="timed.twice")
    total = timed_app.task(lambda parts: sum(parts), name="timed.total")

    def members() -> Iterator[Any]:
        for number in range(MEMBERS):
            if number == 1_100:  # two batches are out, and ten times the stated time goes by
                for _ in range(30):
                    clock.advance(STREAM_DEADLINE / 3)
                    until(lambda: latch(timed_app, "slow").touched_at == clock.time())
            yield twice.s(number)

    with timed_app.worker():
        run = chord(group(members()), total.s()).using(id="slow").enqueue()
        assert run.get(timeout=30) == sum(2 * number for number in range(MEMBERS))
        assert run.progress == (MEMBERS + 1, MEMBERS + 1)


def test_a_sender_that_is_not_heard_of_any_more_is_waited_for_as_long_as_stated(
    timed_app: Heeler, clock: ManualClock
) -> None:
    ran: list[int] = []
    refunds: list[str] = []
    member = timed_app.task(lambda n: ran.append(n), name="timed.member")
    body = timed_app.task(lambda parts: None, name="timed.body")
    refund = timed_app.task(lambda failed: refunds.append(failed.id), name="timed.refund")
    whole = chord(group(member.s(number) for number in range(MEMBERS)), body.s()).catch(refund.s())
    timed_app.connections.opened_blocking()
    sending = _Sending(whole._sender(), whole._whole(), "lost", WorkflowOptions())
    some = sending.publications()
    timed_app.connections.broker.publish_blocking(next(some))
    clock.advance(60)
    timed_app.connections.broker.publish_blocking(next(some))  # the last that is heard of the sender
    sending.close()
    with timed_app.worker():
        run = timed_app.get_workflow("lost")
        until(lambda: len(ran) >= 900)
        for seconds in (STREAM_DEADLINE - 60 + 1, 58):
            clock.advance(seconds)
            until(lambda: looked_at(timed_app, clock))
            run.refresh()
            assert run.status is TaskStatus.RUNNING
        clock.advance(2)
        with pytest.raises(TaskFailed, match="was not sent to its end"):
            run.get(timeout=10)
        until(lambda: refunds == ["lost:watch"])
    assert len(ran) == len(set(ran))
