"""Jobs that have a place in a workflow: whether they may still run, what completes their arguments, and relays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from heeler.clock import Clock
from heeler.contracts import ResultStore
from heeler.dag.place import Place, Relay, decode_place, decode_relay
from heeler.dag.shape import decode_record
from heeler.dag.shape import outcome as outcome_latch
from heeler.error_records import record_error
from heeler.errors import BrokerUnavailable, InvalidArguments, ResultLost
from heeler.model import RELAY_TASK, Envelope, LatchRecord, LatchState, ResultRecord, Settlement
from heeler.worker.completing import Completed, Completer
from heeler.worker.decide import Facts, Policy, decide, read_note
from heeler.worker.outcome import Cancelled, Outcome, PassedOn, Skipped, Unfinished, Unreadable
from heeler.worker.run import Run
from heeler.workflow_result import expire_workflow

__all__ = ["PlacedRuns", "Sorted", "has_place"]

_NO_POLICY = Policy()


class Sorted(NamedTuple):
    """Runs that may start, those that have ended without, with their settlements, and those that need many results.

    `let_go` are jobs that a latch has let go and nobody has fetched before.
    """

    ready: list[Run]
    ended: list[Run]
    settlements: list[Settlement]
    slow: list[tuple[Run, Place]]
    let_go: list[Envelope]


def has_place(run: Run) -> bool:
    """Whether it has to be looked at here before it starts."""
    envelope = run.delivery.envelope
    return envelope.scope is not None or bool(envelope.place)


class PlacedRuns:
    """Lives on the I/O thread. `on_let_go` is to be told of jobs whose turn has come, when they are fetched first."""

    def __init__(
        self,
        store: ResultStore | None,
        completer: Completer | None,
        clock: Clock,
        worker_id: str,
        on_let_go: Callable[[Sequence[Envelope]], None] = lambda jobs: None,
    ) -> None:
        self.on_let_go = on_let_go
        self._store = store
        self._completer = completer
        self._clock = clock
        self._worker_id = worker_id

    async def cancelled(self, scopes: Sequence[str]) -> frozenset[str]:
        """Those of which somebody has cancelled all. Raises BrokerUnavailable."""
        if self._store is None or not scopes:
            return frozenset()
        latches = await self._store.latches(scopes, with_data=False)
        return frozenset(latch.id for latch in latches if latch is not None and latch.cancelled)

    async def sort(self, runs: Sequence[Run]) -> Sorted:
        """Find out what is to become of them: one question for all, and what completes their arguments.

        Raises BrokerUnavailable.
        """
        if self._store is None or self._completer is None:
            return self._sort_travelling(runs)
        scopes = list(dict.fromkeys(run.delivery.envelope.scope for run in runs if run.delivery.envelope.scope))
        latches = dict(zip(scopes, await self._store.latches(scopes, with_data=False), strict=True))
        sorted_ = Sorted([], [], [], [], [])
        places: list[tuple[Run, Place]] = []
        for run in runs:
            envelope = run.delivery.envelope
            if envelope.task == RELAY_TASK:
                self._end(run, await self._relayed(run, self._store), sorted_)
                continue
            try:
                place = decode_place(envelope.place)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._end(run, self._unreadable(run, error), sorted_)
                continue
            if place.follows:
                run.follows = True
                if run.delivery.receipt.epoch == 1:
                    sorted_.let_go.append(envelope)
            outcome = _stopped(latches.get(envelope.scope or ""), place)
            if outcome is not None:
                self._end(run, outcome, sorted_)
            else:
                places.append((run, place))
        known = await self._completer.read_ahead(place for _, place in places)
        for run, place in places:
            if not place.inputs:
                sorted_.ready.append(run)
            elif any(item.source.kind == "all" for item in place.inputs):
                sorted_.slow.append((run, place))
            else:
                await self._complete(run, place, known, self._completer, sorted_)
        return sorted_

    def _sort_travelling(self, runs: Sequence[Run]) -> Sorted:
        """Nothing is stored: what they need came with them."""
        sorted_ = Sorted([], [], [], [], [])
        for run in runs:
            envelope = run.delivery.envelope
            try:
                place = decode_place(envelope.place)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._end(run, self._unreadable(run, error), sorted_)
                continue
            if place.mends:
                run.completed = Completed(envelope.body, place.mends)
            sorted_.ready.append(run)
        return sorted_

    async def complete(self, run: Run, place: Place) -> Sorted:
        """The same for one that needs many results. Raises BrokerUnavailable."""
        assert self._completer is not None
        sorted_ = Sorted([], [], [], [], [])
        await self._complete(run, place, await self._completer.read_ahead([place]), self._completer, sorted_)
        return sorted_

    async def _complete(
        self,
        run: Run,
        place: Place,
        known: Mapping[str, ResultRecord | None],
        completer: Completer,
        sorted_: Sorted,
    ) -> None:
        if place.inputs:
            try:
                run.completed = await completer.complete(run.delivery.envelope, place, known)
            except BrokerUnavailable:
                raise
            except Exception as error:  # also from a codec of the user's
                self._end(run, self._unreadable(run, error), sorted_)
                return
        sorted_.ready.append(run)

    def _unreadable(self, run: Run, error: Exception) -> Unreadable:
        if not isinstance(error, (ResultLost, InvalidArguments)):
            error = InvalidArguments(f"what completes its arguments cannot be read: {error}")
        return Unreadable(record_error(error, run.delivery.attempts + 1, self._clock.time()))

    def _end(self, run: Run, outcome: Outcome, sorted_: Sorted) -> None:
        facts = Facts(run.delivery, _NO_POLICY, self._worker_id, self._clock.time(), chance=self._clock.random())
        run.outcome = outcome
        sorted_.ended.append(run)
        sorted_.settlements.append(decide(outcome, facts))

    # Relays

    async def _relayed(self, run: Run, store: ResultStore) -> Outcome:
        try:
            relay = decode_relay(run.delivery.envelope.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._unreadable(run, error)
        if relay.kind == "pass":
            return PassedOn(relay.jobs)
        if relay.kind == "skip":
            [latch] = await store.latches([relay.latch], with_data=False)
            return PassedOn((), skipped_by=latch.broken_by if latch is not None else run.delivery.envelope.id)
        if relay.kind == "watch":
            return await self._watched(run, relay, store)
        [latch] = await store.latches([relay.latch])
        if latch is not None and latch.data:
            record = decode_record(latch.data)
            # It may have been broken and gone on, or the other way round: what is so now counts.
            keep = record.keep if latch.state is LatchState.RELEASED or latch.cancelled else relay.keep
            await expire_workflow(store, relay.latch, record.shape, max(keep, record.keep))
        return PassedOn(())

    async def _watched(self, run: Run, relay: Relay, store: ResultStore) -> Outcome:
        """Whether a workflow that is sent in batches has been sent to its end, or somebody still sends it."""
        [latch] = await store.latches([relay.latch], with_data=False)
        id = run.delivery.envelope.id
        if latch is not None and latch.state is LatchState.BROKEN and latch.broken_by == id:
            return Unfinished(None)  # who broke it died before that was settled
        if latch is None or latch.total is not None or latch.state is not LatchState.OPEN:
            return PassedOn(())
        left = latch.touched_at + relay.keep - run.delivery.leased_at
        if left > 0.0:
            return Unfinished(left)
        if not read_note(run.delivery).errors:
            return Unfinished(0.0, given_up=True)  # who learns that it is broken shall be able to read why
        await store.break_latches([relay.latch, outcome_latch(relay.latch)], by=id)
        return Unfinished(None)


def _stopped(latch: LatchRecord | None, place: Place) -> Outcome | None:
    """How a job ends that may not run any more."""
    if latch is None:
        return None
    if latch.cancelled:
        return Cancelled()
    return Skipped() if latch.stopped and not place.exempt else None
