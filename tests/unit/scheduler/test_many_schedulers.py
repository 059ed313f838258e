"""Each time is started once, however many schedulers there are, whichever of them stops, dies or has a wrong clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from scheduler_site import Doomed, Process, Site

HOUR = 3600


async def _hour(site: Site) -> None:
    """An hour, second by second, in two steps each: who gave way the last time wakes a little later."""
    for _ in range(HOUR):
        await site.advance(0.95)
        await site.advance(0.05)


async def test_eight_that_are_well_start_each_second_of_an_hour_once(site: Site) -> None:
    await site.schedules.aadd("tick", site.work.s(), every=1)
    await site.started(8)
    await _hour(site)
    assert site.times() == list(range(1, HOUR + 1))


async def test_one_of_eight_is_stopped_across_its_firing_again_and_again(site: Site) -> None:
    """It has read what is due, and comes to publish it ten times later."""
    await site.schedules.aadd("tick", site.work.s(), every=1)
    processes = await site.started(8)
    stops = 0
    refused = 0

    def stopping(publish: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def stopped(publication: Any) -> Any:
            nonlocal stops, refused
            stops += 1
            if stops % 7 == 1:
                await site.clock.sleep(10.2)
                answers = await publish(publication)
                refused += answers[-1].answer.value == "REFUSED"
                return answers
            return await publish(publication)

        return stopped

    for process in processes[:1]:
        process.wrap(process.app.connections.broker, "publish", stopping)
        # It is to be the first each time, so that its stop matters.
        process.loop._gives_way = False  # type: ignore[union-attr]
    await _hour(site)
    assert site.times() == list(range(1, HOUR + 1))
    assert refused > 0, "whoever was stopped came too late each time, and was refused"


@pytest.mark.parametrize("offset", [5.0, -5.0, 3600.0, -3600.0])
async def test_clocks_of_workers_that_are_wrong_change_nothing(site: Site, offset: float) -> None:
    """The time is the broker's: nothing is started early, late or twice."""
    await site.schedules.aadd("tick", site.work.s(), every=1)
    await site.started(2)
    [wrong] = await site.started(1, offset)
    for _ in range(30):
        before = len(site.ids())
        await site.advance(0.95)
        assert len(site.ids()) == before, "nothing comes early"
        await site.advance(0.05)
    assert site.times() == list(range(1, 31))
    await wrong.kill()


async def test_clocks_that_jump_by_an_hour_change_nothing(site: Site) -> None:
    await site.schedules.aadd("tick", site.work.s(), every=1)
    processes = await site.started(8)
    for second in range(120):
        for number, process in enumerate(processes):
            if second % 10 == number:
                process.clock.offset = (-1) ** second * 3600.0 if process.clock.offset == 0 else 0.0
        await site.advance(0.95)
        await site.advance(0.05)
    assert site.times() == list(range(1, 121))


async def test_a_single_one_with_a_wrong_clock_is_on_time_by_the_brokers(site: Site) -> None:
    await site.schedules.aadd("tick", site.work.s(), cron="0 * * * *")
    await site.started(1, offset=-3600.0)
    await site.advance(3599)
    assert site.ids() == []
    await site.advance(1)
    assert site.times() == [3600]


def _doom(process: Process, doomed: Doomed) -> None:
    broker = process.app.connections.broker
    process.wrap(broker.schedules, "due", doomed.step)
    process.wrap(broker.store, "get", doomed.step)
    process.wrap(broker.store, "cancel", doomed.step)
    process.wrap(broker.control, "send", doomed.step)
    process.wrap(broker, "publish", doomed.step)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", range(1, 15))
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue_one", "cancel_running"])
async def test_one_dies_between_any_two_steps_and_another_goes_on(
    site: Site, overlap: Any, steps: int, after: bool
) -> None:
    """Whatever is left undone, the other does; for each time there is one decision, and a job at most once."""
    await site.schedules.aadd("tick", site.work.s(), every=10, overlap=overlap, catch_up="all")
    process = site.process()
    doomed = Doomed(steps, after)
    _doom(process, doomed)
    process.start()
    await site.settled()
    for _ in range(3):
        await site.advance(10)
        if doomed.is_dead:
            await process.kill()
    await process.kill()
    await site.started()
    await site.advance(0)
    known = await site.schedules.aget("tick")
    assert known is not None
    assert known.next_run is not None
    assert known.next_run.timestamp() == site.clock.time() + 10
    if overlap == "allow":
        assert site.times() == [10, 20, 30]
    elif overlap == "cancel_running":
        assert site.times() == [30]
    else:
        assert site.times() == [10], "its job has not started, so those after it are passed over or wait"


async def test_schedulers_that_start_together_agree_on_what_the_code_declares(site: Site) -> None:
    processes = [site.process() for _ in range(8)]
    for process in processes:
        process.app.schedule(every=10)(process.app.tasks["work"])
        process.start()
    await site.settled()
    assert [one.name for one in await site.schedules.alist()] == ["work"]
    for _ in range(5):
        await site.advance(10)
    assert site.times() == [10, 20, 30, 40, 50]


async def test_they_share_what_is_due_at_once(site: Site) -> None:
    for number in range(60):
        await site.schedules.aadd(f"s{number}", site.work.s(), every=10)
    processes = await site.started(3)
    counts = [0] * len(processes)

    def counting(number: int) -> Callable[[Any], Any]:
        def wrapper(publish: Any) -> Any:
            async def counted(publication: Any) -> Any:
                counts[number] += 1
                await asyncio.sleep(0)
                return await publish(publication)

            return counted

        return wrapper

    for number, process in enumerate(processes):
        process.wrap(process.app.connections.broker, "publish", counting(number))
    for _ in range(20):
        await site.advance(9.95)
        await site.advance(0.05)
    assert len(site.ids()) == len(set(site.ids())) == 20 * 60
    assert sum(counts) < 2 * 20 * 60, "who was too late gives way, so most is not tried twice"
