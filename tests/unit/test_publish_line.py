"""Callers of `aenqueue` share publications, and what becomes of one is no matter to the others."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from heeler import BrokerUnavailable, Heeler
from heeler.model import Publication, PublishResult


class Gate:
    """Stands before a broker's `publish` and holds every publication until it is opened."""

    def __init__(self, app: Heeler) -> None:
        self.reached = threading.Event()
        self.sizes: list[int] = []
        self._open = asyncio.Event()
        self._io = app.connections.io
        self._publish = app.connections.broker.publish
        app.connections.broker.publish = self.publish  # type: ignore[method-assign]

    async def publish(self, publication: Publication) -> list[PublishResult]:
        self.sizes.append(len(publication.envelopes))
        self.reached.set()
        await self._open.wait()
        return await self._publish(publication)

    def open(self) -> None:
        self._io.loop.call_soon_threadsafe(self._open.set)


@pytest.fixture
def gate(app: Heeler) -> Iterator[Gate]:
    app.connections.opened_blocking()
    gate = Gate(app)
    yield gate
    gate.open()


async def test_those_who_come_while_one_is_under_way_share_the_next(app: Heeler, gate: Gate) -> None:
    first = asyncio.create_task(app.aenqueue_by_name("x", 0))
    await asyncio.to_thread(gate.reached.wait, 5)
    others = [asyncio.create_task(app.aenqueue_by_name("x", n)) for n in range(20)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, *others)

    assert gate.sizes[0] == 1
    assert sum(gate.sizes) == 21
    assert len(gate.sizes) <= 3


async def test_one_that_is_cancelled_leaves_the_others(app: Heeler, gate: Gate) -> None:
    first = asyncio.create_task(app.aenqueue_by_name("x", 0))
    await asyncio.to_thread(gate.reached.wait, 5)
    gone, stays = (asyncio.create_task(app.aenqueue_by_name("x", n)) for n in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    gate.open()

    assert (await first).id != (await stays).id
    with pytest.raises(asyncio.CancelledError):
        await gone


def test_a_loop_that_is_closed_meanwhile_hurts_no_other(app: Heeler, gate: Gate) -> None:
    async def leave_at_once() -> None:
        task = asyncio.create_task(app.aenqueue_by_name("x", 1))
        await asyncio.to_thread(gate.reached.wait, 5)
        task.cancel()

    async def stay() -> str:
        task = asyncio.create_task(app.aenqueue_by_name("x", 2))
        await asyncio.sleep(0)
        gate.open()
        return (await task).id

    asyncio.run(leave_at_once())
    assert asyncio.run(stay())


async def test_a_close_is_told_to_those_who_wait(app: Heeler, gate: Gate) -> None:
    waiting = [asyncio.create_task(app.aenqueue_by_name("x", n)) for n in range(3)]
    await asyncio.to_thread(gate.reached.wait, 5)
    await app.aclose()

    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, BrokerUnavailable)
        assert answer.outcome_unknown
