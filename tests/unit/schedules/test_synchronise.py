"""The store becomes what the code declares, and is told where it was not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from heeler.brokers.memory import MemoryBroker
from heeler.contracts import ScheduleChange, ScheduleStore
from heeler.errors import ConfigurationError
from heeler.io_thread import IoThread
from heeler.model import ScheduleDefinition
from heeler.schedules import DeclaredSchedules, Known, entry_of, known_of, synchronise
from heeler.schedules.declared import Place
from heeler.schedules.states import paused
from heeler.testing import ManualClock


def definition(**fields: Any) -> ScheduleDefinition:
    return ScheduleDefinition(**{"expression": "@every 1h", "starts": b"1", "shown": "work()", **fields})


def declared(origin: str = "shop", **definitions: ScheduleDefinition) -> DeclaredSchedules:
    code = DeclaredSchedules(origin)
    for name, one in definitions.items():
        code.add(name, one, Place("shop", name, lambda: None))
    return code


class Site:
    def __init__(self) -> None:
        self.clock = ManualClock()
        broker = MemoryBroker(io=IoThread(), clock=self.clock, namespace="test")
        self.store: ScheduleStore = broker.schedules

    async def known(self, name: str) -> Known:
        [entry] = await self.store.get([name])
        assert entry is not None
        return known_of(entry)

    async def replace(self, known: Known, **fields: Any) -> None:
        given = {"definition": known.definition, "state": known.state, "origin": known.entry.origin, **fields}
        change = ScheduleChange(known.name, known.entry.state, entry_of(known.name, **given))
        assert await self.store.change([change]) == [True]


@pytest.fixture
async def site() -> Site:
    return Site()


async def test_what_is_new_is_added_and_due_after_now(site: Site) -> None:
    [drift] = await synchronise(site.store, declared(tidy=definition()))
    assert (drift.name, drift.kind) == ("tidy", "new")
    known = await site.known("tidy")
    assert known.entry.origin == "shop"
    assert known.entry.due_at == site.clock.time() + 3600


async def test_what_is_the_same_is_left_alone(site: Site) -> None:
    code = declared(tidy=definition())
    await synchronise(site.store, code)
    before = await site.known("tidy")
    site.clock.advance(10)
    assert await synchronise(site.store, declared(tidy=definition())) == []
    assert await site.known("tidy") == before


async def test_what_differs_is_told_and_becomes_as_the_code_has_it(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    [drift] = await synchronise(site.store, declared(tidy=definition(overlap="skip", expression="@daily")))
    assert drift.kind == "changed"
    assert drift.differences == (
        "expression is '@every 1h' in the store, '@daily' in the code",
        "overlap is 'allow' in the store, 'skip' in the code",
    )
    assert (await site.known("tidy")).definition.expression == "@daily"


async def test_other_arguments_are_told_as_calls(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition(shown="work(1)")))
    [drift] = await synchronise(site.store, declared(tidy=definition(shown="work(2)", starts=b"2")))
    assert str(drift).endswith("it starts work(1) in the store, work(2) in the code")


async def test_its_place_in_time_stays_unless_its_times_change(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    due_at = (await site.known("tidy")).entry.due_at
    site.clock.advance(1800)
    await synchronise(site.store, declared(tidy=definition(catch_up="all")))
    assert (await site.known("tidy")).entry.due_at == due_at
    await synchronise(site.store, declared(tidy=definition(expression="@every 2h")))
    assert (await site.known("tidy")).entry.due_at == site.clock.time() + 7200


async def test_what_left_the_code_is_disabled_and_not_forgotten(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition(), other=definition()))
    [drift] = await synchronise(site.store, declared(other=definition()))
    assert (drift.name, drift.kind) == ("tidy", "left")
    known = await site.known("tidy")
    assert known.state.disabled
    assert known.entry.due_at is None
    assert await synchronise(site.store, declared(other=definition())) == []


async def test_what_comes_back_into_the_code_goes_on_without_making_up(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    await synchronise(site.store, declared())
    site.clock.advance(86400 + 60)
    [drift] = await synchronise(site.store, declared(tidy=definition()))
    assert drift.kind == "back"
    known = await site.known("tidy")
    assert not known.state.disabled
    assert known.entry.due_at == site.clock.time() + 3540


async def test_schedules_of_other_apps_and_those_added_at_run_time_are_left_alone(site: Site) -> None:
    await synchronise(site.store, declared("mail", theirs=definition()))
    await synchronise(site.store, declared(added=definition()))
    await site.replace(await site.known("added"), origin="")
    assert await synchronise(site.store, declared(own=definition())) != []
    assert not (await site.known("theirs")).state.disabled
    assert not (await site.known("added")).state.disabled


async def test_one_that_was_changed_at_run_time_becomes_the_codes_again(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    await site.replace(await site.known("tidy"), definition=definition(expression="@daily"), origin="")
    [drift] = await synchronise(site.store, declared(tidy=definition()))
    assert drift.kind == "changed"
    known = await site.known("tidy")
    assert (known.definition.expression, known.entry.origin) == ("@every 1h", "shop")
    [drift] = await synchronise(site.store, declared())
    assert drift.kind == "left"


async def test_a_paused_one_stays_paused(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    known = await site.known("tidy")
    await site.replace(known, state=paused(known.state))
    await synchronise(site.store, declared(tidy=definition(overlap="skip")))
    assert (await site.known("tidy")).state.paused


async def test_one_that_cannot_be_read_becomes_as_the_code_has_it(site: Site) -> None:
    await synchronise(site.store, declared(tidy=definition()))
    known = await site.known("tidy")
    garbage = msgspec.structs.replace(known.entry, definition=b"\x01\xff", state=b"\x09")
    assert await site.store.change([ScheduleChange("tidy", known.entry.state, garbage)]) == [True]
    await synchronise(site.store, declared(tidy=definition()))
    assert (await site.known("tidy")).definition == definition()


async def test_many_that_start_at_once_agree(site: Site) -> None:
    code = declared(**{f"s{number}": definition() for number in range(20)})
    drifts = await asyncio.gather(*[synchronise(site.store, code) for _ in range(8)])
    assert sum(len(each) for each in drifts) >= 20
    assert await synchronise(site.store, code) == []


def test_a_name_is_declared_once() -> None:
    code = declared(tidy=definition())
    with pytest.raises(ConfigurationError, match=r"'tidy' is taken by work\(\) \(@every 1h\)"):
        code.add("tidy", definition(), Place("elsewhere", "tidy", lambda: None))


def test_the_same_place_may_declare_again() -> None:
    code = declared(tidy=definition())
    code.add("tidy", definition(expression="@daily"), Place("shop", "tidy", lambda: None))
    assert code["tidy"].expression == "@daily"
