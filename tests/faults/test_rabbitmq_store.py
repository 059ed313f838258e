"""The store of the results is away, or slow, while RabbitMQ goes on: nothing is acknowledged before it has the end."""

from __future__ import annotations

import time

import pytest
from site_of_faults import Site
from steady_producer import SteadyProducer

from services import RedisServer
from tcp_proxy import TcpProxy

AWAY = 20.0
SLOW = 5.0  # seconds added to each round trip
BACK_WITHIN = 4.0


def test_a_store_that_is_away_for_twenty_seconds_loses_nothing(rabbitmq_site: Site, redis_server: RedisServer):
    site = rabbitmq_site
    workers = site.running_workers(2)
    held = [site.enqueue("hold").id for _ in range(10)]
    site.ledger.wait_for_event("started", count=10)
    with SteadyProducer(site) as producer:
        site.wait_for_more()
        redis_server.kill()
        site.gate.open()  # these end while nobody can take that down
        site.ledger.wait_for_event("ended", held[-1])
        site.ledger.wait_up_to(AWAY, lambda: False)
        begun = len(site.ledger.of("started"))
        redis_server.start()
        gap = site.time_of_one_job()
        site.wait_for_more()
    site.wait_until_accepted([*held, *producer.acknowledged], timeout=30)

    account = site.account()
    print(f"work went on {gap:.2f} s after the store was back; {producer.refused} calls were refused")
    assert gap < BACK_WITHIN
    assert begun - len(held) < 1000, "while the store is away nothing new begins"
    assert (account.missing, account.twice) == ([], [])
    assert all(len(site.ledger.of("started", job)) == 1 for job in held), "what ran meanwhile was kept"
    assert all(worker.alive() for worker in workers)


@pytest.mark.parametrize("site_behind_proxies", [15.0], indirect=True, ids=["lease of 15 s"])
def test_a_store_that_is_slow_by_five_seconds_costs_time_and_nothing_else(site_behind_proxies: Site, proxy: TcpProxy):
    site = site_behind_proxies
    workers = site.running_workers(2)
    running = [site.enqueue("hold").id for _ in range(10)]
    site.ledger.wait_for_event("started", count=10)
    proxy.latency = SLOW / 2
    slow_since = time.monotonic()
    site.gate.open()
    site.wait_until_accepted(running, timeout=8 * SLOW)
    took = time.monotonic() - slow_since
    proxy.latency = 0.0
    behind = [result.id for result in site.enqueue_many("work", [()] * 100)]
    site.wait_until_accepted(behind, timeout=30)

    account = site.account()
    print(f"all ends were taken down and their follow-ups had run after {took:.1f} s")
    assert (account.missing, account.twice, account.repeated) == ([], [], 0)
    assert all(worker.alive() for worker in workers)
