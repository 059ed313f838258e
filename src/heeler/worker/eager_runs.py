"""`eager://`: an enqueue runs what it has published before it returns."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from heeler.connections import Connections
from heeler.model import PublishAnswer, PublishResult
from heeler.worker.drain import Drain, InHand, WorkerMaker, in_event_loop

__all__ = ["EagerRuns"]


class EagerRuns:
    """What happens after each publication: the jobs, and whatever they set off, are run before the caller goes on.

    Several may be at it at once: a job that enqueues, threads, `gather`. Each runs anything that is due, also what
    another one published, and returns when its own jobs are in nobody's hands.
    """

    def __init__(self, connections: Connections, make_worker: WorkerMaker) -> None:
        self._in_hand = InHand()
        self._drain = Drain(connections, make_worker, self._in_hand)

    def __call__(self, answers: Sequence[PublishResult]) -> None:
        """Run what the broker has accepted. Raises what keeps a worker from starting; errors of jobs are results."""
        published = {result.id for result in answers if result.answer is PublishAnswer.ACCEPTED}
        if not published:
            return
        if not in_event_loop():
            self._run(published)
            return
        # A coroutine blocks its loop here, so the jobs need another thread to have a loop in.
        with ThreadPoolExecutor(1, "heeler-eager") as thread:
            thread.submit(contextvars.copy_context().run, self._run, published).result()

    def _run(self, published: set[str]) -> None:
        self._drain.run()
        while self._in_hand.wait_without(published):
            self._drain.run()  # who had it may have put it back for another try
