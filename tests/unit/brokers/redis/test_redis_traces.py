"""What is left in the server, what a batch costs there, and whom a job wakes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis_site import Site

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.scripts import Script
from heeler.clock import new_id
from heeler.contracts import QueueShare
from heeler.model import Action, Arrival, ArrivalKind, CallId, JobFilter, Latch, LatchRule
from heeler.testing.conformance import Worker, make_envelope, publish
from heeler.testing.conformance.worker import settlement
from services import RedisServer, wait_until

COMPLETED = 100_000
BATCH = 500


def _keys(site: Site, server: RedisServer) -> list[str]:
    with server.client() as client:
        keys = [key.decode() for key in client.scan_iter(count=1000)]
    assert all(key.startswith(site.prefix) for key in keys), "every key is in the namespace's slot"
    return sorted(key.removeprefix(site.prefix) for key in keys)


def _calls(server: RedisServer) -> Counter[str]:
    with server.client() as client:
        stats = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): figures["calls"] for name, figures in stats.items()})


async def test_completed_jobs_leave_nothing_but_their_results(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, make_envelope())
    await worker.succeed(*await worker.take(1))
    with server.client() as client:
        before = client.info("memory")["used_memory"]
    for number in range(COMPLETED // BATCH):
        kept = {"keep": 3600.0} if number % 10 == 0 else {"keeps_result": False}
        await publish(worker.broker, *(make_envelope(new_id(), **kept) for _ in range(BATCH)))
        await worker.succeed(*await worker.subscription.fetch(BATCH))
    assert await worker.fetch() == []
    keys = _keys(private_site, server)
    results = [key for key in keys if key.startswith("j:")]
    assert len(results) == COMPLETED // 10 + 1
    others = [key for key in keys if not key.startswith(("j:", "c:publish:", "register:"))]
    assert others == ["asleep:default", "origin", "queues", "register", "sequence", "sleepers"]
    with server.client() as client:
        assert all(client.ttl(f"{private_site.prefix}{key}") > 0 for key in results[:100])
        used = client.info("memory")["used_memory"] - before
    print(f"{used / len(results):.0f} bytes for each result kept")
    assert used / len(results) < 1000


async def test_of_jobs_that_ended_without_a_result_in_whatever_way_nothing_is_left(
    private_site: Site, server: RedisServer
) -> None:
    worker = await private_site.worker()
    broker = worker.broker
    fields = {"keep": 0.0}
    await publish(broker, *(make_envelope(f"{n}", **fields) for n in range(6)), make_envelope("l", delay=60, **fields))
    retried, released, marked, passed, *_ = await worker.take(6)
    await worker.end(retried, Action.RETRY, attempts=1, note=b"n")
    await worker.end(released, Action.RELEASE)
    await worker.extend(marked, started=True)
    assert await worker.fetch(skip_tasks=frozenset({"suite.work"})) == []
    await broker.store.cancel(["l", "0"])
    for delivery in [marked, passed, *_, *await worker.fetch()]:
        await worker.end(delivery)
    assert await worker.fetch() == []
    await worker.subscription.quiet()
    left = [key for key in _keys(private_site, server) if not key.startswith("c:")]
    assert left == ["origin", "queues", "register", "register:0", "register:sweep", "sequence"]


async def test_pages_of_the_register_are_swept_of_jobs_of_which_nothing_is_known(
    private_site: Site, server: RedisServer
) -> None:
    worker = await private_site.worker()

    def page_sizes() -> dict[str, int]:
        with server.client() as client:
            pages = [key for key in _keys(private_site, server) if key[9:].isdecimal()]
            listed = client.zrange(f"{private_site.prefix}register", 0, -1)
            assert sorted(pages) == sorted(f"register:{number.decode()}" for number in listed)
            return {key: client.strlen(private_site.prefix + key) for key in pages}

    await publish(worker.broker, make_envelope("stays", delay=1000.0))
    for _ in range(100):
        await publish(worker.broker, *(make_envelope(new_id(), keeps_result=False) for _ in range(BATCH)))
        await worker.succeed(*await worker.subscription.fetch(BATCH))
    sizes = page_sizes()
    assert len(sizes) <= 10
    assert sizes["register:0"] < 100, "of the first page only what is known stays"
    records = await worker.broker.store.list_records(JobFilter())
    assert [record.envelope.id for record in records] == ["stays"]
    kept = [new_id() for _ in range(5000)]
    for start in range(0, len(kept), BATCH):
        await publish(worker.broker, *(make_envelope(id) for id in kept[start : start + BATCH]))
    await worker.succeed(*await worker.take(len(kept)))
    await worker.broker.store.forget(kept[::2])
    for _ in range(60):
        await publish(worker.broker, *(make_envelope(new_id(), keeps_result=False) for _ in range(BATCH)))
        await worker.succeed(*await worker.subscription.fetch(BATCH))
    records = await worker.broker.store.list_records(JobFilter(), 10_000)
    assert [record.envelope.id for record in records] == [*kept[1::2][::-1], "stays"]


async def test_a_released_latch_and_a_call_are_forgotten_by_the_server_itself(
    private_site: Site, server: RedisServer
) -> None:
    worker = await private_site.worker()
    latch = Latch(id="join", rule=LatchRule.ALL_OK, total=1, keep=50.0)
    await publish(worker.broker, make_envelope(), latches=[latch], call=CallId("s", 1))
    await worker.end(await worker.take_one(), arrivals=(Arrival("join", 0, ArrivalKind.OK),))
    with server.client() as client:
        assert 0 < client.ttl(f"{private_site.prefix}latch:join") <= 50
        assert 0 < client.ttl(f"{private_site.prefix}c:publish:s:1") <= 120


async def test_a_batch_is_one_command_in_every_direction(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, make_envelope())  # the scripts are known from here on
    deliveries = await worker.fetch()
    await worker.extend(*deliveries)
    await worker.succeed(*deliveries)
    before = _calls(server)
    await publish(worker.broker, *(make_envelope() for _ in range(300)))
    deliveries = await worker.fetch(300)
    await worker.extend(*deliveries)
    await worker.succeed(*deliveries)
    sent = _calls(server) - before
    assert sent["evalsha"] == 4
    assert not {"eval", "multi", "exec"} & set(sent)


async def test_the_members_of_a_batch_arrive_at_their_latch_together(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker()
    latch = Latch(id="join", rule=LatchRule.ALL_OK, total=300, envelope=make_envelope("body"))
    await publish(worker.broker, *(make_envelope() for _ in range(300)), latches=[latch])
    deliveries = await worker.fetch(300)
    ends = [
        settlement(delivery, arrivals=(Arrival("join", number, ArrivalKind.OK),))
        for number, delivery in enumerate(deliveries)
    ]
    before = _calls(server)
    await worker.settle(*ends)
    sent = _calls(server) - before
    assert sent["bitfield"] == 1
    assert sent["hmget"] + sent["hset"] < 10
    assert [delivery.envelope.id for delivery in await worker.fetch()] == ["body"]


async def test_an_idle_worker_sends_at_most_one_command_a_second(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker()
    assert await worker.fetch() == []
    waiting = asyncio.create_task(worker.subscription.ready())
    before = _calls(server)
    await asyncio.wait([waiting], timeout=6.0)
    sent = _calls(server) - before
    assert not waiting.done()
    assert sent["evalsha"] + sent["ping"] <= 6
    assert sent["evalsha"] >= 1, "it looks whether it stands on the list still"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("delay", [0.0, 0.2])
async def test_one_job_wakes_a_handful_of_fifty_idle_workers(
    private_site: Site, server: RedisServer, delay: float
) -> None:
    broker = await private_site.open()
    workers = [await Worker.of(broker, "default") for _ in range(50)]
    waits = {}
    for worker in workers:
        assert await worker.fetch() == []
        waits[asyncio.create_task(worker.subscription.ready())] = worker
    await asyncio.wait(waits, timeout=0.05)
    before = _calls(server)
    await publish(broker, make_envelope("job", delay=delay))
    taken: list[str] = []
    while not taken:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            taken += [delivery.envelope.id for delivery in await waits.pop(wait).fetch()]
    assert taken == ["job"]
    assert (_calls(server) - before)["evalsha"] <= 6
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_another_worker_takes_over_the_alarm_of_one_that_vanished(
    private_site: Site, server: RedisServer
) -> None:
    vanishing, staying = await private_site.worker(), await private_site.worker()
    assert await vanishing.fetch() == []
    await publish(staying.broker, make_envelope("job", delay=0.5))
    with server.client() as client:
        wait_until(lambda: client.hlen(f"{private_site.prefix}alarms") == 1, "nobody has the alarm")
    waiting = asyncio.create_task(staying.take(1))
    await asyncio.wait([waiting], timeout=0.05)
    await vanishing.broker.close()
    [job] = await waiting
    assert job.envelope.id == "job"


async def test_what_is_due_is_fetched_in_full_although_it_is_more_than_one_call_takes(private_site: Site) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, *(make_envelope(f"{n:04}", delay=0.05) for n in range(2500)))
    assert len(set(await worker.take_ids(2500))) == 2500


async def test_thousands_of_skipped_jobs_in_front_do_not_stop_what_is_behind(private_site: Site) -> None:
    worker = await private_site.worker()
    for _ in range(10):
        await publish(worker.broker, *(make_envelope(task="suite.skipped") for _ in range(500)))
    await publish(worker.broker, make_envelope("behind"))
    skip = frozenset({"suite.skipped"})
    assert [job.envelope.id for job in await worker.take(1, skip_tasks=skip)] == ["behind"]
    subscription = await worker.broker.subscribe([QueueShare("default")], 30.0, "another")
    assert len(await subscription.fetch(5000)) == 1000


async def test_dead_letters_are_counted_and_dropped_without_being_read(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker("a", "b")
    broker, admin = worker.broker, worker.broker.admin
    for number in range(1200):
        queue = "a" if number % 3 else "b"
        await publish(broker, make_envelope(f"{number}", task=f"suite.{number % 2}", queue=queue, body=b"x" * 5000))
    deliveries = await worker.take(1200)
    for start in range(0, 1200, 100):
        part = deliveries[start : start + 100]
        await worker.settle(*(settlement(delivery, Action.DEAD_LETTER, reason="bad") for delivery in part))

    def sent() -> int:
        with server.client() as client:
            return int(client.info("stats")["total_net_output_bytes"])

    before = sent()
    assert [(size.queue, size.dead) for size in await admin.sizes()] == [("a", 800), ("b", 400)]
    assert await admin.purge_dead(queue="a", task="suite.0") == 400
    assert [(size.queue, size.dead) for size in await admin.sizes()] == [("a", 400), ("b", 400)]
    assert await admin.purge_dead(["1", "3", "2", "nobody"], queue="a") == 1
    assert await admin.purge_dead() == 799
    assert [(size.queue, size.dead) for size in await admin.sizes()] == [("a", 0), ("b", 0)]
    assert sent() - before < 100_000
    assert not [key for key in _keys(private_site, server) if key.startswith("dead")]


async def _bury(worker: Worker, count: int, body: bytes) -> None:
    for start in range(0, count, 50):
        await publish(worker.broker, *(make_envelope(f"{n}", body=body) for n in range(start, min(start + 50, count))))
        deliveries = await worker.take(min(50, count - start))
        await worker.settle(*(settlement(delivery, Action.DEAD_LETTER, reason="bad") for delivery in deliveries))


async def test_dead_letters_go_back_in_batches_of_a_bounded_size(
    private_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await private_site.worker()
    await _bury(worker, 120, b"x" * 100_000)
    answers: list[int] = []
    run = Link.run

    async def measured(link: Link, script: Script, *arguments: Argument) -> Any:
        said = await run(link, script, *arguments)
        if script.name == "dead":
            answers.append(sum(len(item) for item in said[-1]))
        return said

    monkeypatch.setattr(Link, "run", measured)
    assert [letter.id for letter in await worker.broker.admin.dead_letters(limit=3)] == ["119", "118", "117"]
    assert len(answers) == 1
    assert await worker.broker.admin.redrive() == 120
    assert max(answers) < 4.3e6
    assert sum(answers[1:]) > 12e6, "each was read"
    assert await worker.take_ids(120) == [f"{number}" for number in range(120)], "the oldest first"
    assert await worker.broker.admin.redrive() == 0


async def test_dead_letters_that_are_kept_no_longer_are_dropped_some_in_each_script(
    private_site: Site, server: RedisServer
) -> None:
    await _bury(await private_site.worker(), 1200, b"x")
    strict = await private_site.open(dead_letter_limit=5)
    before = _calls(server)
    assert [size.dead for size in await strict.admin.sizes()] == [5]
    sent = _calls(server) - before
    assert sent["evalsha"] + sent["eval"] >= 3
    assert [letter.id for letter in await strict.admin.dead_letters()] == ["1199", "1198", "1197", "1196", "1195"]
