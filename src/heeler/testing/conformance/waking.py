"""Who waits for work is woken by it, and about one for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from heeler.contracts import Broker, QueueShare
from heeler.model import Action, Publication
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE, Worker, make_envelope, publish

__all__ = ["TestAboutOneWorkerWakesForEachJob", "TestWaitingWorkersAreWoken"]


async def _idle(worker: Worker) -> asyncio.Task[None]:
    """The worker's wait for work, begun. Its first turns let it settle down, so that it has to be woken."""
    assert await worker.fetch() == []
    waiting = asyncio.create_task(worker.subscription.ready())
    await asyncio.wait([waiting], timeout=0.05)
    return waiting


async def _woken(waiting: asyncio.Task[None]) -> None:
    await asyncio.wait_for(waiting, PATIENCE)


class TestWaitingWorkersAreWoken(Suite):
    async def test_by_a_publication_of_another_process(self, harness: Harness) -> None:
        worker = await harness.worker()
        waiting = await _idle(worker)
        await publish(await harness.open(), make_envelope("a"))
        await _woken(waiting)
        assert await worker.take_ids(1) == ["a"]

    async def test_by_a_publication_from_a_thread(self, harness: Harness) -> None:
        worker, broker = await harness.worker(), await harness.open()
        waiting = await _idle(worker)
        await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))
        await _woken(waiting)
        assert len(await worker.take(1)) == 1

    async def test_at_once_when_jobs_wait_already(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope(), make_envelope())
        for _ in range(2):
            await asyncio.wait_for(worker.subscription.ready(), PATIENCE)
            assert len(await worker.fetch(1)) == 1

    async def test_by_a_job_of_any_of_their_queues(self, harness: Harness) -> None:
        worker = await harness.worker("a", "b", "c")
        for queue in ("c", "a", "b"):
            waiting = await _idle(worker)
            await publish(worker.broker, make_envelope(queue=queue))
            await _woken(waiting)
            assert len(await worker.take(1)) == 1

    async def test_when_a_delayed_job_comes_due(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a", delay=20.0))
        waiting = await _idle(worker)
        await harness.advance(10)
        assert await worker.fetch() == []
        await harness.advance(11)
        await _woken(waiting)
        assert await worker.take_ids(1) == ["a"]

    async def test_earlier_when_an_earlier_job_is_published_meanwhile(self, harness: Harness) -> None:
        worker, broker = await harness.worker(), await harness.open()
        await publish(broker, make_envelope("later", delay=3600.0))
        waiting = await _idle(worker)
        await publish(broker, make_envelope("sooner", delay=10.0))
        await harness.advance(11)
        await _woken(waiting)
        assert await worker.take_ids(1) == ["sooner"]

    async def test_when_the_lease_of_a_dead_worker_runs_out(self, harness: Harness) -> None:
        dead, living = await harness.worker(lease=30.0), await harness.worker()
        await publish(dead.broker, make_envelope("a"))
        await dead.take_one()
        waiting = await _idle(living)
        await harness.advance(31)
        await _woken(waiting)
        assert await living.take_ids(1) == ["a"]

    @pytest.mark.parametrize("action", [Action.RETRY, Action.RELEASE])
    async def test_when_a_job_is_given_back(self, harness: Harness, action: Action) -> None:
        giving, waiting_one = await harness.worker(), await harness.worker()
        await publish(giving.broker, make_envelope("a"))
        delivery = await giving.take_one()
        waiting = await _idle(waiting_one)
        await giving.end(delivery, action)
        await _woken(waiting)
        assert await waiting_one.take_ids(1) == ["a"]

    async def test_by_what_follows_from_a_job(self, harness: Harness) -> None:
        ending, waiting_one = await harness.worker("first"), await harness.worker("second")
        await publish(ending.broker, make_envelope(queue="first"))
        delivery = await ending.take_one()
        waiting = await _idle(waiting_one)
        await ending.end(delivery, follow_ups=Publication(envelopes=(make_envelope(queue="second"),)))
        await _woken(waiting)
        assert len(await waiting_one.take(1)) == 1

    async def test_when_a_wait_that_was_cancelled_is_begun_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        for _ in range(3):
            waiting = await _idle(worker)
            waiting.cancel()
            await asyncio.wait([waiting])
        waiting = await _idle(worker)
        await publish(worker.broker, make_envelope())
        await _woken(waiting)
        assert len(await worker.take(1)) == 1


class TestAboutOneWorkerWakesForEachJob(Suite):
    async def test_of_many_idle_workers_a_job_wakes_a_few(self, harness: Harness) -> None:
        broker = await harness.open()
        workers = [await harness.worker() for _ in range(12)]
        waits = {await _idle(worker): worker for worker in workers}
        woken = 0
        for name in ("a", "b", "c"):
            # That a later job's wake-up has come shows that those of the earlier job have had their time.
            await publish(broker, make_envelope(name))
            taken: list[str] = []
            async with asyncio.timeout(PATIENCE):
                while not taken:
                    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    for wait in done:
                        woken += 1
                        taken += [delivery.envelope.id for delivery in await waits.pop(wait).fetch()]
            assert taken == [name]
        assert woken <= 6
        await _cancel(waits)

    async def test_a_woken_worker_passes_on_what_it_leaves(self, harness: Harness) -> None:
        broker = await harness.open()
        workers = [await harness.worker() for _ in range(4)]
        takers = [asyncio.create_task(_take_just_one(worker)) for worker in workers]
        await asyncio.wait(takers, timeout=0.05)
        await publish(broker, *(make_envelope(f"{number}") for number in range(4)))
        assert sorted(await asyncio.wait_for(asyncio.gather(*takers), PATIENCE)) == ["0", "1", "2", "3"]

    async def test_a_worker_that_is_cancelled_when_it_is_woken_passes_the_wake_on(self, harness: Harness) -> None:
        broker = await harness.open()
        leaving, staying = await harness.worker(), await harness.worker()
        first = await _idle(leaving)
        second = await _idle(staying)
        await publish(broker, make_envelope("a"))
        first.cancel()
        await asyncio.wait([first])
        await leaving.subscription.quiet()
        await _woken(second)
        assert await staying.take_ids(1) == ["a"]

    async def test_a_job_that_a_waiting_worker_skips_wakes_another(self, harness: Harness) -> None:
        self.needs(harness, "skips_tasks")
        broker = await harness.open()
        full, free = await harness.worker(), await harness.worker()
        skipping = asyncio.create_task(_skip(full, "suite.limited"))
        await asyncio.wait([skipping], timeout=0.05)
        for name in ("a", "b"):
            waiting = await _idle(free)
            await publish(broker, make_envelope(name, task="suite.limited"))
            await _woken(waiting)
            assert await free.take_ids(1) == [name]
        await _cancel([skipping])

    async def test_waiting_jobs_that_a_worker_skips_do_not_wake_it(self, harness: Harness) -> None:
        self.needs(harness, "skips_tasks")
        worker, broker = await harness.worker(), await harness.open()
        await publish(broker, *(make_envelope(task="suite.limited") for _ in range(3)))
        rounds = 0

        async def skip() -> list[str]:
            nonlocal rounds
            while not (taken := await worker.fetch(skip_tasks=frozenset({"suite.limited"}))):
                rounds += 1
                await worker.subscription.ready()
            return [delivery.envelope.id for delivery in taken]

        skipping = asyncio.create_task(skip())
        await asyncio.wait([skipping], timeout=0.2)
        assert rounds <= 5  # it may be woken in vain now and then
        await publish(broker, make_envelope("other"))
        assert await asyncio.wait_for(skipping, PATIENCE) == ["other"]
        assert len(await worker.fetch()) == 3

    async def test_a_job_of_another_queue_wakes_nobody_here(self, harness: Harness) -> None:
        broker = await harness.open()
        here = await harness.worker("here")
        waiting = await _idle(here)
        await publish(broker, make_envelope(queue="there"))
        await _taken_elsewhere(broker, "there")
        assert not waiting.done()
        await _cancel([waiting])


async def _take_just_one(worker: Worker) -> str:
    while True:
        await worker.subscription.ready()
        for delivery in await worker.fetch(1):
            return delivery.envelope.id


async def _skip(worker: Worker, task: str) -> None:
    while True:
        assert await worker.fetch(skip_tasks=frozenset({task})) == []
        await worker.subscription.ready()


async def _taken_elsewhere(broker: Broker, queue: str) -> None:
    subscription = await broker.subscribe([QueueShare(queue)], 30.0, "elsewhere")
    while not await subscription.fetch(10):
        await asyncio.wait_for(subscription.ready(), PATIENCE)


async def _cancel(waits: Iterable[asyncio.Task[None]]) -> None:
    waits = list(waits)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
