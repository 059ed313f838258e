"""A RabbitMQ server that stops, dies, cuts connections, calls an alarm or loses a queue while all others go on."""

from __future__ import annotations

import os
import time

import pytest
from site_of_faults import Process, Site
from steady_producer import SteadyProducer

from heeler import BrokerUnavailable, Heeler
from rabbitmq_server import RabbitmqServer
from services import wait_until

BACK_WITHIN = 4.0  # seconds from the server's return until work goes on, on a busy machine
DELAYS = (3.0, 9.3)  # seconds: one that is due while the server is away, and one that is due after
HANDED_OVER = 0.1  # seconds from the server's answer to the note of it
CUTS = 60 if "FAULT_LONG" in os.environ else 6  # one each second


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_goes_and_returns_under_load_loses_nothing_that_was_acknowledged(
    rabbitmq_site: Site, rabbitmq_server: RabbitmqServer, how: str
):
    site = rabbitmq_site
    workers = site.running_workers(2)
    delayed = {delay: site.enqueue_later("survive", delay).id for delay in DELAYS}
    with SteadyProducer(site) as producer:
        site.wait_for_more()
        rabbitmq_server.stop() if how == "stopped" else rabbitmq_server.kill()
        rabbitmq_server.start()
        gap = site.time_of_one_job()
        site.wait_for_more()
    site.wait_until_accepted([*producer.acknowledged, *delayed.values()], timeout=30)

    account = site.account()
    for delay, job in delayed.items():
        assert site.ledger.of("started", job)[0].at - site.ledger.of("enqueued", job)[0].at > delay - HANDED_OVER
    print(f"work went on {gap:.2f} s after the server was back; {producer.refused} calls were refused")
    assert gap < BACK_WITHIN
    assert (account.missing, account.twice) == ([], [])
    _are_well(workers)


def test_connections_that_the_server_closes_every_second_lose_nothing(
    rabbitmq_site: Site, rabbitmq_server: RabbitmqServer
):
    site = rabbitmq_site
    workers = site.running_workers(2)
    with SteadyProducer(site) as producer:
        for _ in range(CUTS):
            site.ledger.wait_up_to(1.0, lambda: False)  # the beat of the cuts
            rabbitmq_server.control("close_all_connections", "test of faults")
    site.wait_until_accepted(producer.acknowledged, timeout=30)

    account = site.account()
    print(f"{producer.refused} calls were refused")
    assert (account.missing, account.twice, producer.refused) == ([], [], 0)
    _are_well(workers)
    assert all(worker.log().count("connecting again") >= CUTS / 2 for worker in workers)


def test_an_alarm_makes_publishers_wait_for_their_timeout_and_no_longer_than_it_lasts(
    rabbitmq_site: Site, rabbitmq_server: RabbitmqServer
):
    site = rabbitmq_site
    workers = site.running_workers(1)
    held = [site.enqueue("hold").id for _ in range(5)]
    site.ledger.wait_for_event("started", count=5)
    rabbitmq_server.control("set_vm_memory_high_watermark", "absolute", "1")
    try:
        _wait_for_alarm(rabbitmq_server, "[]", is_set=True)
        with _impatient(site) as impatient:
            begin = time.monotonic()
            with pytest.raises(BrokerUnavailable) as caught:
                impatient.enqueue_by_name("fault_jobs.work")
            took = time.monotonic() - begin
        site.gate.open()  # what these runs let follow has to wait as well
        site.ledger.wait_for_event("ended", count=5)
    finally:
        rabbitmq_server.control("set_vm_memory_high_watermark", "0.6")
    cleared_at = time.monotonic()
    gap = site.time_of_one_job()
    site.wait_until_accepted(held, timeout=30)

    account = site.account()
    print(f"refused after {took:.2f} s: {caught.value}")
    print(f"work went on {gap:.2f} s after the alarm, all was done after {time.monotonic() - cleared_at:.2f} s")
    assert 0.9 < took < 3.0
    assert (account.missing, account.twice) == ([], [])
    _are_well(workers)


def test_a_queue_that_is_deleted_under_its_consumers_is_made_again(
    rabbitmq_site: Site, rabbitmq_server: RabbitmqServer
):
    site = rabbitmq_site
    workers = site.running_workers(2)
    running = [site.enqueue("hold").id for _ in range(4)]
    site.ledger.wait_for_event("started", count=4)

    rabbitmq_server.control("delete_queue", f"{site.app.namespace}.default")
    gap = site.time_of_one_job()
    behind = [result.id for result in site.enqueue_many("work", [()] * 200)]
    site.gate.open()
    site.wait_until_accepted([*running, *behind])

    account = site.account()
    print(f"work went on {gap:.2f} s after the queue was gone")
    assert (account.started, account.missing, account.twice) == (4 + 1 + 200, [], [])
    _are_well(workers)


def _are_well(workers: list[Process]) -> None:
    assert all(worker.alive() for worker in workers)
    for worker in workers:
        assert "Traceback" not in worker.log()


def _impatient(site: Site) -> Heeler:
    """A producer that gives up after a second."""
    return Heeler(
        f"{site.url}?publish_timeout=1s", results=site.results, namespace=site.app.namespace, lease=site.lease
    )


def _wait_for_alarm(server: RabbitmqServer, none: str, *, is_set: bool) -> None:
    def holds() -> bool:
        said = server.control("eval", "rabbit_alarm:get_alarms().")
        return (said.strip() != none) is is_set

    wait_until(holds, "the alarm is set" if is_set else "the alarm is cleared")
