"""A network between Heeler and Redis that cuts connections, drops packets or loses a reply."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable

import pytest
from site_of_faults import Site
from steady_producer import SteadyProducer

from heeler import BrokerUnavailable, Heeler, TaskStatus
from heeler.brokers.redis.scripts import script
from services import RedisServer, wait_until
from tcp_proxy import TcpProxy

RESETS = 60 if "FAULT_LONG" in os.environ else 6  # one each second
HALF_OPEN = 15.0  # seconds until a connection is found whose packets are dropped
QUEUE = "default"


def test_connections_reset_every_second_lose_nothing(proxied_site: Site, proxy: TcpProxy):
    site = proxied_site
    workers = site.running_workers(2)
    cut = 0
    with SteadyProducer(site) as producer:
        for _ in range(RESETS):
            site.ledger.wait_up_to(1.0, lambda: False)  # the beat of the resets
            cut += proxy.reset()
    site.wait_until_accepted(producer.acknowledged, timeout=30)

    account = site.account()
    print(f"{cut} connections were cut, {producer.refused} calls refused")
    assert cut >= RESETS
    assert (account.missing, account.twice, producer.refused) == ([], [], 0)
    assert all(worker.alive() for worker in workers)


def test_a_half_open_connection_of_a_worker_is_found_within_15_seconds(
    proxied_site: Site, proxy: TcpProxy, redis_server: RedisServer
):
    site = proxied_site
    worker = site.worker()
    warm = site.enqueue("work").id
    site.wait_until_accepted([warm])
    proxy.freeze()
    frozen_at = time.monotonic()
    with Heeler(redis_server.url) as elsewhere:
        job = elsewhere.enqueue_by_name("fault_jobs.work").id
    proxy.thaw()

    [accepted] = site.ledger.wait_for_event("accepted", job, timeout=HALF_OPEN + 5)

    site.account()
    print(f"found after {accepted.at - frozen_at:.1f} s")
    assert accepted.at - frozen_at < HALF_OPEN
    assert worker.alive()


def test_an_end_that_falls_into_silence_is_settled_once(proxied_site: Site, proxy: TcpProxy):
    site = proxied_site
    worker = site.worker()
    held = site.enqueue("hold").id
    site.ledger.wait_for_event("started", held)
    proxy.freeze()
    site.gate.open()
    site.ledger.wait_for_event("ended", held)
    proxy.thaw()

    site.wait_until_accepted([held], timeout=HALF_OPEN + 15)

    account = site.account()
    assert worker.alive()
    assert (account.missing, account.twice) == ([], [])


def test_a_producer_in_silence_fails_in_time_and_works_again_afterwards(proxy: TcpProxy):
    url = f"redis://127.0.0.1:{proxy.port}?publish_timeout=1"
    with Heeler(url) as app:
        app.declare("fault_jobs.work").enqueue()
        proxy.freeze()
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailable) as caught:
            app.declare("fault_jobs.work").enqueue()
        took = time.monotonic() - begin
        proxy.thaw()
        app.declare("fault_jobs.work").enqueue()

    print(f"failed after {took:.2f} s: {caught.value}")
    assert took < 2.5
    assert caught.value.outcome_unknown


WAYS: dict[str, Callable[[Site], object]] = {
    "one": lambda site: site.enqueue("work"),
    "many": lambda site: site.enqueue_many("work", [()] * 50),
    "async": lambda site: asyncio.run(_aenqueue(site)),
}


async def _aenqueue(site: Site) -> None:
    result = await site.app.declare("fault_jobs.work").aenqueue()
    site.note_enqueued([result.id])


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_reply_to_publish_is_asked_for_again(
    proxied_site: Site, proxy: TcpProxy, redis_server: RedisServer, way: str
):
    site = proxied_site
    site.enqueue("work")  # the script is loaded, the connections are open
    asyncio.run(_aenqueue(site))
    before = waiting(redis_server)
    sent = proxy.swallow_reply_to(script("publish").sha)
    caller = Caller(lambda: WAYS[way](site))
    assert sent.wait(10)
    wait_until(lambda: waiting(redis_server) > before, "the server has carried it out")
    proxy.reset()

    caller.join()

    assert waiting(redis_server) - before == (50 if way == "many" else 1)
    jobs = [entry.job for entry in site.ledger.of("enqueued")]
    site.worker()
    site.wait_until_accepted(jobs)
    account = site.account()
    assert (account.missing, account.twice, account.repeated) == ([], [], 0)


def test_a_lost_reply_to_settle_is_asked_for_again(proxied_site: Site, proxy: TcpProxy, redis_server: RedisServer):
    site = proxied_site
    worker = site.worker()
    warm = site.enqueue("work").id
    site.wait_until_accepted([warm])
    job = site.enqueue("hold").id
    site.ledger.wait_for_event("started", job)
    sent = proxy.swallow_reply_to(script("settle").sha)
    site.gate.open()
    assert sent.wait(10)
    with Heeler(redis_server.url) as elsewhere:
        wait_until(lambda: elsewhere.get_result(job).status is TaskStatus.SUCCESSFUL, "the server has carried it out")
    proxy.reset()

    site.wait_until_accepted([job])

    account = site.account()
    assert (account.started, account.missing, account.twice) == (2, [], [])
    assert len(site.ledger.of("accepted", job)) == 1
    assert "lease was lost" not in worker.log()


class Caller:
    """A call in a thread, whose error `join` raises."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._fault = error

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._fault is not None:
            raise self._fault


def waiting(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.zcard(f"{{heeler}}:waiting:{QUEUE}"))
