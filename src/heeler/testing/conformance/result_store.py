"""What a broker that keeps results promises: records, the push to who waits, cancelling."""

from __future__ import annotations

import asyncio

import pytest

from heeler.contracts import CancelAnswer, Inbox, ResultStore
from heeler.model import (
    Action,
    Delivery,
    ErrorRecord,
    JobFilter,
    Notice,
    Publication,
    ResultRecord,
    RunReport,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE, Worker, make_envelope, publish, success

__all__ = [
    "TestCancelling",
    "TestEndsAreStoredWithTheirJobs",
    "TestExpiredJobsReadAsEnded",
    "TestRecordsAreKeptForTheirTime",
    "TestReportsOfRunningJobs",
    "TestWhoWaitsIsTold",
]


async def _is_running(harness: Harness, worker: Worker, delivery: Delivery) -> None:
    """Where a store learns of leases only by renewals, a run is a running one from its first renewal on."""
    if "one_step_settle" in harness.denials:
        await worker.extend(delivery)


def _store(worker: Worker) -> ResultStore:
    store = worker.broker.store
    assert store is not None, "these suites are for brokers that are their own result store"
    return store


async def _record(worker: Worker, id: str) -> ResultRecord:
    [record] = await _store(worker).get([id])
    assert record is not None
    return record


async def _news(inbox: Inbox, *ids: str) -> list[Notice]:
    """Notices until there is one of each id."""
    notices: list[Notice] = []
    async with asyncio.timeout(PATIENCE):
        while not {notice.id for notice in notices}.issuperset(ids):
            notices += await inbox.receive()
    return notices


class TestEndsAreStoredWithTheirJobs(Suite):
    async def test_a_job_that_waits_is_ready(self, harness: Harness) -> None:
        worker = await harness.worker()
        envelope = make_envelope("job", attempts=2)
        await publish(worker.broker, envelope)
        record = await _record(worker, "job")
        assert (record.status, record.envelope, record.attempts, record.next_at) == (
            TaskStatus.READY,
            envelope,
            2,
            None,
        )

    async def test_a_job_that_waits_for_its_time_is_ready_and_says_when(self, harness: Harness) -> None:
        worker = await harness.worker()
        now = harness.clock.time()
        await publish(worker.broker, make_envelope("job", delay=60.0))
        record = await _record(worker, "job")
        assert record.status is TaskStatus.READY
        assert record.next_at == pytest.approx(now + 60, abs=1.0)

    async def test_a_leased_job_is_ready_until_its_run_is_reported(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        assert (await _record(worker, "job")).status is TaskStatus.READY
        await worker.extend(delivery)
        assert (await _record(worker, "job")).status is TaskStatus.READY

    @pytest.mark.parametrize("status", [TaskStatus.SUCCESSFUL, TaskStatus.FAILED, TaskStatus.CANCELLED])
    @pytest.mark.parametrize("action", [Action.ACK, Action.DEAD_LETTER])
    async def test_the_record_of_an_end_is_read_as_it_was_given(
        self, harness: Harness, status: TaskStatus, action: Action
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        record = success(
            delivery.envelope,
            status=status,
            attempts=3,
            crashes=1,
            max_attempts=None,
            started_at=10.5,
            last_attempted_at=11.5,
            finished_at=12.5,
            worker_ids=("a", "b"),
            errors=(ErrorRecord("ValueError", "bad", "Traceback…", 1, 11.0, b"\x91\xa3bad", ("Exception",)),),
            content_type="application/json",
            value=bytes(range(256)),
            saved=b"saved",
            fraction=0.25,
            message="a quarter",
        )
        assert await worker.end(delivery, action, record=record) is SettleAnswer.ACCEPTED
        assert await _record(await harness.worker(), "job") == record

    async def test_a_retry_stores_the_record_of_what_happened_so_far(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        now = harness.clock.time()
        error = ErrorRecord("ValueError", "bad")
        given = ResultRecord(envelope=delivery.envelope, attempts=1, started_at=5.0, errors=(error,), worker_ids=("w",))
        await worker.end(delivery, Action.RETRY, delay=20.0, attempts=1, record=given)
        record = await _record(worker, "job")
        assert (record.status, record.attempts, record.errors) == (TaskStatus.READY, 1, (error,))
        assert (record.started_at, record.worker_ids) == (5.0, ("w",))
        assert record.next_at == pytest.approx(now + 20, abs=1.0)

    async def test_a_job_given_back_without_a_record_is_ready_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await worker.extend(delivery, report=RunReport(started_at=5.0, worker_id="w"))
        await worker.end(delivery, Action.RELEASE)
        record = await _record(worker, "job")
        assert (record.status, record.attempts, record.worker_ids) == (TaskStatus.READY, 0, ("w",))

    async def test_ids_are_answered_in_order_and_unknown_ones_with_nothing(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a"), make_envelope("b"))
        records = await _store(worker).get(["b", "nobody", "a", "b"])
        assert [record and record.envelope.id for record in records] == ["b", None, "a", "b"]
        assert await _store(worker).get([]) == []


class TestRecordsAreKeptForTheirTime(Suite):
    async def test_a_record_is_gone_when_its_time_after_the_end_is_over(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("short", keep=60.0), make_envelope("long", keep=600.0))
        await harness.advance(100)  # the time before the end does not count
        await worker.succeed(*await worker.take(2))
        await harness.advance(59)
        assert None not in await _store(worker).get(["short", "long"])
        await harness.advance(2)
        assert [record is None for record in await _store(worker).get(["short", "long"])] == [True, False]

    async def test_a_result_that_is_not_to_be_kept_is_not(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job", keeps_result=False, fingerprint=b"f"))
        assert (await _record(worker, "job")).status is TaskStatus.READY
        await worker.succeed(await worker.take_one())
        assert await _store(worker).get(["job"]) == [None]

    async def test_forgetting_drops_the_records_of_ended_jobs_only(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("ended"), make_envelope("runs"), make_envelope("waits"))
        ended, _ = await worker.take(2)
        await worker.succeed(ended)
        ids = ["ended", "runs", "waits", "nobody"]
        assert await _store(worker).forget(ids) == 1
        assert [record is None for record in await _store(worker).get(ids)] == [True, False, False, True]
        assert await _store(worker).forget(ids) == 0


class TestReportsOfRunningJobs(Suite):
    async def test_a_report_makes_the_record_running_and_what_it_leaves_out_stays(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await worker.extend(delivery, report=RunReport(started_at=5.0, worker_id="w", attempt=1))
        record = await _record(worker, "job")
        assert (record.status, record.started_at, record.last_attempted_at) == (TaskStatus.RUNNING, 5.0, 5.0)
        assert record.worker_ids == ("w",)
        await worker.extend(delivery, report=RunReport(fraction=0.5, message="half"))
        await worker.extend(delivery, report=RunReport(fraction=0.75, saved=b"state"))
        record = await _record(worker, "job")
        assert (record.fraction, record.message, record.saved) == (0.75, "half", b"state")
        assert (record.status, record.started_at, record.worker_ids) == (TaskStatus.RUNNING, 5.0, ("w",))

    async def test_a_later_run_keeps_when_the_first_one_started(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        for number in (1, 2, 3):
            delivery = await worker.take_one()
            worker_id = "a" if number < 3 else "b"
            await worker.extend(delivery, report=RunReport(started_at=number * 10.0, worker_id=worker_id))
            record = await _record(worker, "job")
            assert (record.started_at, record.last_attempted_at) == (10.0, number * 10.0)
            await worker.end(delivery, Action.RELEASE)
        assert (await _record(worker, "job")).worker_ids == ("a", "b")

    async def test_a_job_whose_lease_ran_out_is_ready_again(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope("job"))
        await worker.extend(await worker.take_one(), report=RunReport(started_at=5.0, saved=b"state"))
        await harness.advance(31)
        record = await _record(worker, "job")
        assert (record.status, record.saved) == (TaskStatus.READY, b"state")

    async def test_a_run_that_keeps_its_lease_after_all_is_running_again(self, harness: Harness) -> None:
        worker, other = await harness.worker(lease=30.0), await harness.worker("other")
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await worker.extend(delivery, report=RunReport(started_at=5.0))
        await harness.advance(31)
        assert await other.fetch() == []
        assert not (await worker.extend(delivery)).lost
        assert (await _record(worker, "job")).status is TaskStatus.RUNNING


class TestWhoWaitsIsTold(Suite):
    async def test_the_inbox_that_an_envelope_names_gets_its_end(self, harness: Harness) -> None:
        worker, producer = await harness.worker(), await harness.worker()
        inbox = await _store(producer).inbox()
        await publish(producer.broker, make_envelope("job", reply_to=inbox.address), make_envelope("silent"))
        await worker.succeed(*await worker.take(2))
        notices = await _news(inbox, "job")
        assert [(notice.id, notice.status) for notice in notices] == [("job", TaskStatus.SUCCESSFUL)]
        record = notices[0].record or await _record(producer, "job")
        assert record.value == b"\x2a"
        await inbox.close()

    async def test_who_watches_an_id_gets_what_is_known_and_then_its_end(self, harness: Harness) -> None:
        worker, watcher = await harness.worker(), await harness.worker()
        await publish(worker.broker, make_envelope("ended"), make_envelope("waits"))
        await worker.succeed(await worker.take_one())
        inbox = await _store(watcher).inbox()
        known = await inbox.watch(["ended", "waits", "nobody"])
        assert [record and record.status for record in known] == [TaskStatus.SUCCESSFUL, TaskStatus.READY, None]
        await worker.succeed(await worker.take_one())
        assert [notice.status for notice in await _news(inbox, "waits")] == [TaskStatus.SUCCESSFUL]
        await publish(worker.broker, make_envelope("nobody"))  # watched before it was there
        await worker.succeed(await worker.take_one())
        await _news(inbox, "nobody")
        await inbox.close()

    async def test_who_no_longer_watches_is_not_told(self, harness: Harness) -> None:
        worker = await harness.worker()
        inbox = await _store(worker).inbox()
        await inbox.watch(["a", "b"])
        await inbox.unwatch(["a", "nobody"])
        await publish(worker.broker, make_envelope("a"), make_envelope("b"))
        await worker.succeed(*await worker.take(2))
        assert {notice.id for notice in await _news(inbox, "b")} == {"b"}
        await inbox.close()

    async def test_reports_and_retries_are_told_as_they_come(self, harness: Harness) -> None:
        worker, watcher = await harness.worker(), await harness.worker()
        inbox = await _store(watcher).inbox()
        await publish(worker.broker, make_envelope("job", reply_to=inbox.address))
        delivery = await worker.take_one()
        report = RunReport(started_at=5.0, worker_id="w", fraction=0.5, message="half")
        await worker.extend(delivery, report=report)
        running = await _news(inbox, "job")
        assert [(notice.status, notice.report) for notice in running] == [(TaskStatus.RUNNING, report)]
        now = harness.clock.time()
        await worker.end(delivery, Action.RETRY, delay=20.0, attempts=1)
        [retrying] = await _news(inbox, "job")
        assert retrying.status is TaskStatus.READY
        assert retrying.next_at == pytest.approx(now + 20, abs=1.0)
        await inbox.close()

    async def test_two_inboxes_both_get_the_news(self, harness: Harness) -> None:
        worker, watcher = await harness.worker(), await harness.worker()
        named, watching = await _store(worker).inbox(), await _store(watcher).inbox()
        assert named.address != watching.address
        await watching.watch(["job"])
        await publish(worker.broker, make_envelope("job", reply_to=named.address))
        await worker.succeed(await worker.take_one())
        for inbox in (named, watching):
            await _news(inbox, "job")
            await inbox.close()

    async def test_a_cancelled_wait_loses_no_news(self, harness: Harness) -> None:
        worker = await harness.worker()
        inbox = await _store(worker).inbox()
        await publish(worker.broker, make_envelope("job", reply_to=inbox.address))
        waiting = asyncio.create_task(inbox.receive())
        delivery = await worker.take_one()
        waiting.cancel()
        await asyncio.wait([waiting])
        await worker.succeed(delivery)
        await _news(inbox, "job")
        await inbox.close()

    async def test_an_inbox_that_is_closed_hinders_nobody(self, harness: Harness) -> None:
        worker = await harness.worker()
        inbox = await _store(worker).inbox()
        await inbox.watch(["b"])
        await publish(worker.broker, make_envelope("a", reply_to=inbox.address), make_envelope("b"))
        await inbox.close()
        await worker.succeed(*await worker.take(2))

    async def test_many_ends_come_to_one_inbox_in_few_batches(self, harness: Harness) -> None:
        worker = await harness.worker()
        inbox = await _store(worker).inbox()
        ids = [f"{number}" for number in range(1000)]
        await publish(worker.broker, *(make_envelope(id_, reply_to=inbox.address) for id_ in ids))
        await worker.succeed(*await worker.take(1000))
        assert {notice.id for notice in await _news(inbox, *ids)} == set(ids)
        await inbox.close()


class TestCancelling(Suite):
    @pytest.mark.parametrize("state", ["waiting", "scheduled", "waiting for a retry", "given back"])
    async def test_a_job_that_waits_is_over_at_once_and_never_delivered(self, harness: Harness, state: str) -> None:
        worker = await harness.worker()
        inbox = await _store(worker).inbox()
        await inbox.watch(["job"])
        await publish(worker.broker, make_envelope("job", delay=10.0 if state == "scheduled" else 0.0))
        if state == "waiting for a retry":
            await worker.end(await worker.take_one(), Action.RETRY, delay=10.0, attempts=1)
        elif state == "given back":
            await worker.end(await worker.take_one(), Action.RELEASE)
        now = harness.clock.time()
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.CANCELLED]
        record = await _record(worker, "job")
        assert (record.status, record.next_at) == (TaskStatus.CANCELLED, None)
        assert record.finished_at == pytest.approx(now, abs=1.0)
        assert record.errors[-1].exception_class_path == "heeler.errors.TaskCancelled"
        notices = await _news(inbox, "job")
        while notices[-1].status is not TaskStatus.CANCELLED:
            notices = await _news(inbox, "job")
        await harness.advance(100)
        assert await worker.fetch() == []
        await inbox.close()

    async def test_a_running_job_is_marked_and_its_worker_is_told_until_it_has_settled(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"), make_envelope("other"))
        delivery, other = await worker.take(2)
        await _is_running(harness, worker, delivery)
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.REQUESTED]
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.REQUESTED]
        for _ in range(2):
            answer = await worker.extend(delivery, other)
            assert answer.cancelled == {"job"}
            assert not answer.lost
        record = success(delivery.envelope, status=TaskStatus.CANCELLED, value=None)
        assert await worker.end(delivery, record=record) is SettleAnswer.ACCEPTED
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.CANCELLED]

    async def test_an_end_that_comes_before_the_worker_hears_of_it_wins(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await _is_running(harness, worker, delivery)
        await _store(worker).cancel(["job"])
        await worker.succeed(delivery)
        assert (await _record(worker, "job")).status is TaskStatus.SUCCESSFUL
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.ENDED]

    @pytest.mark.parametrize("action", [Action.RETRY, Action.RELEASE])
    async def test_a_marked_job_that_is_given_back_is_over(self, harness: Harness, action: Action) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await _is_running(harness, worker, delivery)
        await _store(worker).cancel(["job"])
        assert await worker.end(delivery, action) is SettleAnswer.ACCEPTED
        assert (await _record(worker, "job")).status is TaskStatus.CANCELLED
        assert await worker.fetch() == []

    async def test_a_marked_job_whose_lease_ran_out_is_over_and_never_delivered_again(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope("job"))
        await _is_running(harness, worker, await worker.take_one())
        await _store(worker).cancel(["job"])
        await harness.advance(31)
        assert await worker.fetch() == []
        assert (await _record(worker, "job")).status is TaskStatus.CANCELLED

    async def test_an_id_that_nobody_knows_is_not_found(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        assert await _store(worker).cancel(["nobody", "job"]) == [CancelAnswer.NOT_FOUND, CancelAnswer.CANCELLED]

    async def test_what_would_have_followed_a_cancelled_job_does_not(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        await harness.advance(31)
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.CANCELLED]
        follow_ups = Publication(envelopes=(make_envelope("next"),))
        assert await worker.end(delivery, follow_ups=follow_ups) is SettleAnswer.LOST
        assert await worker.fetch() == []


class TestExpiredJobsReadAsEnded(Suite):
    """Nobody may start them any more, though no worker has met them yet."""

    @pytest.mark.parametrize("state", ["waiting", "scheduled", "waiting for a retry", "given back"])
    async def test_a_job_that_waits_is_failed_from_its_moment_on(self, harness: Harness, state: str) -> None:
        worker = await harness.worker()
        published = harness.clock.time()
        await publish(
            worker.broker, make_envelope("job", expires_in=20.0, delay=200.0 if state == "scheduled" else 0.0)
        )
        if state == "waiting for a retry":
            await worker.end(await worker.take_one(), Action.RETRY, delay=200.0, attempts=1)
        elif state == "given back":
            await worker.end(await worker.take_one(), Action.RELEASE)
        assert (await _record(worker, "job")).status is TaskStatus.READY
        await harness.advance(100)
        record = await _record(worker, "job")
        assert (record.status, record.next_at) == (TaskStatus.FAILED, None)
        assert record.finished_at == pytest.approx(published + 20, abs=1.0)
        assert record.errors[-1].exception_class_path == "heeler.errors.Expired"
        inbox = await _store(worker).inbox()
        assert await inbox.watch(["job"]) == [record]
        await inbox.close()

    async def test_it_is_listed_as_failed_and_cannot_be_cancelled(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job", expires_in=20.0), make_envelope("other", expires_in=500.0))
        await harness.advance(100)
        assert await _store(worker).cancel(["job"]) == [CancelAnswer.ENDED]
        failed = await _store(worker).list_records(JobFilter(statuses=frozenset({TaskStatus.FAILED})))
        assert [record.envelope.id for record in failed] == ["job"]
        waiting = await _store(worker).list_records(JobFilter(statuses=frozenset({TaskStatus.READY})))
        assert [record.envelope.id for record in waiting] == ["other"]
        assert (await _record(worker, "job")).status is TaskStatus.FAILED

    @pytest.mark.parametrize("seconds", [100, 1000])
    async def test_a_run_that_began_in_time_may_end_later(self, harness: Harness, seconds: int) -> None:
        worker = await harness.worker(lease=500.0)
        await publish(worker.broker, make_envelope("job", expires_in=20.0))
        delivery = await worker.take_one()
        await _is_running(harness, worker, delivery)
        await harness.advance(seconds)  # the second time its lease has run out as well, and no other has begun
        assert not (await _record(worker, "job")).status.is_finished
        if seconds < worker.lease:
            await worker.succeed(delivery)
            assert (await _record(worker, "job")).status is TaskStatus.SUCCESSFUL
