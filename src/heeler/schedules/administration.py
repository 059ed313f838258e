"""`app.schedules`: adding, looking, pausing, removing, from any process. Each method has an async twin with an `a`."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, Unpack
from zoneinfo import ZoneInfo

import msgspec

from heeler.clock import new_id
from heeler.connections import Connections
from heeler.contracts import Broker, ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.errors import ConfigurationError, HeelerError, InvalidWorkflow, ScheduleNotFound
from heeler.model import (
    Guard,
    Publication,
    PublishAnswer,
    ScheduleDefinition,
    TaskStatus,
    schedule_cell,
)
from heeler.producer import Producer
from heeler.schedules.declared import DeclaredSchedules, Place
from heeler.schedules.definition import ScheduleOptions, checked_name, define, timetable_of
from heeler.schedules.editing import edit
from heeler.schedules.schedule import Schedule, last_id_of, schedule_of
from heeler.schedules.states import enabled, fresh, paused, redefined, resumed
from heeler.schedules.stored import Known, due_at, encode_state, entry_of, known_of
from heeler.schedules.synchronise import Drift, drift_between
from heeler.startables import Startable, Startables
from heeler.task import Task
from heeler.task_result import TaskResult
from heeler.triggers import Timetable, checked_expression, checked_zone, read_expression
from heeler.workflow_result import WorkflowResult

__all__ = ["Schedules"]

T = TypeVar("T")
_TRIES = 50
_PAGE = 500
Page = list[Schedule]  # because a method is called `list` here
Times = list[datetime]
Drifts = list[Drift]
Started = TaskResult[Any] | WorkflowResult[Any]


class Schedules:
    """The schedules of this app's namespace. `declared` are those of its own code, which is that of module `origin`."""

    def __init__(self, connections: Connections, producer: Producer, origin: str) -> None:
        self.declared = DeclaredSchedules(origin)
        self.startables = Startables(producer)
        self._connections = connections
        self._producer = producer

    # Adding and removing

    def add(self, name: str, starts: Startable | Task[Any, Any], **options: Unpack[ScheduleOptions]) -> Schedule:
        """Start `starts` again and again, from now on: a signature, a task that takes no arguments, or a workflow.

        A workflow is taken as it is now; it has at most 1,000 jobs, and no group of it is made from an iterator.

        `cron` is an expression of five fields (six with seconds), `@daily` and the like, or `@every 90s`; `every` an
        interval instead: a timedelta, seconds, or a text like "1h30m". `overlap` says what happens at a time when the
        job before has not ended, `catch_up` what becomes of times that were missed while no scheduler ran; of these
        `"all"` makes up for the last `catch_up_limit`. `start` and `end` are aware datetimes.

        A schedule of that name is changed, and keeps its place in time unless its times are other ones now.
        Raises ConfigurationError for an expression, zone or option that is wrong, InvalidArguments for the call,
        InvalidWorkflow for a workflow that cannot be started again and again.
        """
        return self._run(self._add(name, self._define(name, starts, options)))

    async def aadd(self, name: str, starts: Startable | Task[Any, Any], **options: Unpack[ScheduleOptions]) -> Schedule:
        """`add` from async code."""
        return await self._arun(self._add(name, self._define(name, starts, options)))

    def remove(self, name: str) -> bool:
        """Forget a schedule; whether there was one. Jobs that it has started go on."""
        return self._run(self._remove(name))

    async def aremove(self, name: str) -> bool:
        """`remove` from async code."""
        return await self._arun(self._remove(name))

    def declare(self, name: str, starts: Startable, options: ScheduleOptions, place: Place) -> None:
        """What `@app.schedule` says. It is stored when the next worker starts. Raises as `add` does."""
        self.declared.add(name, self._define(name, starts, options), place)

    def impossible(self) -> ConfigurationError:
        """What is said where schedules cannot be kept."""
        return ConfigurationError(
            f"{self._connections.shown_url} cannot keep schedules: they stand in the result store, and this app has "
            f"none; give `results` a URL, such as redis:// or sqlite:///"
        )

    # Looking

    def get(self, name: str) -> Schedule | None:
        """The schedule of that name; None if there is none."""
        return self._run(self._get(name))

    async def aget(self, name: str) -> Schedule | None:
        """`get` from async code."""
        return await self._arun(self._get(name))

    def list(self, limit: int = 100, after: str | None = None) -> Page:
        """By name; `after` is the name that ended the last page."""
        return self._run(self._list(limit, after))

    async def alist(self, limit: int = 100, after: str | None = None) -> Page:
        """`list` from async code."""
        return await self._arun(self._list(limit, after))

    def preview(self, schedule: str, count: int = 5, *, timezone: str | ZoneInfo | None = None) -> Times:
        """The next times of a schedule, by its name, or of an expression in a time zone (default: UTC).

        Raises ConfigurationError for a wrong expression, ScheduleNotFound where there is no schedule of that name.
        """
        pure = self._preview_of_expression(schedule, count, timezone)
        return self._run(self._preview(schedule, count, timezone)) if pure is None else pure

    async def apreview(self, schedule: str, count: int = 5, *, timezone: str | ZoneInfo | None = None) -> Times:
        """`preview` from async code."""
        pure = self._preview_of_expression(schedule, count, timezone)
        return await self._arun(self._preview(schedule, count, timezone)) if pure is None else pure

    def drift(self) -> Drifts:
        """Where the store differs from what this app's code declares: the next worker that starts will settle it."""
        return self._run(self._drift())

    async def adrift(self) -> Drifts:
        """`drift` from async code."""
        return await self._arun(self._drift())

    # Steering

    def pause(self, name: str) -> Schedule:
        """Start nothing until `resume`. Raises ScheduleNotFound."""
        return self._run(self._pause(name))

    async def apause(self, name: str) -> Schedule:
        """`pause` from async code."""
        return await self._arun(self._pause(name))

    def resume(self, name: str) -> Schedule:
        """Go on with the next time; those that passed meanwhile are not made up for. Raises ScheduleNotFound."""
        return self._run(self._resume(name))

    async def aresume(self, name: str) -> Schedule:
        """`resume` from async code."""
        return await self._arun(self._resume(name))

    def trigger(self, name: str) -> Started:
        """Start it now, out of turn: paused or not, and whatever its overlap says. Raises ScheduleNotFound."""
        return self._run(self._trigger(name))

    async def atrigger(self, name: str) -> Started:
        """`trigger` from async code."""
        return await self._arun(self._trigger(name))

    # On the I/O thread

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._connections.io.run(work)

    async def _arun(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._connections.io.arun(work)

    async def _opened(self) -> tuple[Broker, ScheduleStore]:
        broker = await self._connections.opened()
        if broker.schedules is None:
            raise self.impossible()
        return broker, broker.schedules

    def _define(self, name: str, starts: Any, options: ScheduleOptions) -> ScheduleDefinition:
        try:
            packed = self.startables.pack(starts.s() if isinstance(starts, Task) else starts)
        except InvalidWorkflow as error:
            raise InvalidWorkflow(f"schedule {name!r}: {error}") from error
        return define(checked_name(name), packed, **options)

    async def _add(self, name: str, definition: ScheduleDefinition) -> Schedule:
        broker, store = await self._opened()

        def change(known: Known | None, now: float) -> ScheduleEntry:
            state = (
                fresh(definition, now) if known is None else redefined(known.state, known.definition, definition, now)
            )
            return entry_of(name, definition, enabled(state, definition, now) if state.disabled else state)

        return await self._shown(await edit(broker, store, name, change))

    async def _remove(self, name: str) -> bool:
        broker, store = await self._opened()
        if (await store.get([name]))[0] is None:
            return False
        await edit(broker, store, name, lambda known, now: None)
        return True

    async def _pause(self, name: str) -> Schedule:
        broker, store = await self._opened()

        def change(known: Known | None, now: float) -> ScheduleEntry:
            there = self._needed(known, name, now)
            return entry_of(name, there.definition, paused(there.state), there.entry.origin)

        return await self._shown(await edit(broker, store, name, change))

    async def _resume(self, name: str) -> Schedule:
        broker, store = await self._opened()

        def change(known: Known | None, now: float) -> ScheduleEntry:
            there = self._needed(known, name, now)
            if not there.state.paused:
                return there.entry
            return entry_of(name, there.definition, resumed(there.state, there.definition, now), there.entry.origin)

        return await self._shown(await edit(broker, store, name, change))

    async def _get(self, name: str) -> Schedule | None:
        _, store = await self._opened()
        entry = (await store.get([name]))[0]
        if entry is None and name in self.declared:
            entry = self._not_stored(name, (await store.due(0)).now)
        return None if entry is None else await self._shown(entry)

    async def _list(self, limit: int, after: str | None) -> Page:
        _, store = await self._opened()
        entries = {entry.name: entry for entry in await store.page(limit, after)}
        last = max(entries) if len(entries) == limit else None
        now = self._connections.clock.time()
        for name in self.declared:
            if name not in entries and (after is None or name > after) and (last is None or name < last):
                entries[name] = self._not_stored(name, now)
        return await self._shown_all([entries[name] for name in sorted(entries)[:limit]])

    async def _shown(self, entry: ScheduleEntry | None) -> Schedule:
        assert entry is not None
        return (await self._shown_all([entry]))[0]

    async def _shown_all(self, entries: Sequence[ScheduleEntry]) -> Page:
        store = self._connections.store
        statuses: dict[str, TaskStatus] = {}
        if store is not None:
            statuses = await self.startables.statuses(store, [id for entry in entries if (id := last_id_of(entry))])
        return [schedule_of(entry, statuses) for entry in entries]

    async def _trigger(self, name: str) -> Started:
        _, store = await self._opened()
        id = new_id()
        for _ in range(_TRIES):
            entry = (await store.get([name]))[0]
            now = (await store.due(0)).now
            if entry is None:
                entry = self._needed(None, name, now).entry
                if not (await store.change([ScheduleChange(name, None, entry)]))[0]:
                    continue
            known = known_of(entry)
            prepared = await self.startables.start(known.definition.starts, id, {"heeler-schedule": name})
            state = msgspec.structs.replace(
                known.state,
                revision=new_id(),
                started=known.state.started + 1,
                last_id=id,
                last_at=now,
                outcome="triggered",
                outcome_at=now,
            )
            guard = Guard(schedule_cell(name), known.entry.state, encode_state(state), due_at(state))
            publication = Publication(envelopes=prepared.envelopes, latches=prepared.latches, guard=guard)
            answers = await self._producer.send_guarded(publication)
            if answers[-1].answer is not PublishAnswer.ACCEPTED:
                continue
            refused = [answer for answer in answers if answer.answer is PublishAnswer.REFUSED]
            if refused:
                raise HeelerError(f"schedule {name!r}: the broker refused the job: {refused[0].reason}")
            return prepared.result
        raise HeelerError(f"the schedule {name!r} could not be triggered: others changed it each time")

    def _not_stored(self, name: str, now: float) -> ScheduleEntry:
        """What the next worker that starts would store of a schedule of this code."""
        definition = self.declared[name]
        return entry_of(name, definition, fresh(definition, now), self.declared.origin)

    def _needed(self, known: Known | None, name: str, now: float) -> Known:
        if known is not None:
            return known
        if name not in self.declared:
            raise _not_found(name)
        return known_of(self._not_stored(name, now))

    def _preview_of_expression(self, text: str, count: int, timezone: str | ZoneInfo | None) -> Times | None:
        """None: it is the name of a schedule, if anything."""
        if text in self.declared or not (text.startswith("@") or len(text.split()) > 1):
            return None
        try:
            expression = checked_expression(text)
        except ConfigurationError:
            if text.startswith("@") or len(text.split()) in (5, 6):
                raise
            return None
        zone = checked_zone(timezone or "UTC")
        now = self._connections.clock.time()
        return _times(Timetable(read_expression(expression, zone, now)), now, count, zone)

    async def _preview(self, name: str, count: int, timezone: str | ZoneInfo | None) -> Times:
        if timezone is not None:
            checked_zone(timezone)
        _, store = await self._opened()
        entry = (await store.get([name]))[0]
        now = (await store.due(0)).now
        if entry is not None:
            known = known_of(entry)
            definition, anchor = known.definition, known.state.anchor
        elif name in self.declared:
            definition, anchor = self.declared[name], now
        else:
            raise _not_found(name)
        zone = definition.timezone if timezone is None else checked_zone(timezone)
        return _times(timetable_of(definition, anchor), now, count, zone)

    async def _drift(self) -> Drifts:
        _, store = await self._opened()
        names = [*self.declared]
        entries = {entry.name: entry for entry in await store.get(names) if entry is not None}
        after: str | None = None
        while page := await store.page(_PAGE, after, self.declared.origin):
            entries |= {entry.name: entry for entry in page}
            after = page[-1].name
        drifts = [
            drift_between(name, self.declared.get(name), known_of(entries[name]) if name in entries else None)
            for name in sorted({*entries, *names})
        ]
        return [drift for drift in drifts if drift is not None]


def _times(timetable: Timetable, now: float, count: int, zone: str) -> list[datetime]:
    return [datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)) for at in timetable.following(now, count)]


def _not_found(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"there is no schedule {name!r}")
