"""Random workflows where messages and store share no transaction, with processes that die between any two steps."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dying_process import Process, Site
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.sqlite import SqliteBroker
from heeler.brokers.sqlite.ordered_store import SqliteOrderedStore
from heeler.contracts import OrderedStore
from heeler.errors import BrokerUnavailable
from workflow_specs import Spec, specs
from workflow_world import Hand, Place, World, Written

_MEMORY = Path("/dev/shm")
ROOM = _MEMORY if _MEMORY.is_dir() else None  # where there is one, a commit need not wait for a disk

stories = given(
    spec=specs(),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from([3, 500]),
    from_dead_letters=st.booleans(),
)
as_many = {
    "deadline": None,
    "phases": [Phase.reuse, Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}


class Processes(Place):
    """Each hand is a process of its own, which dies after some steps, before or after the next one takes effect."""

    delivers_once = False  # a message may be sent again; its run is refused

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._site = site
        self._chance = chance
        self._deaths_left = 12
        self._processes: dict[Hand, Process] = {}

    async def hire(self, lives: int | None = 60) -> Hand:
        process = await self._site.process()
        if lives is not None and self._deaths_left:
            self._deaths_left -= 1
            process.fuse.set(self._chance.randrange(lives), after=self._chance.random() < 0.5)
        assert process.subscription is not None
        hand = Hand(process.broker, process.subscription)
        self._processes[hand] = process
        return hand

    async def retire(self, hand: Hand) -> None:
        process = self._processes.pop(hand, None)
        if process is not None:
            with contextlib.suppress(BrokerUnavailable):
                await process.die()

    async def each_round(self, hand: Hand) -> None:
        await self._processes[hand].broker._upkeep.send_unsent()

    def ends(self) -> Counter[str]:
        return self._site.ledger.ends


async def tell(
    make_store: Callable[[Site], OrderedStore], spec: Spec, seed: int, batch: int, from_dead_letters: bool
) -> None:
    chance = random.Random(seed)
    site = Site(make_store)
    keeping = site.make_store()
    messages = await site.process()
    world = World(Written(spec, batch), site.clock, chance, Processes(site, chance))
    try:
        await world.live()
        await world.check()
        await world.redrive_and_check(from_dead_letters=from_dead_letters)
        await world.forget_and_check()
    finally:
        await site.close()
        del keeping, messages


def memory_store(site: Site) -> OrderedStore:
    return MemoryOrderedStore(clock=site.clock, namespace=site.namespace, name="shared")


@stories
@settings(max_examples=60, **as_many)  # type: ignore[arg-type]
def test_with_a_store_in_memory(**story: Any) -> None:
    asyncio.run(tell(memory_store, **story))


@stories
@settings(max_examples=20, **as_many)  # type: ignore[arg-type]
def test_with_a_store_in_sqlite(**story: Any) -> None:
    folder = tempfile.mkdtemp(dir=ROOM)

    def sqlite_store(site: Site) -> OrderedStore:
        broker = SqliteBroker(path=f"{folder}/results.db", io=site.io, clock=site.clock, namespace=site.namespace)
        return SqliteOrderedStore(broker)

    asyncio.run(tell(sqlite_store, **story))
    shutil.rmtree(folder)
