"""Workflows of schedules: all of one, or nothing, becomes real in the step that moves its schedule."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scheduler_site import Doomed, Site

from heeler import TaskStatus, Workflow, chain, chord, group
from heeler.contracts import QueueShare
from heeler.model import (
    ArrivalKind,
    Guard,
    LatchState,
    Publication,
    PublishAnswer,
    arrivals_of,
    schedule_cell,
)
from heeler.schedules import known_of
from heeler.schedules.stored import encode_state
from heeler.testing.conformance.worker import settlement, success


def _flow(site: Site) -> Workflow:
    flow = Workflow("nightly")
    left, right = flow.add(site.work.s(1)), flow.add(site.work.s(2))
    flow.add(group([site.work.s(left), site.work.s(right)]))
    return flow


async def _state(site: Site, id: str) -> LatchState | None:
    store = site.first.app.connections.store
    assert store is not None
    [latch] = await store.latches([id])
    return None if latch is None else latch.state


async def test_each_time_starts_one_whoever_of_two_is_first(site: Site) -> None:
    await site.schedules.aadd("nightly", _flow(site), every=10)
    await site.started(2)
    for _ in range(6):
        await site.advance(9.95)
        await site.advance(0.05)
    ids = sorted(site.ids())
    runs = [f"nightly@2026-01-01T00:0{number // 6}:{number % 6}0Z" for number in range(1, 7)]
    assert ids == [f"{run}/{node}" for run in runs for node in (0, 1)], "its two first jobs, and nothing twice"
    assert {one.headers["heeler-schedule"] for one in site.published()} == {"nightly"}
    known = await site.schedules.aget("nightly")
    assert known is not None
    assert (known.runs, known.last_id, known.last_outcome) == (6, runs[-1], "READY")
    assert known.starts == "workflow nightly (work, work-2, group)"


async def test_one_that_comes_too_late_publishes_nothing_of_it(site: Site) -> None:
    """It has read the schedule, is stopped, and the schedule has moved when it goes on."""
    await site.schedules.aadd("nightly", chord([site.work.s(1), site.work.s(2)], site.work.s()), every=10)
    broker = site.first.app.connections.broker
    assert broker.schedules is not None
    [entry] = await broker.schedules.get(["nightly"])
    assert entry is not None
    known = known_of(entry)
    late = await site.schedules.startables.start(known.definition.starts, "late", {})
    assert late.latches
    await site.started(2)
    await site.advance(10)
    before = site.ids()
    guard = Guard(schedule_cell("nightly"), entry.state, encode_state(known.state), None)
    answers = await broker.publish(Publication(envelopes=late.envelopes, latches=late.latches, guard=guard))
    assert {answer.answer for answer in answers} == {PublishAnswer.REFUSED}
    assert site.ids() == before
    assert await _state(site, "late") is None
    assert await _state(site, "nightly@2026-01-01T00:00:10Z") is LatchState.OPEN


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", range(1, 12, 2))
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue_one", "cancel_running"])
async def test_one_dies_between_any_two_steps_and_another_goes_on(
    site: Site, overlap: Any, steps: int, after: bool
) -> None:
    await site.schedules.aadd("nightly", _flow(site), every=10, overlap=overlap, catch_up="all")
    process = site.process()
    doomed = Doomed(steps, after)
    broker = process.app.connections.broker
    for owner, verb in (
        (broker.schedules, "due"),
        (broker.store, "get"),
        (broker.store, "latches"),
        (broker.store, "break_latches"),
        (broker.control, "send"),
        (broker, "publish"),
    ):
        process.wrap(owner, verb, doomed.step)
    process.start()
    await site.settled()
    for _ in range(3):
        await site.advance(10)
        if doomed.is_dead:
            await process.kill()
    await process.kill()
    await site.started()
    await site.advance(0)
    known = await site.schedules.aget("nightly")
    assert known is not None
    assert known.next_run is not None
    assert known.next_run.timestamp() == site.clock.time() + 10
    ids = site.ids()
    assert len(set(ids)) == len(ids)
    times = [f"nightly@2026-01-01T00:00:{second}Z" for second in (10, 20, 30)]
    states = [await _state(site, one) for one in times]
    if overlap == "allow":
        assert states == [LatchState.OPEN] * 3
        assert site.times() == [10, 10, 20, 20, 30, 30]
    elif overlap == "skip":
        assert states == [LatchState.OPEN, None, None]
    elif overlap == "queue_one":
        assert states[0] is LatchState.OPEN
        assert [state for state in states[1:] if state is not None] == [LatchState.OPEN], "one waits"
        assert site.times() == [10, 10], "and has not started"
    else:
        assert states[2] is LatchState.OPEN
        assert LatchState.OPEN not in states[:2], "those before it are cancelled, or were never started"


async def test_what_was_missed_is_made_up_for_in_steps_of_a_bounded_size(site: Site) -> None:
    """A hundred times of a group of three hundred do not go into one publication."""
    members = group([site.work.s(n) for n in range(300)])
    await site.schedules.aadd("many", members, every=10, catch_up="all", catch_up_limit=10)
    await site.advance(200)
    [process] = await site.started()
    sizes: list[int] = []
    broker = process.app.connections.broker
    publish = broker.publish

    async def watched(publication: Any) -> Any:
        sizes.append(len(publication.envelopes))
        return await publish(publication)

    broker.publish = watched  # type: ignore[method-assign]
    process.loop._changed.set()  # type: ignore[union-attr]
    for _ in range(10):
        await asyncio.sleep(0.01)
        await site.settled()
    ids = site.ids()
    assert len(ids) == len(set(ids)) == 10 * 300
    assert max(sizes, default=0) <= 1000
    known = await site.schedules.aget("many")
    assert known is not None
    assert known.runs == 10


async def test_overlap_looks_at_the_whole_workflow_and_not_at_its_first_job(site: Site) -> None:
    await site.schedules.aadd("pair", chain(site.work.s(1), site.work.s()), every=10, overlap="skip")
    await site.started()
    broker = site.first.app.connections.broker
    subscription = await broker.subscribe([QueueShare("default")], 3600.0)

    async def work_off_one() -> None:
        [job] = await subscription.fetch(10)
        told = arrivals_of(job.envelope, ArrivalKind.OK)
        await broker.settle([settlement(job, record=success(job.envelope), arrivals=told)])

    await site.advance(10)
    await work_off_one()
    await site.advance(10)
    known = await site.schedules.aget("pair")
    assert known is not None
    assert (known.last_outcome, known.runs) == ("skipped", 1), "its first job has ended, and its second one has not"
    await work_off_one()
    assert await _state(site, "pair@2026-01-01T00:00:10Z") is LatchState.RELEASED
    await site.advance(10)
    assert await _state(site, "pair@2026-01-01T00:00:30Z") is LatchState.OPEN


async def test_cancel_running_cancels_the_whole_workflow(site: Site) -> None:
    await site.schedules.aadd("pair", chain(site.work.s(1), site.work.s()), every=10, overlap="cancel_running")
    await site.started()
    await site.advance(10)
    await site.advance(10)
    first = await site.first.app.aget_workflow("pair@2026-01-01T00:00:10Z")
    assert first.status is TaskStatus.CANCELLED
    second = await site.first.app.aget_workflow("pair@2026-01-01T00:00:20Z")
    assert second.status is TaskStatus.READY
