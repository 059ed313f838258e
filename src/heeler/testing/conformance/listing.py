"""What a result store shows of all its jobs, and that looking changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from heeler.clock import new_id
from heeler.contracts import ResultStore
from heeler.errors import ResultNotFound
from heeler.model import Action, JobFilter, Publication, RunReport, TaskStatus
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import Worker, make_envelope, publish, success

__all__ = ["TestEveryJobIsListed", "TestListingIsOnlyLooking"]


def _store(worker: Worker) -> ResultStore:
    store = worker.broker.store
    assert store is not None, "these suites are for brokers that are their own result store"
    return store


async def _ids(worker: Worker, limit: int = 100, after: str | None = None, **wanted: Any) -> list[str]:
    records = await _store(worker).list_records(msgspec.convert(wanted, JobFilter), limit, after)
    return [record.envelope.id for record in records]


async def _one_of_each(harness: Harness) -> Worker:
    """Jobs in every state, named for it, published in the order of the alphabet."""
    worker = await harness.worker("default", "other", lease=1000.0)
    await publish(worker.broker, *(make_envelope(f"{letter}-ends") for letter in "abc"))
    succeeded, failed, cancelled = await worker.take(3)
    await worker.succeed(succeeded)
    await worker.end(
        failed, Action.DEAD_LETTER, record=success(failed.envelope, status=TaskStatus.FAILED), reason="bad", attempts=1
    )
    await worker.end(cancelled, record=success(cancelled.envelope, status=TaskStatus.CANCELLED))
    await publish(worker.broker, make_envelope("d-runs", queue="other"))
    runs = await worker.take_one()
    await worker.extend(runs, report=RunReport(started_at=harness.clock.time(), worker_id="w", fraction=0.5))
    await publish(
        worker.broker,
        make_envelope("e-waits"),
        make_envelope("f-scheduled", delay=500.0),
        make_envelope("g-urgent", priority=50, task="suite.other"),
        make_envelope("h-elsewhere", queue="other"),
    )
    return worker


ALL = ["h-elsewhere", "g-urgent", "f-scheduled", "e-waits", "d-runs", "c-ends", "b-ends", "a-ends"]


class TestEveryJobIsListed(Suite):
    async def test_all_jobs_of_all_states_the_one_published_last_first(self, harness: Harness) -> None:
        worker = await _one_of_each(harness)
        records = await _store(worker).list_records(JobFilter())
        assert [record.envelope.id for record in records] == ALL
        assert records == await _store(worker).get(ALL)

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({"statuses": [TaskStatus.SUCCESSFUL]}, ["a-ends"]),
            ({"statuses": [TaskStatus.FAILED]}, ["b-ends"]),
            ({"statuses": [TaskStatus.CANCELLED]}, ["c-ends"]),
            ({"statuses": [TaskStatus.RUNNING]}, ["d-runs"]),
            ({"statuses": [TaskStatus.READY]}, ["h-elsewhere", "g-urgent", "f-scheduled", "e-waits"]),
            ({"statuses": [TaskStatus.READY, TaskStatus.FAILED]}, [*ALL[:4], "b-ends"]),
            ({"scheduled": True}, ["f-scheduled"]),
            ({"scheduled": True, "statuses": [TaskStatus.SUCCESSFUL]}, []),
            ({"queue": "other"}, ["h-elsewhere", "d-runs"]),
            ({"queue": "nobody"}, []),
            ({"task": "suite.other"}, ["g-urgent"]),
            ({"task": "suite.work", "queue": "default", "statuses": [TaskStatus.READY]}, ["f-scheduled", "e-waits"]),
        ],
        ids=str,
    )
    async def test_only_those_that_are_wanted(
        self, harness: Harness, wanted: dict[str, Any], expected: list[str]
    ) -> None:
        worker = await _one_of_each(harness)
        assert await _ids(worker, **wanted) == expected
        assert await _ids(worker, limit=1, **wanted) == expected[:1]
        if expected:
            assert await _ids(worker, after=expected[0], **wanted) == expected[1:]
        assert await _ids(worker, after="a-ends", **wanted) == []

    async def test_those_enqueued_since_a_moment(self, harness: Harness) -> None:
        worker = await harness.worker()
        began = harness.clock.time() - 1000.0
        for number in range(10):
            await publish(worker.broker, make_envelope(f"{number}", enqueued_at=began + 100.0 * number))
            [delivery] = await worker.take(1)
            record = success(delivery.envelope, finished_at=began + 100.0 * number + 1)
            await worker.end(delivery, record=record)
        assert await _ids(worker, since=began + 700.0) == ["9", "8", "7"]
        assert await _ids(worker, since=began + 5000.0) == []

    async def test_page_by_page_every_job_comes_once(self, harness: Harness) -> None:
        worker = await harness.worker(lease=1000.0)
        ids = [new_id() for _ in range(2600)]
        for start in range(0, len(ids), 500):
            await publish(worker.broker, *(make_envelope(id) for id in ids[start : start + 500]))
        await worker.succeed(*await worker.take(1300))
        listed: list[str] = []
        while page := await _ids(worker, 400, listed[-1] if listed else None):
            assert len(page) in (400, 200)
            listed += page
        assert listed == ids[::-1]
        assert await _ids(worker, 5, after=ids[1300], statuses=[TaskStatus.SUCCESSFUL]) == ids[1299:1294:-1]
        assert await _ids(worker, 5, statuses=[TaskStatus.SUCCESSFUL], task="suite.work") == ids[1299:1294:-1]
        assert await _ids(worker, 2, after=ids[2], statuses=[TaskStatus.READY]) == []

    async def test_jobs_published_meanwhile_do_not_disturb_the_pages(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(f"{n}") for n in range(6)))
        first = await _ids(worker, 2)
        await publish(worker.broker, make_envelope("new"))
        await worker.succeed(*await worker.take(3))
        assert first + await _ids(worker, 10, first[-1]) == ["5", "4", "3", "2", "1", "0"]

    async def test_of_what_is_kept_no_longer_nothing_is_shown(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(
            worker.broker,
            make_envelope("short", keep=10.0),
            make_envelope("long", keep=1000.0),
            make_envelope("none", keeps_result=False),
            make_envelope("forgotten"),
            make_envelope("only the id", keeps_result=False, fingerprint=b"f"),
        )
        await worker.succeed(*await worker.take(5))
        await _store(worker).forget(["forgotten"])
        assert await _ids(worker) == ["long", "short"]
        await harness.advance(11)
        assert await _ids(worker) == ["long"]

    async def test_the_end_of_a_page_of_which_nothing_is_known_is_an_error(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        with pytest.raises(ResultNotFound, match="cannot go on after job 'nobody'"):
            await _ids(worker, after="nobody")

    async def test_a_job_that_came_back_keeps_its_place_and_a_redriven_one_is_new(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(id) for id in ("retried", "released", "redriven", "last")))
        retried, released, redriven, _ = await worker.take(4)
        await worker.end(retried, Action.RETRY, attempts=1)
        await worker.end(released, Action.RELEASE)
        assert await _ids(worker) == ["last", "redriven", "released", "retried"]
        await worker.end(
            redriven, Action.DEAD_LETTER, record=success(redriven.envelope, status=TaskStatus.FAILED), reason="bad"
        )
        admin = worker.broker.admin
        assert admin is not None
        await admin.redrive(["redriven"])
        assert await _ids(worker) == ["redriven", "last", "released", "retried"]

    async def test_an_id_that_was_used_again_is_listed_once(self, harness: Harness) -> None:
        worker = await harness.worker()
        for id in ("again", "other", "again"):
            await publish(worker.broker, make_envelope(id))
            await worker.succeed(*await worker.take(1))
            if id == "again":
                await _store(worker).forget(["again"])
        await publish(worker.broker, make_envelope("again"))
        assert await _ids(worker) == ["again", "other"]

    async def test_follow_ups_are_listed_as_well(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("first"))
        first = await worker.take_one()
        await worker.end(
            first, record=success(first.envelope), follow_ups=Publication(envelopes=(make_envelope("second"),))
        )
        assert await _ids(worker) == ["second", "first"]


class TestListingIsOnlyLooking(Suite):
    async def test_order_leases_and_counts_stay_as_they_were(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        levels = 3 if worker.broker.features.exact_priorities else 1
        await publish(worker.broker, *(make_envelope(f"{n}", priority=n % levels) for n in range(30)))
        running = await worker.take(5)
        await publish(worker.broker, *(make_envelope(f"later {n}", delay=100.0 + n) for n in range(5)))
        await harness.advance(20)
        admin = worker.broker.admin
        assert admin is not None
        before = await admin.sizes()
        looks: list[dict[str, Any]] = [
            {},
            {"scheduled": True},
            {"statuses": [TaskStatus.RUNNING]},
            {"statuses": [TaskStatus.READY]},
        ]
        for wanted in looks:
            await _ids(await harness.worker(), **wanted)
        after = await admin.sizes()
        assert [msgspec.structs.replace(size, oldest=None) for size in after] == [
            msgspec.structs.replace(size, oldest=None) for size in before
        ]
        expected = [f"{n}" for n in sorted(range(30), key=lambda n: (-(n % levels), n))]
        assert [delivery.envelope.id for delivery in running] == expected[:5]
        assert await worker.take_ids(25) == expected[5:]
        if "lists_waiting" not in harness.denials:  # a lease was not renewed by looking: it runs out at its time
            await harness.advance(11)
            assert {delivery.envelope.id for delivery in await worker.take(5)} == set(expected[:5])
