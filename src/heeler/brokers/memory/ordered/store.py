"""The verbs of the ordered store over memory: each is one step under the state's lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from heeler.brokers.memory.control import MemoryControlChannel
from heeler.brokers.memory.ordered.apply import apply, cancel, drop
from heeler.brokers.memory.ordered.jobs import current_record
from heeler.brokers.memory.ordered.reserve import reserve, revive
from heeler.brokers.memory.ordered.run import begin, renew
from heeler.brokers.memory.state import MemoryState, shared_state
from heeler.brokers.memory.store import MemoryInbox
from heeler.clock import Clock
from heeler.contracts import Applied, Begun, Cancelled, Candidate, Inbox, OrderedStore, Reserved, Unsent
from heeler.io_thread import IoThread
from heeler.model import (
    CallId,
    DeadLetter,
    Envelope,
    Publication,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    Settlement,
)
from heeler.url import BrokerUrl

__all__ = ["MemoryOrderedStore", "store_from_url"]


def store_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> MemoryOrderedStore:
    """The store of `memory://`, private to its app, or of `memory://name`, shared in this process by that name."""
    url.finish(())
    return MemoryOrderedStore(clock=clock, namespace=namespace, name=url.name or None)


class MemoryOrderedStore(OrderedStore):
    """Jobs of another broker in the memory of this process, and gone with it.

    Stores and memory brokers of the same `name` share one state, as long as one of them exists.
    """

    shared = False
    durable = False

    def __init__(self, *, clock: Clock, namespace: str, name: str | None = None) -> None:
        self._state = shared_state(namespace, name, clock, 1 << 20)
        self.control = MemoryControlChannel(self._state)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def reserve(self, publication: Publication) -> Reserved:
        with self._step(len(publication.envelopes)) as (state, now):
            return reserve(state, publication, now)

    async def refuse(self, ids: Sequence[str]) -> None:
        with self._step() as (state, _):
            for job_id in ids:
                state.carried.drop_job(job_id)

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        with self._step() as (state, now):
            return [revive(state, letter, now) for letter in letters]

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        with self._step() as (state, now):
            return [begin(state, candidate, lease, now) for candidate in candidates]

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        with self._step() as (state, now):
            return renew(state, renewals, lease, now)

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        with self._step(len(settlements)) as (state, now):
            return apply(state, settlements, call, now)

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        with self._step() as (state, now):
            return [drop(state, envelope, reason, now) for envelope in envelopes]

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        with self._step() as (state, now):
            for key in keys:
                state.carried.clear(key, acknowledged, now)

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        with self._step() as (state, now):
            return state.carried.take_unsent(older_than, limit, now)

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        with self._state.lock:
            return _records(self._state, ids)

    async def inbox(self) -> Inbox:
        return MemoryInbox(self._state, _records)

    async def forget(self, ids: Sequence[str]) -> int:
        with self._step() as (state, now):
            return sum(state.carried.forget(job_id, now) for job_id in ids)

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        with self._step() as (state, now):
            return [cancel(state, job_id, now) for job_id in ids]

    async def pause(self, queue: str) -> None:
        with self._step() as (state, _):
            state.carried.paused.add(queue)

    async def resume(self, queue: str) -> None:
        with self._step() as (state, _):
            state.carried.paused.discard(queue)

    async def paused(self) -> frozenset[str]:
        with self._state.lock:
            return frozenset(self._state.carried.paused)

    @contextlib.contextmanager
    def _step(self, adds: int = 0) -> Iterator[tuple[MemoryState, float]]:
        """One step: the state and the time of the step. It frees a little more than it `adds`."""
        state = self._state
        with state.lock:
            now = state.clock.time()
            if adds:
                state.carried.prune(now, adds + 64)
                state.latches.prune(now, adds + 64)
            yield state, now
            state.finish()


def _records(state: MemoryState, ids: Sequence[str]) -> list[ResultRecord | None]:
    now = state.clock.time()
    jobs = [state.carried.get(job_id) for job_id in ids]
    return [current_record(job, now) if job is not None else None for job in jobs]
