"""Producers and workers killed at any moment: nothing is lost, a file stays sound, nothing counts twice."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time

import pytest
from site_of_faults import Process, Site

pytestmark = pytest.mark.parametrize("site", ["sqlite", "redis", "rabbitmq"], indirect=True)

SECONDS = 8.0
PRODUCERS = 2
WORKERS = 3


def test_kill_9_of_any_process_at_any_time_loses_and_corrupts_nothing(site: Site):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    running = [site.producer() for _ in range(PRODUCERS)] + [worker(site) for _ in range(WORKERS)]
    site.ledger.wait_for_event("accepted")
    until = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < until:
        enough = len(site.ledger.entries) + chance.randrange(1, 1500)
        site.ledger.wait_up_to(chance.uniform(0.05, 0.7), lambda enough=enough: len(site.ledger.entries) >= enough)
        victim = chance.randrange(len(running))
        running[victim].kill()
        kills += 1
        running[victim] = site.producer() if victim < PRODUCERS else worker(site)
    for process in running:
        process.kill()

    acknowledged = [entry.job for entry in site.ledger.of("enqueued")]
    for _ in range(2):
        worker(site)
    site.wait_until_accepted(acknowledged, timeout=45)

    account = site.account()
    print(f"{kills} kills")
    assert kills > 5
    assert (account.missing, account.twice) == ([], [])
    if site.database is not None:
        with contextlib.closing(sqlite3.connect(site.database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    accepted = {entry.job: entry.run for entry in site.ledger.of("accepted")}
    some = chance.sample(acknowledged, 200)
    assert {job: site.app.get_result(job).return_value for job in some} == {job: accepted[job] for job in some}


def worker(site: Site) -> Process:
    return site.worker("--concurrency", "20")
