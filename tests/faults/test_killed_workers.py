"""Workers that die by SIGKILL: their jobs come back in time, run again, and count once."""

from __future__ import annotations

import pytest
from site_of_faults import Site

from heeler import TaskStatus

pytestmark = pytest.mark.parametrize("site", ["sqlite", "redis", "rabbitmq"], indirect=True)

RETURN = 1.5  # leases until a dead worker's jobs are back
START = 1.0  # seconds for a child process to start and run one


@pytest.mark.parametrize("task", ["hold", "hold_in_pool"])
def test_the_jobs_of_a_killed_worker_come_back_within_one_and_a_half_leases(site: Site, task: str):
    doomed = site.worker("--concurrency", "4")
    jobs = [site.enqueue(task).id for _ in range(4)]
    site.ledger.wait_for_event("started", count=4)
    site.worker("--concurrency", "4")

    killed_at = doomed.kill()
    site.gate.open()
    site.wait_until_accepted(jobs)

    restarted = site.ledger.of("started")[4:]
    account = site.account()
    assert restarted[0].at - killed_at < RETURN * site.lease + START
    assert account.missing == account.twice == []
    assert account.started == 8
    assert [site.record(job).crashes for job in jobs] == [0, 0, 0, 0]


def test_killed_between_effect_and_settle_the_job_runs_again_and_counts_once(site: Site):
    doomed = site.worker(FAULT_DIE_WHEN_SETTLING="before")
    job = site.enqueue("work").id
    doomed.wait()
    assert len(site.ledger.of("ended", job)) == 1
    assert site.ledger.of("accepted") == []
    site.worker()

    site.wait_until_accepted([job])

    account = site.account()
    assert (account.started, account.missing, account.twice) == (2, [], [])
    assert site.app.get_result(job).return_value == site.ledger.of("ended", job)[1].run


def test_killed_after_the_settle_was_carried_out_the_job_does_not_run_again(site: Site):
    doomed = site.worker(FAULT_DIE_WHEN_SETTLING="after")
    job = site.enqueue("work").id
    doomed.wait()
    site.worker()

    site.wait_until_accepted([job])

    account = site.account()
    assert (account.started, account.missing, account.twice) == (1, [], [])
    assert site.app.get_result(job).status is TaskStatus.SUCCESSFUL
