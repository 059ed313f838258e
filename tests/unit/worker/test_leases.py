"""Leases are kept while a job is in hand, and what is lost is not ended twice."""

import asyncio
import logging
import threading
import time

import pytest
from broken_broker import BrokenBroker

from heeler import Heeler, TaskContext, TaskStatus
from heeler.clock import SystemClock
from heeler.contracts import QueueShare
from heeler.errors import HeelerError
from heeler.model import Command
from heeler.worker.faults import Faults
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.run import Interrupt, Run


def test_a_job_longer_than_its_lease_runs_once():
    starts = []
    with Heeler("memory://", lease=0.3) as app:

        @app.task(name="long")
        def long() -> None:
            starts.append(1)
            time.sleep(1.0)  # it is the job that takes long

        with app.worker(), app.worker():
            result = long.enqueue()
            result.get(timeout=10)
    assert (starts, result.attempts) == ([1], 1)


def test_a_blocked_event_loop_keeps_its_leases():
    starts = []
    with Heeler("memory://", lease=0.3) as app:

        @app.task(name="blocks")
        async def blocks() -> None:
            starts.append(1)
            time.sleep(1.0)  # noqa: ASYNC251

        with app.worker(), app.worker():
            blocks.enqueue().get(timeout=10)
    assert starts == [1]


def test_who_lost_a_lease_cannot_end_the_job_or_speak_for_it(caplog):
    caplog.set_level(logging.INFO, "heeler")
    broker = BrokenBroker("shared")
    refused = []
    started, closed = threading.Event(), threading.Event()

    def paused(context: TaskContext) -> str:
        started.set()
        while not context.cancelled:
            time.sleep(0.005)
        try:
            context.save("zombie")
        except HeelerError as error:
            refused.append(str(error))
        closed.set()
        return "zombie"

    with Heeler(broker=broker, lease=0.2) as here, Heeler(broker=BrokenBroker("shared"), lease=0.2) as elsewhere:
        result = here.task(paused, name="job", takes_context=True).enqueue()
        elsewhere.task(lambda: "accepted", name="job")
        with here.worker(name="first", concurrency=1) as first:
            assert started.wait(5)
            broker.down = {"extend"}  # as if it were cut off for longer than its lease
            with elsewhere.worker(name="second"):
                assert result.get(timeout=10) == "accepted"
                broker.down = set()
                assert closed.wait(10)
            first.stop()
        result.refresh()
    assert (result.saved, result.worker_ids[-1].partition("@")[0]) == (None, "second")
    assert len(refused) == 1
    assert "its lease is lost" in caplog.text


def test_a_cancel_command_is_heard_long_before_the_next_renewal():
    with Heeler("memory://", lease=3600) as app:
        started = threading.Event()

        @app.task(name="long")
        async def long() -> None:
            started.set()
            await asyncio.sleep(60)

        with app.worker():
            result = long.enqueue()
            assert started.wait(5)
            result.cancel()
            app.connections.io.run(app.connections.broker.control.send(Command(kind="cancel", ids=(result.id,))))
            result.join(timeout=5)
        assert result.status is TaskStatus.CANCELLED


class Keeping:
    """A lease keeper over the memory broker, driven without its loop."""

    def __init__(self, lease: float = 30.0, max_block: float = 600.0) -> None:
        self.broker = BrokenBroker()
        self.now = 1000.0
        self.interrupts: list[tuple[Run, Interrupt]] = []
        self.pings = 0
        self.clock = SystemClock()
        self.keeper = LeaseKeeper(
            self.broker,
            self.clock,
            Faults("w", self.clock, logging.getLogger("heeler.test"), None),
            logging.getLogger("heeler.test"),
            lease=lease,
            worker_id="w",
            on_interrupt=lambda run, why: self.interrupts.append((run, why)),
            on_marked=lambda runs: None,
            ping=self.ping,
            max_block=max_block,
        )

    def ping(self) -> None:
        self.pings += 1

    async def runs(self, count: int) -> list[Run]:
        from heeler.model import Envelope, Publication

        await self.broker.open()
        envelopes = tuple(
            Envelope(id=str(n), task="t", queue="q", body=b"", content_type="x", enqueued_at=1.0) for n in range(count)
        )
        await self.broker.publish(Publication(envelopes=envelopes))
        subscription = await self.broker.subscribe([QueueShare("q")], 30.0)
        return [Run(delivery, self.now) for delivery in await subscription.fetch(count)]

    def renewed(self, at: float) -> list[str]:
        renewals, runs = self.keeper._collect(at, [])
        for run in runs:
            run.renewed_at = at
        return [renewal.delivery.receipt.id for renewal in renewals]


@pytest.fixture
async def keeping():
    keeping = Keeping()
    yield keeping
    await keeping.broker.close()


async def test_all_that_is_held_is_renewed_at_a_third_of_the_lease(keeping: Keeping):
    keeping.keeper.hold(await keeping.runs(3), keeping.now)
    assert keeping.renewed(keeping.now + 9.9) == []
    assert keeping.renewed(keeping.now + 10.0) == ["0", "1", "2"]
    assert keeping.renewed(keeping.now + 11.0) == []
    keeping.keeper.pulse()
    assert keeping.renewed(keeping.now + 20.0) == ["0", "1", "2"]


async def test_the_first_renewal_of_a_short_lease_does_not_wait_for_the_announcement(keeping: Keeping):
    short = Keeping(lease=0.3)
    short.keeper.hold(await short.runs(1), short.now)
    assert short.keeper._due == pytest.approx(short.now + 0.1)
    await short.broker.close()


async def test_a_run_is_not_renewed_beyond_its_timeout_and_grace(keeping: Keeping):
    (run,) = await keeping.runs(1)
    keeping.keeper.hold([run], keeping.now)
    run.renew_until = keeping.now + 15.0
    assert keeping.renewed(keeping.now + 10.0) == ["0"]
    keeping.keeper.pulse()
    assert keeping.renewed(keeping.now + 20.0) == []


async def test_nothing_is_renewed_once_the_task_loop_is_silent_for_too_long(keeping: Keeping, caplog):
    keeping.keeper.hold(await keeping.runs(1), keeping.now)
    assert keeping.renewed(keeping.now + 10.0) == ["0"]
    assert keeping.pings == 1
    assert keeping.renewed(keeping.now + 600.0) == ["0"]
    assert keeping.renewed(keeping.now + 620.0) == []
    assert "silent" in caplog.text
    keeping.keeper.pulse()
    assert keeping.renewed(keeping.now + 640.0) == ["0"]


async def test_a_run_is_announced_when_it_is_older_than_a_quarter_of_a_second(keeping: Keeping):
    (run,) = await keeping.runs(1)
    keeping.keeper.hold([run], keeping.now)
    run.started_at, run.started_mono = 50.0, keeping.now
    assert keeping.renewed(keeping.now + 0.2) == []
    assert keeping.renewed(keeping.now + 0.25) == ["0"]


async def test_a_job_that_comes_back_under_a_new_lease_loses_the_old_one(keeping: Keeping):
    (run,) = await keeping.runs(1)
    keeping.keeper.hold([run], keeping.now)
    again = Run(run.delivery, keeping.now + 60)
    keeping.keeper.hold([again], keeping.now + 60)
    assert keeping.interrupts == [(run, Interrupt.LOST)]
    assert keeping.keeper.held_runs() == [again]


async def test_the_end_of_a_job_that_is_being_settled_is_the_settler_s_to_tell(keeping: Keeping):
    (run,) = await keeping.runs(1)
    keeping.keeper.hold([run], keeping.now)
    run.ended = True
    keeping.broker._state.jobs.clear()
    renewals, runs = keeping.keeper._collect(keeping.now + 10, [])
    await keeping.keeper._extend(renewals, runs)
    assert keeping.interrupts == []
    assert keeping.keeper.held_runs() == [run]
