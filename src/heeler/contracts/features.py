"""What a broker can promise, said by itself, so that asking for more is a clear error and not a surprise."""

from __future__ import annotations

import msgspec

__all__ = ["Features"]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """Promises are kept or denied; preferences are kept or approximated (said once at start)."""

    # promises
    shared: bool = True  # other processes can work from it
    durable: bool = True  # what it accepted survives a restart
    one_step_settle: bool = True  # end, result and follow-ups become true together
    fencing: bool = True  # who lost a lease cannot end the job
    id_deduplication: bool = True  # a caller-given id is enqueued once
    joins: bool = True  # latches
    guards: bool = True  # guarded publications
    delays: bool = True  # a job can wait for its time
    stores_results: bool = True  # what is known of a job can be read by its id, and it can be cancelled
    lists_waiting: bool = True  # waiting and scheduled jobs can be listed and peeked
    # preferences
    exact_priorities: bool = True  # every level from -100 to 100 counts
    exact_weights: bool = True  # queues are served by their weights
    keeps_place_on_release: bool = True  # what is given back or comes due is not behind newer jobs
    skips_tasks: bool = True  # `fetch(skip_tasks=…)` leaves them where they are
    binding_keys: bool = False  # `Queue.binding_keys`, `routing_key` and `arguments` mean something
