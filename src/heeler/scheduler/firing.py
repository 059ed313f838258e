"""Publishes what is due, each schedule in one step with its move to the next time: who comes second is refused."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from heeler.clock import Clock, new_id
from heeler.contracts import Broker, ScheduleEntry
from heeler.errors import BrokerUnavailable
from heeler.model import (
    CallId,
    Envelope,
    Guard,
    Latch,
    LatchRule,
    Member,
    Publication,
    PublishAnswer,
    PublishResult,
    schedule_cell,
)
from heeler.producer import Producer
from heeler.scheduler.plan import Plan, job_id, plan, undecided
from heeler.schedules import Known, known_of, timetable_of
from heeler.schedules.stored import due_at, encode_state
from heeler.startables import Startables

__all__ = ["Fired", "Firing"]

_REPEATED_FOR = 60.0  # seconds; brokers remember a call for twice as long
_PAUSE = 0.1


class Fired(NamedTuple):
    """What became of a batch: how many this scheduler moved on, how many another one had, which could not be read."""

    won: int
    lost: int
    broken: list[tuple[ScheduleEntry, Exception]]


class Firing:
    """Works for one scheduler, on the I/O thread."""

    def __init__(self, producer: Producer, startables: Startables, clock: Clock, logger: logging.Logger) -> None:
        self._producer = producer
        self._startables = startables
        self._clock = clock
        self._logger = logger
        self._session = new_id()
        self._numbers = itertools.count(1)

    async def fire(self, broker: Broker, entries: Sequence[ScheduleEntry], now: float) -> Fired:
        """Start what these schedules say. `now` is the store's time. Raises BrokerUnavailable."""
        known: list[Known] = []
        broken: list[tuple[ScheduleEntry, Exception]] = []
        for entry in entries:
            try:
                known.append(known_of(entry))
            except ValueError as error:
                broken.append((entry, error))
        going_on = await self._going_on(broker, known)
        # At once, so that a broker that can take many calls in one go has them.
        moved = await asyncio.gather(
            *[self._fire_one(broker, one, now, going_on) for one in known], return_exceptions=True
        )
        for one, outcome in zip(known, moved, strict=True):
            if isinstance(outcome, BrokerUnavailable) or not isinstance(outcome, (bool, Exception)):
                raise outcome
            if isinstance(outcome, Exception):  # of a middleware, say, or of an expression this version cannot read
                broken.append((one.entry, outcome))
        return Fired(moved.count(True), moved.count(False), broken)

    async def _going_on(self, broker: Broker, known: Sequence[Known]) -> frozenset[str]:
        """Of the jobs and workflows that overlaps depend on those that have not ended."""
        ids = [id for one in known for id in undecided(one.definition, one.state)]
        return frozenset() if broker.store is None else await self._startables.going_on(broker.store, ids)

    async def _fire_one(self, broker: Broker, known: Known, now: float, going_on: frozenset[str]) -> bool:
        timetable = timetable_of(known.definition, known.state.anchor)
        planned = plan(known.name, known.definition, known.state, timetable, now, going_on)
        if planned is None:
            return False
        if planned.cancels:
            # First: if we die before the rest, whoever comes next does it again, which changes nothing.
            await self._startables.cancel(broker, planned.cancels)
        publication = await self._publication(known, planned)
        answers = await self._publish(publication)
        if answers[-1].answer is not PublishAnswer.ACCEPTED:
            return False
        self._tell(known, planned, now, answers[:-1])
        return True

    async def _publication(self, known: Known, planned: Plan) -> Publication:
        name, definition = known.name, known.definition
        envelopes: list[Envelope] = []
        latches: list[Latch] = []
        for at in (*planned.starts, *(() if planned.queued is None else (planned.queued,))):
            id = job_id(name, at)
            headers = {"heeler-schedule": name, "heeler-scheduled-for": datetime.fromtimestamp(at, UTC).isoformat()}
            links = (Member(_end_of(id), 0),) if planned.state.linked else ()
            waits = at == planned.queued
            start = await self._startables.start(definition.starts, id, headers, links, held_back=waits)
            latches += start.latches
            if not waits:
                envelopes += start.envelopes
            elif start.envelopes:
                [waiting] = start.envelopes
                latches.append(Latch(id=_end_of(planned.behind), rule=LatchRule.ALL_ENDED, total=1, envelope=waiting))
        guard = Guard(schedule_cell(name), known.entry.state, encode_state(planned.state), due_at(planned.state))
        return Publication(
            envelopes=tuple(envelopes),
            latches=tuple(latches),
            guard=guard,
            call=CallId(self._session, next(self._numbers)),
        )

    async def _publish(self, publication: Publication) -> list[PublishResult]:
        """Repeated with the same call where it may have been carried out: then the answer is what it was."""
        give_up_at = self._clock.monotonic() + _REPEATED_FOR
        while True:
            try:
                return await self._producer.send_guarded(publication)
            except BrokerUnavailable as error:
                if not error.outcome_unknown or error.given_up or self._clock.monotonic() > give_up_at:
                    raise
            await self._clock.sleep(_PAUSE)

    def _tell(self, known: Known, planned: Plan, now: float, answers: Sequence[PublishResult]) -> None:
        for answer in answers:
            if answer.answer is PublishAnswer.REFUSED:
                self._logger.error("schedule %s: %s was not started: %s", known.name, answer.id, answer.reason)
        there = [answer.id for answer in answers if answer.answer in (PublishAnswer.EXISTS, PublishAnswer.CONFLICT)]
        if there:
            more = f" (and {len(there) - 1:,} more of them)" if len(there) > 1 else ""
            self._logger.warning(
                "schedule %s: there is a job %s already%s, so none was started", known.name, there[0], more
            )
        late = now - (known.state.next_at or now)
        self._logger.debug(
            "schedule %s: %s (%d started, %.3f s after its time)",
            known.name,
            planned.state.outcome,
            len(planned.starts),
            late,
        )


def _end_of(id: str) -> str:
    """The latch of what waits for a job to end."""
    return f"{id}/end"
