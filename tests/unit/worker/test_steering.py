"""An exception of our choice, raised where a coroutine waits."""

import asyncio

import pytest

from heeler.worker.steering import Steered


class Bell(Exception):
    pass


async def steer(coroutine, ring_after: float | None = 0.0):
    steered = Steered(coroutine)

    async def run():
        return await steered

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    if ring_after is not None:
        steered.throw(Bell())
    return await task


async def test_it_is_raised_where_the_coroutine_waits():
    async def sleeper():
        try:
            await asyncio.sleep(60)
        except Bell:
            return "heard"

    assert await steer(sleeper()) == "heard"


async def test_the_coroutine_can_go_on_waiting_and_its_task_is_not_cancelled_any_more():
    async def sleeper():
        try:
            await asyncio.sleep(60)
        except Bell:
            await asyncio.sleep(0.001)
            async with asyncio.timeout(5):
                await asyncio.sleep(0.001)
            return asyncio.current_task().cancelling()

    assert await steer(sleeper()) == 0


async def test_one_that_nobody_catches_comes_out():
    with pytest.raises(Bell):
        await steer(asyncio.sleep(60))


async def test_values_and_errors_pass_through_untouched():
    async def echo():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, LookupError("from below"))
        try:
            await future
        except LookupError as error:
            return str(error)

    assert await steer(echo(), ring_after=None) == "from below"


async def test_a_real_cancellation_stays_one():
    steered = Steered(asyncio.sleep(60))

    async def run():
        await steered

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_the_end_it_has_no_effect():
    steered = Steered(asyncio.sleep(0, "value"))

    async def run():
        return await steered

    assert await asyncio.create_task(run()) == "value"
    steered.throw(Bell())
