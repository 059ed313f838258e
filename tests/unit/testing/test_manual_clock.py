import asyncio
import threading

import pytest

from heeler.clock import Clock
from heeler.testing.manual_clock import ManualClock


async def _asleep(clock: ManualClock, seconds: float) -> asyncio.Task[None]:
    task = asyncio.create_task(clock.sleep(seconds))
    await asyncio.sleep(0)
    return task


def test_it_is_a_clock_that_starts_at_a_fixed_time_and_stands_still() -> None:
    clock: Clock = ManualClock()
    assert clock.time() == clock.time() == ManualClock().time() == 1_767_225_600.0
    assert clock.monotonic() == 0.0
    assert clock.random() == 0.5
    assert ManualClock(5.0, chance=0.25).random() == 0.25


def test_advancing_moves_both_times() -> None:
    clock = ManualClock(100.0)
    clock.advance(2.5)
    clock.advance(0)
    assert (clock.time(), clock.monotonic()) == (102.5, 2.5)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-1)


async def test_a_sleep_ends_when_its_time_has_come_and_not_before() -> None:
    clock = ManualClock()
    short, long = await _asleep(clock, 5), await _asleep(clock, 10)
    clock.advance(4)
    await asyncio.sleep(0)
    assert not short.done()
    clock.advance(1)
    await asyncio.wait_for(short, 5)
    assert not long.done()
    clock.advance(100)
    await asyncio.wait_for(long, 5)


async def test_no_time_at_all_is_a_turn_of_the_loop() -> None:
    await asyncio.wait_for(ManualClock().sleep(0), 5)


async def test_a_sleep_that_was_cancelled_hinders_no_other() -> None:
    clock = ManualClock()
    first, second = await _asleep(clock, 5), await _asleep(clock, 5)
    first.cancel()
    clock.advance(5)
    await asyncio.wait_for(second, 5)
    assert first.cancelled()


async def test_it_is_advanced_from_any_thread() -> None:
    clock = ManualClock()
    sleeping = await _asleep(clock, 5)
    thread = threading.Thread(target=clock.advance, args=(5,))
    thread.start()
    await asyncio.wait_for(sleeping, 5)
    thread.join()


def test_a_sleeper_whose_loop_is_gone_is_passed_over() -> None:
    clock = ManualClock()
    loop = asyncio.new_event_loop()
    sleeping = loop.create_task(clock.sleep(5))
    loop.run_until_complete(asyncio.sleep(0))
    sleeping.cancel()
    loop.close()
    clock.advance(5)
