"""In which order jobs are leased: queues, priorities, publication; and what a fetch may be told to leave."""

from __future__ import annotations

from collections import Counter

import pytest

from heeler.model import Action
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import make_envelope, publish

__all__ = [
    "TestAFetchIsBounded",
    "TestJobsStartInTheOrderOfPublication",
    "TestLargerPrioritiesStartSooner",
    "TestQueuesByWeight",
    "TestQueuesInStrictOrder",
    "TestSomeTasksCanBeLeft",
]


class TestJobsStartInTheOrderOfPublication(Suite):
    async def test_within_and_across_publications(self, harness: Harness) -> None:
        worker = await harness.worker()
        names = [f"{number:04}" for number in range(500)]
        for start in range(0, 500, 100):
            await publish(worker.broker, *(make_envelope(name) for name in names[start : start + 100]))
        assert await worker.take_ids(500) == names

    async def test_whatever_their_task_is(self, harness: Harness) -> None:
        worker = await harness.worker()
        names = [f"{number:04}" for number in range(60)]
        await publish(worker.broker, *(make_envelope(name, task=f"suite.task{int(name) % 7}") for name in names))
        assert await worker.take_ids(25) + await worker.take_ids(35) == names


class TestLargerPrioritiesStartSooner(Suite):
    promise = "exact_priorities"

    async def test_every_priority_from_minus_to_plus_a_hundred_and_in_each_the_order_of_publication(
        self, harness: Harness
    ) -> None:
        worker = await harness.worker()
        priorities = [(number * 67) % 201 - 100 for number in range(201)] * 2  # each twice, in no order
        await publish(
            worker.broker,
            *(make_envelope(f"{priority}/{place}", priority=priority) for place, priority in enumerate(priorities)),
        )
        expected = sorted(enumerate(priorities), key=lambda job: (-job[1], job[0]))
        assert await worker.take_ids(402) == [f"{priority}/{place}" for place, priority in expected]

    async def test_a_job_with_a_larger_priority_overtakes_what_waits(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(name) for name in "abc"))
        assert await worker.take_ids(1) == ["a"]
        await publish(worker.broker, make_envelope("urgent", priority=1), make_envelope("idle", priority=-1))
        assert await worker.take_ids(4) == ["urgent", "b", "c", "idle"]

    async def test_a_retry_goes_behind_its_own_priority_only(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a", priority=5), make_envelope("b", priority=5), make_envelope("c"))
        await worker.end(await worker.take_one(), Action.RETRY, attempts=1)
        assert await worker.take_ids(3) == ["b", "a", "c"]


class TestQueuesInStrictOrder(Suite):
    async def test_an_earlier_queue_is_emptied_first(self, harness: Harness) -> None:
        worker = await harness.worker("first", "second")
        await publish(
            worker.broker,
            make_envelope("c", queue="second", priority=100),
            make_envelope("a", queue="first"),
            make_envelope("b", queue="first", priority=-100),
        )
        assert await worker.take_ids(3) == ["a", "b", "c"]

    async def test_other_queues_are_left_alone(self, harness: Harness) -> None:
        worker = await harness.worker("first")
        await publish(worker.broker, make_envelope(queue="second"), make_envelope("a", queue="first"))
        assert await worker.take_ids(1) == ["a"]
        assert await worker.fetch() == []


class TestQueuesByWeight(Suite):
    promise = "exact_weights"

    @pytest.mark.parametrize("batch", [1, 7, 128])
    async def test_full_queues_share_by_their_weights_within_a_tenth(self, harness: Harness, batch: int) -> None:
        worker = await harness.worker(images=3, default=1)
        jobs = 1000 if batch == 1 else 10_000
        for _ in range(jobs // 500):
            for queue in ("images", "default"):
                await publish(worker.broker, *(make_envelope(queue=queue) for _ in range(500)))
        counts: Counter[str] = Counter()
        while sum(counts.values()) < jobs:
            deliveries = await worker.take(min(batch, jobs - sum(counts.values())))
            counts.update(delivery.envelope.queue for delivery in deliveries)
            await worker.succeed(*deliveries)
        assert counts["images"] == pytest.approx(jobs * 0.75, rel=0.1)
        assert counts["default"] == pytest.approx(jobs * 0.25, rel=0.1)

    async def test_an_empty_queue_leaves_its_share_to_the_others(self, harness: Harness) -> None:
        worker = await harness.worker(images=3, default=1)
        await publish(worker.broker, *(make_envelope(f"{place}") for place in range(40)))
        assert await worker.take_ids(40) == [f"{place}" for place in range(40)]

    async def test_large_bodies_do_not_starve_a_queue(self, harness: Harness) -> None:
        worker = await harness.worker(images=3, default=1)
        for queue in ("images", "default"):
            await publish(worker.broker, *(make_envelope(queue=queue, body=b"x" * 1000) for _ in range(40)))
        counts: Counter[str] = Counter()
        for _ in range(10):
            counts.update(delivery.envelope.queue for delivery in await worker.fetch(100, max_bytes=3500))
        assert counts["default"] == pytest.approx(10, abs=1)


class TestAFetchIsBounded(Suite):
    async def test_by_its_limit(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope() for _ in range(10)))
        await worker.subscription.ready()
        assert 0 < len(await worker.fetch(3)) <= 3

    async def test_by_the_bytes_of_the_bodies_but_one_job_is_always_given(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(body=b"x" * 1000) for _ in range(10)))
        for _ in range(2):
            await worker.subscription.ready()
            assert len(await worker.fetch(10, max_bytes=100)) == 1
        await worker.subscription.ready()
        assert len(await worker.fetch(10, max_bytes=2500)) <= 3


class TestSomeTasksCanBeLeft(Suite):
    promise = "skips_tasks"

    async def test_jobs_of_skipped_tasks_stay_where_they_are(self, harness: Harness) -> None:
        worker = await harness.worker()
        names = [f"{number:03}" for number in range(30)]
        await publish(worker.broker, *(make_envelope(name, task=f"suite.{int(name) % 3}") for name in names))
        skipped = frozenset({"suite.0", "suite.2"})
        taken = [delivery.envelope.id for delivery in await worker.take(10, skip_tasks=skipped)]
        assert taken == names[1::3]
        assert await worker.fetch(skip_tasks=skipped) == []
        left = [delivery.envelope.id for delivery in await worker.fetch(20)]
        assert left == [name for name in names if name not in taken]
