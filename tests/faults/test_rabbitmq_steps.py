"""Processes that die between any two of the ordered steps, by SIGKILL: what was taken down is finished by others."""

from __future__ import annotations

from site_of_faults import Site

from heeler import chord

STEPS = ["begin", "apply", "publish", "acknowledge", "clear"]
STEPS_OF_A_DEAD_LETTER = ["apply", "put", "acknowledge", "clear"]
STEPS_OF_A_PRODUCER = ["reserve", "publish", "clear"]
MOMENTS = ["before", "after"]


def test_workers_that_die_at_each_step_of_a_job_from_which_another_follows(rabbitmq_site: Site):
    site = rabbitmq_site
    jobs = {f"{step}-{moment}": site.enqueue_to(f"{step}-{moment}", "work").id for step in STEPS for moment in MOMENTS}
    doomed = [site.worker("--queues", name, FAULT_DIE_AT=name) for name in jobs]
    for worker in doomed:
        assert worker.wait(60) == -9

    site.worker("--queues", ",".join(["default", *jobs]))
    site.wait_until_accepted(jobs.values(), timeout=30)

    account = site.account()
    assert (account.missing, account.twice) == ([], [])
    started = {name: len(site.ledger.of("started", job)) for name, job in jobs.items()}
    before_the_end = {"begin-before": 1, "begin-after": 1, "apply-before": 2}
    assert started == dict.fromkeys(jobs, 1) | before_the_end
    assert all(len(site.ledger.of("accepted", job)) == 1 for job in jobs.values())


def test_workers_that_die_at_each_step_of_a_dead_letter(rabbitmq_site: Site):
    site = rabbitmq_site
    jobs = {
        f"{step}-{moment}": site.enqueue_to(f"{step}-{moment}", "refuse").id
        for step in STEPS_OF_A_DEAD_LETTER
        for moment in MOMENTS
    }
    doomed = [site.worker("--queues", name, FAULT_DIE_AT=name) for name in jobs]
    for worker in doomed:
        assert worker.wait(60) == -9

    site.worker("--queues", ",".join(["default", *jobs]))
    letters = site.dead_letters(len(jobs))

    assert sorted(letter.id for letter in letters) == sorted(jobs.values())
    assert {letter.queue: letter.id for letter in letters} == jobs
    assert {letter.reason for letter in letters} == {"Rejected: not wanted"}


def test_workers_that_die_at_the_steps_of_a_workflow(rabbitmq_site: Site):
    site = rabbitmq_site
    work = site.app.declare("fault_jobs.work")
    moments = ["apply-before", "apply-after", "publish-before", "publish-after", "clear-before"]
    flows = []
    for at in moments:
        there = work.using(queue_name=at)
        flow = chord([there.s(), there.s()], there.si()).then(there.si()).catch(there.si())
        flows.append(flow.using(id=at).enqueue())
    jobs = [f"{flow.id}/{place}" for flow in flows for place in ("0/0", "0/1", "1", "t0")]
    site.note_enqueued(jobs)
    doomed = [site.worker("--queues", at, FAULT_DIE_AT=at) for at in moments]
    for worker in doomed:
        assert worker.wait(60) == -9

    site.worker("--queues", ",".join(["default", *moments]))
    for flow in flows:
        flow.join(timeout=30)
    site.wait_until_accepted(jobs, timeout=30)

    account = site.account()
    assert (account.accepted, account.missing, account.twice) == (len(jobs), [], [])
    assert all(len(site.ledger.of("accepted", job)) == 1 for job in jobs)
    ran_again = {job for job in jobs if len(site.ledger.of("started", job)) > 1}
    surely = {"apply-before/0/0", "apply-before/0/1"}
    # What was sent and not cleared is sent again a lease later, and may be taken while its first run is about to end.
    perhaps = {f"clear-before/{place}" for place in ("1", "t0")}
    assert surely <= ran_again <= surely | perhaps


def test_producers_that_die_at_each_step_leave_either_nothing_or_a_job_that_runs(rabbitmq_site: Site):
    site = rabbitmq_site
    worker = site.worker()
    warm = site.enqueue("work").id
    site.wait_until_accepted([warm])
    for step in STEPS_OF_A_PRODUCER:
        for moment in MOMENTS:
            assert site.dying_producer(f"{step}-{moment}").wait(60) == -9

    site.ledger.wait_for_event("accepted", count=1 + 5)  # all but the one that never was taken down

    account = site.account()
    assert (account.started, account.missing, account.twice) == (6, [], [])
    assert worker.alive()
