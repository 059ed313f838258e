"""A Redis server that dies, forgets or loses its data while producers and workers go on."""

from __future__ import annotations

import time

from site_of_faults import Site
from steady_producer import SteadyProducer

from services import RedisServer

BACK_WITHIN = 2.0  # seconds from the server's return until work goes on
MARGIN = 1.0  # for a busy machine


def test_a_server_killed_and_restarted_under_load_loses_nothing_that_was_acknowledged(
    redis_site: Site, redis_server: RedisServer
):
    site = redis_site
    workers = site.running_workers(2)
    with SteadyProducer(site) as producer:
        for outage in (0.0, 1.5 * site.lease, 0.0):
            site.wait_for_more()
            redis_server.kill()
            site.ledger.wait_up_to(outage, lambda: False)
            redis_server.start()
            gap = site.time_of_one_job()
            print(f"work went on {gap:.2f} s after the server was back")
            assert gap < BACK_WITHIN + MARGIN
    site.wait_until_accepted(producer.acknowledged, timeout=30)

    account = site.account()
    print(f"{producer.refused} calls were refused")
    assert all(worker.alive() for worker in workers)
    assert (account.missing, account.twice) == ([], [])


def test_scripts_that_the_server_has_forgotten_are_loaded_again(redis_site: Site, redis_server: RedisServer):
    site = redis_site
    site.worker()
    with SteadyProducer(site) as producer, redis_server.client() as client:
        for _ in range(10):
            site.wait_for_more(50)
            client.script_flush()
    site.wait_until_accepted(producer.acknowledged)

    account = site.account()
    assert producer.refused == 0
    assert (account.missing, account.twice, account.repeated) == ([], [], 0)


def test_after_flushall_workers_say_so_and_go_on(redis_site: Site, redis_server: RedisServer):
    site = redis_site
    worker = site.worker()
    with SteadyProducer(site), redis_server.client() as client:
        site.wait_for_more()
        client.flushall()
        flushed_at = time.monotonic()
        gap = site.time_of_one_job()
    print(f"work went on {gap:.2f} s after FLUSHALL")
    afterwards = [site.enqueue("work").id for _ in range(20)]
    site.wait_until_accepted(afterwards)

    account = site.account()
    assert worker.alive()
    assert "jobs that were only there are lost" in worker.log()
    assert account.twice == []
    lost = set(account.missing)
    assert not lost & {entry.job for entry in site.ledger.of("enqueued") if entry.at > flushed_at + 0.5}
