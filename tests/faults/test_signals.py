"""Workers that are asked to stop, calmly or at once, and children whose parent is gone."""

from __future__ import annotations

import signal

import psutil
import pytest
from site_of_faults import Site

SOON = 2.0  # seconds until another worker has what was given back
AT_ONCE = 8.0  # seconds: far below the grace of 25, and enough to start a child on a busy machine
QUICK = 300


def test_sigterm_lets_what_runs_end_and_gives_back_the_rest(site: Site):
    stopping = site.worker("--concurrency", "1")
    running = site.enqueue("hold").id
    site.ledger.wait_for_event("started", running)
    waiting = site.enqueue("work").id
    other = site.worker("--concurrency", "1")
    site.wait_until_accepted([waiting])
    behind = site.enqueue("hold").id
    site.ledger.wait_for_event("started", behind)

    stopping.send(signal.SIGTERM)
    site.gate.open()
    site.wait_until_accepted([running, behind])

    assert stopping.wait() == 0
    account = site.account()
    assert (account.started, account.missing, account.twice) == (3, [], [])
    assert site.ledger.of("ended", running)[0].pid == stopping.pid
    assert site.ledger.of("ended", behind)[0].pid == other.pid


def test_a_stopping_worker_keeps_nothing_that_it_has_fetched_and_not_started(site: Site):
    before = site.enqueue_many("work", [()] * QUICK)  # makes the workers fetch ahead
    long = site.enqueue("hold").id
    after = site.enqueue_many("work", [()] * QUICK)
    workers = [site.worker("--concurrency", "1") for _ in range(2)]
    [held] = site.ledger.wait_for_event("started", long)
    [stopping] = [worker for worker in workers if worker.pid == held.pid]

    signalled_at = stopping.send(signal.SIGTERM)
    site.wait_until_accepted(result.id for result in before + after)

    last = max(entry.at for entry in site.ledger.of("started"))
    print(f"the last of {QUICK} started {last - signalled_at:.3f} s after the signal")
    assert last - signalled_at < SOON
    assert site.ledger.of("ended", long) == []
    site.gate.open()
    site.wait_until_accepted([long])
    assert stopping.wait() == 0
    account = site.account()
    assert (account.started, account.missing, account.twice) == (2 * QUICK + 1, [], [])


@pytest.mark.parametrize("task", ["hold", "hold_in_coroutine", "hold_in_pool"])
def test_a_second_signal_gives_back_at_once_what_runs(site: Site, task: str):
    stopping = site.worker("--concurrency", "1")
    job = site.enqueue(task).id
    site.ledger.wait_for_event("started", job)
    site.worker("--concurrency", "1")
    warm = site.enqueue("work").id
    site.wait_until_accepted([warm])

    stopping.send(signal.SIGTERM)
    site.ledger.wait_for_event("stopping")
    second_at = stopping.send(signal.SIGTERM)
    _, again = site.ledger.wait_for_event("started", job, count=2)
    assert stopping.wait() == 0
    site.gate.open()
    site.wait_until_accepted([job])

    account = site.account()
    print(f"picked up elsewhere after {again.at - second_at:.3f} s")
    assert again.at - second_at < AT_ONCE
    assert (account.missing, account.twice) == ([], [])
    assert [entry.run for entry in site.ledger.of("accepted", job)] == [again.run]
    assert site.record(job).crashes == 0


def test_no_child_outlives_a_worker_that_is_killed(site: Site):
    worker = site.worker("--concurrency", "3")
    for _ in range(3):
        site.enqueue("hold_in_pool")
    site.ledger.wait_for_event("started", count=3)
    family = worker.tree()
    assert len(family) > 3

    worker.kill()

    _, left = psutil.wait_procs(family, timeout=5)
    assert left == []


def test_no_process_outlives_the_parent_of_several_that_is_killed_by_more_than_the_grace(site: Site):
    parent = site.worker("--processes", "2", "--concurrency", "2", "--grace", "1s")
    jobs = [site.enqueue("hold_in_pool").id for _ in range(4)]
    site.ledger.wait_for_event("started", count=4)
    family = parent.tree()
    assert len(family) > 1 + 2 + 4

    parent.kill()

    _, left = psutil.wait_procs(family, timeout=8)
    assert left == []
    site.worker()
    site.gate.open()
    site.wait_until_accepted(jobs)
    assert [site.record(job).crashes for job in jobs] == [0] * 4


def test_a_worker_process_that_is_killed_is_started_again_by_its_parent(site: Site):
    parent = site.worker("--processes", "2", "--concurrency", "2")
    jobs = [site.enqueue("hold").id for _ in range(4)]
    started = site.ledger.wait_for_event("started", count=4)
    pids = {entry.pid for entry in started}
    assert len(pids) == 2

    for pid in pids:
        psutil.Process(pid).kill()
    site.gate.open()
    site.wait_until_accepted(jobs)

    assert parent.alive()
    assert site.account().twice == []
    parent.send(signal.SIGTERM)
    family = parent.tree()
    assert parent.wait() == 0
    _, left = psutil.wait_procs(family, timeout=5)
    assert left == []
