"""Workers that lose their leases without dying, and those that must not lose them."""

from __future__ import annotations

import signal

import pytest
from site_of_faults import Site

from heeler import TaskStatus

pytestmark = pytest.mark.parametrize("site", ["sqlite", "redis", "rabbitmq"], indirect=True)


def test_the_end_of_a_worker_that_was_stopped_for_longer_than_its_lease_is_refused(site: Site):
    zombie = site.worker()
    job = site.enqueue("hold").id
    site.ledger.wait_for_event("started", job)
    site.stop(zombie)
    site.worker()
    first, second = site.ledger.wait_for_event("started", job, count=2)

    site.gate.open()
    site.wait_until_accepted([job])
    zombie.send(signal.SIGCONT)
    ends = site.ledger.wait_for_event("ended", job, count=2)
    zombie.send(signal.SIGTERM)
    assert zombie.wait() == 0  # all it had to say has been said by now

    account = site.account()
    assert {entry.run for entry in ends} == {first.run, second.run}
    assert [entry.run for entry in site.ledger.of("accepted")] == [second.run]
    assert site.app.get_result(job).return_value == second.run
    assert (account.missing, account.twice) == ([], [])


def test_the_end_is_refused_also_while_the_job_runs_elsewhere(site: Site):
    zombie = site.worker()
    job = site.enqueue("hold_a_moment").id
    site.ledger.wait_for_event("started", job)
    site.stop(zombie)
    other = site.worker(FAULT_HOLD="until the gate opens")
    first, second = site.ledger.wait_for_event("started", job, count=2)

    zombie.send(signal.SIGCONT)
    site.ledger.wait_for_event("ended", job)
    zombie.send(signal.SIGTERM)
    assert zombie.wait() == 0
    assert site.app.get_result(job).status is not TaskStatus.SUCCESSFUL
    site.gate.open()
    site.wait_until_accepted([job])

    assert other.alive()
    assert [entry.run for entry in site.ledger.of("ended", job)] == [first.run, second.run]
    assert site.app.get_result(job).return_value == second.run
    assert site.account().twice == []


def test_a_coroutine_that_blocks_its_loop_keeps_its_lease(site: Site):
    blocked = site.worker()
    job = site.enqueue("block_the_loop", 1.75 * site.lease).id
    site.ledger.wait_for_event("started", job)
    site.worker()

    site.wait_until_accepted([job])

    account = site.account()
    assert (account.started, account.missing, account.twice) == (1, [], [])
    assert site.ledger.of("ended", job)[0].pid == blocked.pid
