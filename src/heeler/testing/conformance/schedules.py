"""Schedules are found by name and by when they are due, and nobody changes one of which he has not seen the last."""

from __future__ import annotations

from typing import Any

import pytest

from heeler.contracts import ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.model import Guard, PublishAnswer, schedule_cell
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import make_envelope, publish

__all__ = [
    "TestASchedulesStateIsTheCellOfAGuard",
    "TestSchedulesAreFoundByName",
    "TestSchedulesAreFoundWhenTheyAreDue",
    "TestWhoHasNotSeenTheLastStateChangesNothing",
]


def _entry(name: str = "tidy", **fields: Any) -> ScheduleEntry:
    given: dict[str, Any] = {"definition": b"\x00what", "state": b"\xff1"}
    return ScheduleEntry(name=name, **{**given, **fields})


async def _store(harness: Harness) -> ScheduleStore:
    schedules = (await harness.open()).schedules
    assert schedules is not None, "these suites are for brokers that keep schedules"
    return schedules


async def _add(store: ScheduleStore, *entries: ScheduleEntry) -> None:
    made = await store.change([ScheduleChange(entry.name, None, entry) for entry in entries])
    assert made == [True] * len(entries)


class TestSchedulesAreFoundByName(Suite):
    promise = "guards"

    async def test_what_was_added_is_there_for_everybody(self, harness: Harness) -> None:
        here, there = await _store(harness), await _store(harness)
        entry = _entry("a b: ü", due_at=2e9 + 0.125, origin="shop.jobs")
        await _add(here, entry)
        assert await there.get(["a b: ü", "nobody"]) == [entry, None]

    async def test_a_change_replaces_all_of_it(self, harness: Harness) -> None:
        store = await _store(harness)
        await _add(store, _entry(due_at=2e9, origin="shop.jobs"))
        later = _entry(definition=b"other", state=b"2")
        assert await store.change([ScheduleChange("tidy", b"\xff1", later)]) == [True]
        assert await store.get(["tidy"]) == [later]
        assert await store.page(origin="shop.jobs") == []

    async def test_a_dropped_one_is_gone(self, harness: Harness) -> None:
        store = await _store(harness)
        await _add(store, _entry(due_at=harness.clock.time(), origin="shop.jobs"))
        assert await store.change([ScheduleChange("tidy", b"\xff1", None)]) == [True]
        assert await store.get(["tidy"]) == [None]
        assert await store.page() == await store.page(origin="shop.jobs") == []
        assert (await store.due(10)).entries == []

    async def test_pages_are_in_the_order_of_names_and_leave_none_out(self, harness: Harness) -> None:
        store = await _store(harness)
        entries = [_entry(name) for name in ("Z", "a", "a b", "aa", "b", "é")]
        await _add(store, *reversed(entries))
        paged: list[ScheduleEntry] = []
        while page := await store.page(limit=2, after=paged[-1].name if paged else None):
            assert len(page) <= 2
            paged += page
        assert paged == entries

    async def test_they_are_listed_by_who_declares_them(self, harness: Harness) -> None:
        store = await _store(harness)
        await _add(store, *(_entry(f"{number}", origin="xy"[number % 2]) for number in range(6)), _entry("added"))
        assert [entry.name for entry in await store.page(origin="y")] == ["1", "3", "5"]
        assert [entry.name for entry in await store.page(origin="x", limit=2, after="0")] == ["2", "4"]
        assert [entry.name for entry in await store.page(origin="", limit=1)] == ["added"]
        assert len(await store.page()) == 7

    async def test_many_are_changed_and_read_at_once(self, harness: Harness) -> None:
        store = await _store(harness)
        entries = [_entry(f"{number:04}") for number in range(1200)]
        await _add(store, *entries)
        assert await store.get([entry.name for entry in entries]) == entries
        assert await store.page(limit=5000) == entries


class TestWhoHasNotSeenTheLastStateChangesNothing(Suite):
    promise = "guards"

    @pytest.mark.parametrize("expected", [None, b"older"])
    async def test_another_state_than_expected_refuses_a_change(self, harness: Harness, expected: bytes | None) -> None:
        store = await _store(harness)
        entry = _entry(due_at=2e9)
        await _add(store, entry)
        changes = [
            ScheduleChange("tidy", expected, _entry(definition=b"other")),
            ScheduleChange("tidy", expected, None),
            ScheduleChange("new", None, _entry("new")),
        ]
        assert await store.change(changes) == [False, False, True]
        assert await store.get(["tidy"]) == [entry]

    async def test_what_is_not_there_any_more_is_not_changed(self, harness: Harness) -> None:
        store = await _store(harness)
        await _add(store, _entry())
        drop = ScheduleChange("tidy", b"\xff1", None)
        assert await store.change([drop, drop, ScheduleChange("tidy", b"\xff1", _entry())]) == [True, False, False]
        assert await store.get(["tidy"]) == [None]


class TestSchedulesAreFoundWhenTheyAreDue(Suite):
    promise = "guards"

    async def test_in_the_order_of_their_times_with_the_time_of_the_next(self, harness: Harness) -> None:
        store = await _store(harness)
        now = harness.clock.time()
        await _add(store, *(_entry(f"{delay}", due_at=now + delay) for delay in (30, 10, 40, 20)), _entry("never"))
        due = await store.due(10)
        assert (due.entries, due.next_at) == ([], now + 10)
        assert abs(due.now - now) < 1.0
        await harness.advance(30.5)
        due = await store.due(10)
        assert [entry.name for entry in due.entries] == ["10", "20", "30"]
        assert due.next_at == now + 40
        assert due.entries[0] == _entry("10", due_at=now + 10)

    async def test_as_many_as_are_asked_for(self, harness: Harness) -> None:
        store = await _store(harness)
        now = harness.clock.time()
        await _add(store, *(_entry(f"{number}", due_at=now - 10 + number) for number in range(4)))
        due = await store.due(3)
        assert [entry.name for entry in due.entries] == ["0", "1", "2"]
        assert due.next_at == now - 7
        due = await store.due(0)
        assert (due.entries, due.next_at) == ([], now - 10)

    async def test_nothing_is_ever_due_where_there_is_nothing(self, harness: Harness) -> None:
        store = await _store(harness)
        due = await store.due(10)
        assert (due.entries, due.next_at) == ([], None)

    async def test_one_whose_time_is_moved_is_due_then(self, harness: Harness) -> None:
        store = await _store(harness)
        now = harness.clock.time()
        await _add(store, _entry("a", due_at=now + 10), _entry("b", due_at=now + 20))
        for seen, state, due_at in [
            (b"\xff1", b"2", now + 30),
            (b"2", b"3", now + 10),
            (b"3", b"4", None),
            (b"4", b"5", now + 40),
        ]:
            entry = _entry("a", state=state, due_at=due_at)
            assert await store.change([ScheduleChange("a", seen, entry)]) == [True]
            await store.due(10)
        await harness.advance(25)
        due = await store.due(10)
        assert [entry.name for entry in due.entries] == ["b"]
        assert due.next_at == now + 40


class TestASchedulesStateIsTheCellOfAGuard(Suite):
    promise = "guards"

    async def test_a_publication_moves_state_and_time_together_with_its_jobs(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = await _store(harness)
        now = harness.clock.time()
        await _add(store, _entry(due_at=now))
        guard = Guard(schedule_cell("tidy"), b"\xff1", b"2", now + 60)
        results = await publish(worker.broker, make_envelope("job"), guard=guard)
        assert [result.answer for result in results] == [PublishAnswer.ACCEPTED] * 2
        assert await store.get(["tidy"]) == [_entry(state=b"2", due_at=now + 60)]
        due = await store.due(10)
        assert (due.entries, due.next_at) == ([], now + 60)
        assert await worker.take_ids(1) == ["job"]

    async def test_who_was_asleep_meanwhile_publishes_nothing(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = await _store(harness)
        await _add(store, _entry())
        cell = schedule_cell("tidy")
        for _ in range(2):
            await publish(worker.broker, make_envelope("job"), guard=Guard(cell, b"\xff1", b"2", None))
        assert await store.change([ScheduleChange("tidy", b"\xff1", _entry(state=b"3"))]) == [False]
        assert await worker.take_ids(1) == ["job"]
        assert await worker.fetch() == []

    async def test_the_guard_of_a_dropped_schedule_is_refused(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = await _store(harness)
        await _add(store, _entry())
        assert await store.change([ScheduleChange("tidy", b"\xff1", None)]) == [True]
        guard = Guard(schedule_cell("tidy"), b"\xff1", b"2", 5.0)
        results = await publish(worker.broker, make_envelope("job"), guard=guard)
        assert {result.answer for result in results} == {PublishAnswer.REFUSED}
        assert await worker.fetch() == []
        assert (await store.due(10)).next_at is None

    async def test_a_guard_alone_moves_a_schedule_on(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = await _store(harness)
        now = harness.clock.time()
        await _add(store, _entry(due_at=now))
        [result] = await publish(worker.broker, guard=Guard(schedule_cell("tidy"), b"\xff1", b"2", now + 5))
        assert result.answer is PublishAnswer.ACCEPTED
        assert await store.get(["tidy"]) == [_entry(state=b"2", due_at=now + 5)]
