"""A job that comes with the wake-up of an idle worker: one script from publisher to worker, and never a lost job."""

from __future__ import annotations

import asyncio

import pytest
from redis_site import Site

from heeler.testing.conformance import Worker, make_envelope, publish
from services import RedisServer


async def _waiting(worker: Worker) -> asyncio.Task[None]:
    """The worker's wait, which has settled down: a job may come with its wake-up."""
    waiting = asyncio.create_task(worker.subscription.ready())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    return waiting


def _scripts(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_a_lone_job_needs_one_script_to_reach_an_idle_worker(private_site: Site, server: RedisServer) -> None:
    worker, broker = await private_site.worker(), await private_site.open()
    await publish(broker, make_envelope())
    await worker.succeed(*await worker.take(1))  # the scripts are known from here on
    waiting = await _waiting(worker)
    before = _scripts(server)
    await publish(broker, make_envelope("a"))
    await waiting
    [delivery] = await worker.fetch()
    assert _scripts(server) - before == 1
    assert (delivery.envelope.id, delivery.receipt.epoch, delivery.suspect) == ("a", 1, False)
    await worker.succeed(delivery)


async def test_it_is_on_lease_from_the_start(private_site: Site) -> None:
    vanishing = await private_site.worker(lease=0.3)
    other = await private_site.worker()
    waiting = await _waiting(vanishing)
    await publish(other.broker, make_envelope("a"))
    await waiting
    [delivery] = await vanishing.fetch()
    [again] = await other.take(1)
    assert (again.receipt.epoch, again.suspect) == (2, True)
    assert (await vanishing.end(delivery)).value == "LOST"


@pytest.mark.parametrize("leaves", ["cancelled", "quiet", "does not fetch", "closed"])
async def test_a_worker_that_does_not_take_it_gives_it_back_at_once(private_site: Site, leaves: str) -> None:
    worker, other = await private_site.worker(lease=600.0), await private_site.worker()
    waiting = await _waiting(worker)
    if leaves == "cancelled":
        waiting.cancel()
        await asyncio.wait([waiting])
    await publish(other.broker, make_envelope("a"))
    if leaves == "quiet":
        await worker.subscription.quiet()
        waiting.cancel()
    elif leaves == "does not fetch":
        await waiting
    elif leaves == "closed":
        await waiting
        await worker.subscription.quiet()
        assert await worker.fetch() == []
    [delivery] = await other.take(1)
    assert (delivery.envelope.id, delivery.suspect, delivery.attempts, delivery.crashes) == ("a", False, 0, 0)
    await asyncio.gather(waiting, return_exceptions=True)


async def test_of_those_that_vanished_without_a_word_none_gets_it(private_site: Site, server: RedisServer) -> None:
    gone = await private_site.worker()
    waiting_in_vain = await _waiting(gone)
    with server.client() as client:
        [sleeper] = client.hgetall(f"{private_site.prefix}sleepers")
        packed = client.hget(f"{private_site.prefix}sleepers", sleeper)
        waiting_in_vain.cancel()
        await gone.broker.close()
        for dead in (sleeper, b"dead too"):
            client.hset(f"{private_site.prefix}sleepers", dead, packed)
            client.zadd(f"{private_site.prefix}asleep:default", {dead: 1e12})
    broker = await private_site.open()
    await publish(broker, make_envelope("a"))
    with server.client() as client:
        assert client.zcard(f"{private_site.prefix}leased:default") == 0
        assert client.zcard(f"{private_site.prefix}waiting:default") == 1
        assert client.hlen(f"{private_site.prefix}sleepers") == 0


async def test_a_paused_queue_a_skipped_task_and_a_large_job_are_not_handed_over(private_site: Site) -> None:
    worker, broker = await private_site.worker(), await private_site.open()
    admin = broker.admin
    waiting = await _waiting(worker)
    await admin.pause("default")
    await publish(broker, make_envelope("paused"))
    assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    await admin.resume("default")
    await waiting
    assert [each.envelope.id for each in await worker.fetch()] == ["paused"]

    assert await worker.fetch(skip_tasks=frozenset({"suite.limited"})) == []
    waiting = await _waiting(worker)
    await publish(broker, make_envelope("limited", task="suite.limited"))
    assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    waiting.cancel()
    assert [each.envelope.id for each in await worker.fetch()] == ["limited"]

    waiting = await _waiting(worker)
    await publish(broker, make_envelope("large", body=b"x" * 100_000))
    await waiting
    assert [each.envelope.id for each in await worker.fetch()] == ["large"]


async def test_who_was_handed_a_job_still_minds_the_alarm_that_it_has(private_site: Site) -> None:
    busy, idle = await private_site.worker(), await private_site.worker()
    idling = await _waiting(idle)
    minding = await _waiting(busy)
    await publish(busy.broker, make_envelope("later", delay=0.4))
    await publish(busy.broker, make_envelope("now"))
    done, _ = await asyncio.wait([idling, minding], return_when=asyncio.FIRST_COMPLETED)
    assert done == {minding}, "who lay down last is woken first"
    assert [each.envelope.id for each in await busy.fetch(1)] == ["now"]  # it has no room for more
    begin = asyncio.get_running_loop().time()
    await idling
    assert [each.envelope.id for each in await idle.fetch()] == ["later"]
    assert asyncio.get_running_loop().time() - begin < 1.0, "not only when it looked by itself"


async def test_a_thousand_jobs_one_by_one_among_coming_and_going_workers_all_arrive_once(private_site: Site) -> None:
    workers = [await private_site.worker() for _ in range(4)]
    broker = await private_site.open()
    ids = [f"{n}" for n in range(1000)]
    taken: list[str] = []
    all_taken = asyncio.Event()

    async def work(worker: Worker, patience: float) -> None:
        while True:
            try:
                async with asyncio.timeout(patience):
                    await worker.subscription.ready()
            except TimeoutError:
                continue
            deliveries = await worker.fetch(2)
            taken.extend(delivery.envelope.id for delivery in deliveries)
            if deliveries:
                await worker.succeed(*deliveries)
            if len(taken) >= len(ids):
                all_taken.set()

    working = [
        asyncio.create_task(work(worker, patience))
        for worker, patience in zip(workers, (0.003, 0.01, 0.1, 5.0), strict=True)
    ]
    for id in ids:
        await publish(broker, make_envelope(id))
    await asyncio.wait_for(all_taken.wait(), 30)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert sorted(taken) == sorted(ids)
