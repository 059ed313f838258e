"""A producer process: enqueues one by one and in bulk, and notes in the ledger what was acknowledged."""

from __future__ import annotations

from fault_jobs import app, ledger, survive, survive_in_thread

ROUNDS = 50

with app:
    for _ in range(ROUNDS):
        for result in (survive_in_thread.enqueue(), *survive.enqueue_many([survive.s(), survive_in_thread.s()] * 10)):
            ledger.write("enqueued", result.id)
