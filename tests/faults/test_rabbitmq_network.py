"""A network between Heeler and RabbitMQ that drops packets and tells nobody."""

from __future__ import annotations

import time

from site_of_faults import Site

from heeler import Heeler
from rabbitmq_server import RabbitmqServer
from tcp_proxy import TcpProxy

MARGIN = 3.0  # for a busy machine


def test_a_half_open_connection_is_found_within_a_lease_and_its_runs_go_on(
    site_behind_proxies: Site, rabbitmq_proxy: TcpProxy, rabbitmq_server: RabbitmqServer
):
    site = site_behind_proxies
    worker = site.worker()
    held = site.enqueue("hold").id
    site.ledger.wait_for_event("started", held)
    rabbitmq_proxy.freeze()
    frozen_at = time.monotonic()
    with Heeler(rabbitmq_server.url, results=site.results, namespace=site.app.namespace) as elsewhere:
        job = elsewhere.enqueue_by_name("fault_jobs.work").id
    rabbitmq_proxy.thaw()

    [accepted] = site.ledger.wait_for_event("accepted", job)
    site.gate.open()
    site.wait_until_accepted([held])

    account = site.account()
    print(f"found after {accepted.at - frozen_at:.1f} s")
    assert accepted.at - frozen_at < site.lease + MARGIN
    assert len(site.ledger.of("started", held)) == 1
    assert (account.missing, account.twice) == ([], [])
    assert worker.alive()


def test_an_end_that_falls_into_silence_is_settled_once(site_behind_proxies: Site, rabbitmq_proxy: TcpProxy):
    site = site_behind_proxies
    worker = site.worker()
    held = [site.enqueue("hold").id for _ in range(5)]
    site.ledger.wait_for_event("started", count=5)
    rabbitmq_proxy.freeze()
    site.gate.open()
    site.ledger.wait_for_event("ended", count=5)
    rabbitmq_proxy.thaw()

    site.wait_until_accepted(held, timeout=30)

    account = site.account()
    assert (account.started, account.missing, account.twice) == (5, [], [])
    assert worker.alive()
