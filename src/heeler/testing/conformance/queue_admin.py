"""What looking at queues and tidying them does, and what it leaves alone."""

from __future__ import annotations

import asyncio

import pytest

from heeler.contracts import QueueAdmin, QueueSize
from heeler.model import Action, ErrorRecord, SettleAnswer, TaskStatus
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE, Worker, make_envelope, publish, success

__all__ = [
    "TestDeadLettersAreKept",
    "TestJobsAreListed",
    "TestPausedQueues",
    "TestPurging",
    "TestRedrivenJobsAreNew",
    "TestSizes",
]


def _admin(worker: Worker) -> QueueAdmin:
    admin = worker.broker.admin
    assert admin is not None, "these suites are for brokers that can be administered"
    return admin


async def _bury(worker: Worker, *ids: str, **fields: object) -> None:
    """Publish jobs and let each end as a dead letter, in this order."""
    await publish(worker.broker, *(make_envelope(id_, **fields) for id_ in ids))
    for delivery in await worker.take(len(ids)):
        record = success(delivery.envelope, status=TaskStatus.FAILED, value=None)
        answer = await worker.end(
            delivery,
            Action.DEAD_LETTER,
            attempts=3,
            crashes=1,
            reason="retries used up",
            record=record,
            errors=(ErrorRecord("ValueError", "bad", "Traceback…"),),
        )
        assert answer is SettleAnswer.ACCEPTED


class TestSizes(Suite):
    promise = "lists_waiting"

    async def test_jobs_are_counted_where_they_are(self, harness: Harness) -> None:
        worker = await harness.worker("a", lease=1000.0)
        await _bury(worker, "dead", queue="a")
        await publish(worker.broker, make_envelope(queue="a"), make_envelope(queue="b"))
        await worker.take_one()
        await publish(
            worker.broker,
            *(make_envelope(queue="a") for _ in range(3)),
            *(make_envelope(queue="a", delay=60.0) for _ in range(2)),
        )
        await harness.advance(10)
        [a, b] = await _admin(worker).sizes(["a", "b"])
        assert a.oldest == pytest.approx(10, abs=2.0)
        assert (a.waiting, a.scheduled, a.running, a.dead, a.paused) == (3, 2, 1, 1, False)
        assert (b.waiting, b.scheduled, b.running, b.dead) == (1, 0, 0, 0)
        await harness.advance(60)
        [a] = await _admin(worker).sizes(["a"])
        assert (a.waiting, a.scheduled) == (5, 0)

    async def test_all_known_queues_by_name_and_unknown_ones_as_zero(self, harness: Harness) -> None:
        worker = await harness.worker()
        assert await _admin(worker).sizes(["nobody"]) == [QueueSize(queue="nobody")]
        await publish(worker.broker, make_envelope(queue="b"), make_envelope(queue="a"))
        await _admin(worker).pause("c")
        await publish(worker.broker, make_envelope(queue="d", delay=60.0))
        sizes = {size.queue: size for size in await _admin(worker).sizes()}
        assert {"a", "b", "c", "d"} <= set(sizes)
        assert list(sizes) == sorted(sizes)
        assert sizes["c"].paused

    async def test_a_lease_that_ran_out_counts_as_waiting(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        await worker.take_one()
        await harness.advance(31)
        [size] = await _admin(worker).sizes(["default"])
        assert (size.waiting, size.running) == (1, 0)


class TestJobsAreListed(Suite):
    promise = "lists_waiting"

    async def test_waiting_jobs_in_the_order_in_which_they_would_start_by_pages(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(f"{n:02}", priority=n % 2) for n in range(20)))
        expected = [f"{n:02}" for n in range(1, 20, 2)] + [f"{n:02}" for n in range(0, 20, 2)]
        listed: list[str] = []
        while page := await _admin(worker).list_jobs("waiting", "default", 7, listed[-1] if listed else None):
            listed += [record.envelope.id for record in page]
        assert listed == expected
        assert [record.envelope.id for record in await _admin(worker).peek("default", 3)] == expected[:3]
        assert await worker.take_ids(20) == expected  # looking has changed nothing

    async def test_scheduled_jobs_by_their_time_and_running_ones(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(f"{delay}", delay=float(delay)) for delay in (30, 10, 20)))
        await publish(worker.broker, make_envelope("runs"))
        await worker.take(1)
        scheduled = await _admin(worker).list_jobs("scheduled")
        assert [record.envelope.id for record in scheduled] == ["10", "20", "30"]
        assert all(record.status is TaskStatus.READY and record.next_at is not None for record in scheduled)
        assert [record.envelope.id for record in await _admin(worker).list_jobs("running")] == ["runs"]
        assert await _admin(worker).list_jobs("waiting") == []

    async def test_of_one_queue_or_of_all(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(queue, queue=queue) for queue in ("b", "a")))
        assert {record.envelope.id for record in await _admin(worker).list_jobs("waiting")} == {"a", "b"}
        assert [record.envelope.id for record in await _admin(worker).list_jobs("waiting", "b")] == ["b"]
        assert await _admin(worker).list_jobs("waiting", "nobody") == []


class TestPausedQueues(Suite):
    promise = "fencing"  # what remembers no lease remembers no pause either

    async def test_no_job_of_a_paused_queue_is_fetched_until_it_is_resumed(self, harness: Harness) -> None:
        worker = await harness.worker("a", "b", lease=30.0)
        await publish(worker.broker, make_envelope("first", queue="a"), make_envelope("lost", queue="a"))
        first, _ = await worker.take(2)
        await _admin(await harness.worker()).pause("a")
        await _admin(worker).pause("a")
        await publish(worker.broker, make_envelope("second", queue="a"), make_envelope("other", queue="b"))
        assert await worker.take_ids(1) == ["other"]
        assert await worker.end(first) is SettleAnswer.ACCEPTED
        await harness.advance(31)
        await worker.succeed(*[delivery for delivery in await worker.fetch() if delivery.envelope.id == "other"])
        assert await worker.fetch() == []
        waiting = asyncio.create_task(worker.subscription.ready())
        await asyncio.wait([waiting], timeout=0.05)
        await _admin(worker).resume("a")
        await asyncio.wait_for(waiting, PATIENCE)
        taken = await worker.take_ids(2)
        assert taken == ["lost", "second"] or (
            "keeps_place_on_release" in harness.denials and taken == ["second", "lost"]
        )


class TestPurging(Suite):
    async def test_waiting_jobs_are_dropped_as_cancelled(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("runs"))
        runs = await worker.take_one()
        await publish(
            worker.broker,
            make_envelope("waits"),
            make_envelope("scheduled", delay=10.0),
            make_envelope("elsewhere", queue="other"),
        )
        assert await _admin(worker).purge("default") == 1
        assert await _admin(worker).purge("default") == 0
        assert await worker.fetch() == []
        if worker.broker.store is not None:
            [record] = await worker.broker.store.get(["waits"])
            assert record is not None
            assert record.status is TaskStatus.CANCELLED
        await worker.succeed(runs)
        await harness.advance(11)
        assert await worker.take_ids(1) == ["scheduled"]
        assert await (await harness.worker("other")).take_ids(1) == ["elsewhere"]

    async def test_scheduled_jobs_too_where_that_is_asked_for(self, harness: Harness) -> None:
        self.needs(harness, "lists_waiting")
        worker = await harness.worker()
        await publish(worker.broker, make_envelope(), make_envelope(delay=10.0))
        assert await _admin(worker).purge("default", scheduled=True) == 2
        await harness.advance(11)
        assert await worker.fetch() == []


class TestDeadLettersAreKept(Suite):
    async def test_a_dead_letter_says_what_died_and_why(self, harness: Harness) -> None:
        worker = await harness.worker()
        await _bury(worker, "job", body=b"\x91\x01")
        now = harness.clock.time()
        letter = await _admin(worker).dead_letter("job")
        assert letter is not None
        assert (letter.id, letter.queue, letter.task, letter.reason) == (
            "job",
            "default",
            "suite.work",
            "retries used up",
        )
        assert letter.envelope is not None
        assert letter.envelope.body == b"\x91\x01"
        assert (letter.attempts, letter.crashes) == (3, 1)
        assert letter.errors == (ErrorRecord("ValueError", "bad", "Traceback…"),)
        assert letter.died_at == pytest.approx(now, abs=1.0)
        assert await _admin(worker).dead_letter("nobody") is None

    async def test_newest_first_by_pages_and_by_queue_or_task(self, harness: Harness) -> None:
        worker = await harness.worker("default", "other")
        for number in range(7):
            queue = "other" if number == 3 else "default"
            await _bury(worker, f"{number}", queue=queue, task=f"suite.{number % 2}")
            await harness.advance(1)
        listed: list[str] = []
        while page := await _admin(worker).dead_letters(limit=3, after=listed[-1] if listed else None):
            listed += [letter.id for letter in page]
        assert listed == ["6", "5", "4", "3", "2", "1", "0"]
        assert [letter.id for letter in await _admin(worker).dead_letters(queue="other")] == ["3"]
        assert [letter.id for letter in await _admin(worker).dead_letters(task="suite.1")] == ["5", "3", "1"]
        assert await _admin(worker).dead_letters(queue="other", task="suite.0") == []

    async def test_a_month_and_then_they_are_gone(self, harness: Harness) -> None:
        if type(harness).advance is not Harness.advance:
            pytest.skip("the broker's clock cannot be driven")
        worker = await harness.worker()
        await _bury(worker, "old")
        await harness.advance(20 * 86400)
        await _bury(worker, "new")
        await harness.advance(11 * 86400)
        assert [letter.id for letter in await _admin(worker).dead_letters()] == ["new"]
        assert await _admin(worker).redrive(["old"]) == 0

    async def test_purging_drops_those_that_are_meant(self, harness: Harness) -> None:
        worker = await harness.worker("default", "other")
        await _bury(worker, "a", "b", "c", "d")
        await _bury(worker, "e", queue="other")
        await _bury(worker, "f", task="suite.task")
        assert await _admin(worker).purge_dead(["a", "nobody"]) == 1
        assert await _admin(worker).purge_dead(queue="other") == 1
        assert await _admin(worker).purge_dead(task="suite.task") == 1
        assert [letter.id for letter in await _admin(worker).dead_letters()] == ["d", "c", "b"]
        assert await _admin(worker).purge_dead() == 3
        assert await _admin(worker).dead_letters() == []


class TestRedrivenJobsAreNew(Suite):
    async def test_a_redriven_job_starts_with_its_counters_at_zero_and_a_higher_epoch(self, harness: Harness) -> None:
        worker = await harness.worker()
        await _bury(worker, "job", delay=0.0, priority=3, expires_in=100.0)
        await harness.advance(200)
        assert await _admin(worker).redrive(["job"]) == 1
        assert await _admin(worker).dead_letter("job") is None
        if worker.broker.store is not None:
            [record] = await worker.broker.store.get(["job"])
            assert record is not None
            assert (record.status, record.attempts, record.crashes, record.errors) == (TaskStatus.READY, 0, 0, ())
        delivery = await worker.take_one()
        assert delivery.receipt.epoch == 2
        assert (delivery.attempts, delivery.crashes, delivery.suspect, delivery.note) == (0, 0, False, b"")
        assert delivery.envelope.priority == 3
        assert delivery.expires_at is not None
        assert delivery.expires_at > delivery.leased_at

    async def test_a_redriven_job_does_not_wait_for_its_delay_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job", delay=60.0))
        await harness.advance(61)
        await worker.end(await worker.take_one(), Action.DEAD_LETTER, reason="bad")
        await _admin(worker).redrive()
        assert await worker.take_ids(1) == ["job"]

    async def test_one_or_all_or_by_task_or_by_queue(self, harness: Harness) -> None:
        worker = await harness.worker("default", "other")
        await _bury(worker, "a", "b")
        await _bury(worker, "c", queue="other")
        await _bury(worker, "d", task="suite.task")
        admin = _admin(worker)
        for options, expected in (
            ({"ids": ["nobody", "b"]}, ["b"]),
            ({"queue": "other"}, ["c"]),
            ({"task": "suite.task"}, ["d"]),
            ({}, ["a"]),
            ({}, []),
        ):
            assert await admin.redrive(**options) == len(expected)
            deliveries = await worker.take(len(expected))
            assert [delivery.envelope.id for delivery in deliveries] == expected
            await worker.succeed(*deliveries)

    async def test_a_redriven_job_that_dies_again_is_a_dead_letter_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        await _bury(worker, "job")
        await _admin(worker).redrive()
        await worker.end(await worker.take_one(), Action.DEAD_LETTER, reason="again")
        letter = await _admin(worker).dead_letter("job")
        assert letter is not None
        assert letter.reason == "again"

    async def test_a_redriven_job_wakes_a_waiting_worker(self, harness: Harness) -> None:
        worker = await harness.worker()
        await _bury(worker, "job")
        assert await worker.fetch() == []
        waiting = asyncio.create_task(worker.subscription.ready())
        await asyncio.wait([waiting], timeout=0.05)
        await _admin(await harness.worker("elsewhere")).redrive(["job"])
        await asyncio.wait_for(waiting, PATIENCE)
