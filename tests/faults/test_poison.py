"""Jobs that kill the process they run in: only they pay."""

from __future__ import annotations

import pytest
from site_of_faults import Site

from heeler import TaskStatus

pytestmark = pytest.mark.parametrize("site", ["sqlite", "redis", "rabbitmq"], indirect=True)

GOOD = 1000
MAX_CRASHES = 3


def test_a_poison_job_among_a_thousand_good_ones_charges_only_itself(site: Site):
    before = site.enqueue_many("die_if", [(False,)] * (GOOD // 2))
    poison = site.enqueue("die_if", True).id
    good = [result.id for result in before + site.enqueue_many("die_if", [(False,)] * (GOOD // 2))]
    site.worker("--concurrency", "50")
    site.worker("--concurrency", "50")

    site.wait_until_accepted(good, timeout=30)
    result = site.app.get_result(poison)
    result.join(timeout=20)

    account = site.account()
    print(f"the poison job was started {len(site.ledger.of('started', poison))} times")
    assert result.status is TaskStatus.FAILED
    assert result.last_error is not None
    assert result.last_error.exception_class_path == "heeler.errors.WorkerCrashed"
    [letter] = site.dead_letters(1)
    assert (letter.id, letter.crashes) == (poison, MAX_CRASHES + 1)
    assert (account.accepted, account.missing, account.twice) == (GOOD, [poison], [])
    assert [job for job in good if site.record(job).crashes] == []
    # Once among others, which charges nobody, and then alone until its crashes are used up.
    assert len(site.ledger.of("started", poison)) == 1 + MAX_CRASHES + 1


def test_with_max_crashes_0_a_job_starts_at_most_once_and_only_what_had_started_is_given_up(site: Site):
    doomed = site.worker("--concurrency", "1")
    deadly = site.enqueue("die_at_most_once").id
    behind = site.enqueue("work_at_most_once").id
    doomed.wait()
    assert site.ledger.of("started", behind) == []
    site.worker("--concurrency", "1")

    site.wait_until_accepted([behind])
    result = site.app.get_result(deadly)
    result.join(timeout=20)

    account = site.account()
    assert (account.started, account.missing, account.twice) == (2, [deadly], [])
    assert result.status is TaskStatus.FAILED
    [letter] = site.dead_letters(1)
    assert letter.id == deadly
    assert "WorkerCrashed" in letter.reason


def test_a_pool_child_that_dies_takes_down_its_own_job_only(site: Site):
    worker = site.worker("--concurrency", "4")
    poison = site.enqueue("die_in_pool_if", True).id
    good = [result.id for result in site.enqueue_many("die_in_pool_if", [(False,)] * 40)]

    site.wait_until_accepted(good)
    result = site.app.get_result(poison)
    result.join(timeout=20)

    account = site.account()
    assert worker.alive()
    assert account.missing == [poison]
    assert result.status is TaskStatus.FAILED
    assert len(site.ledger.of("started", poison)) == MAX_CRASHES + 1
    assert [len(site.ledger.of("started", job)) for job in good] == [1] * 40


def test_a_pool_whose_template_process_dies_goes_on(site: Site):
    worker = site.worker("--concurrency", "2")
    jobs = [site.enqueue("hold_in_pool").id]
    site.ledger.wait_for_event("started")
    [template] = [process for process in worker.tree()[1:] if process.children()]

    template.kill()
    jobs.append(site.enqueue("hold_in_pool").id)
    site.ledger.wait_for_event("started", jobs[1])
    site.gate.open()
    site.wait_until_accepted(jobs)

    account = site.account()
    assert worker.alive()
    assert (account.started, account.missing, account.twice) == (2, [], [])
