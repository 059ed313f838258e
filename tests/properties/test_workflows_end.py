"""Random workflows under random crashes, duplicates, lost answers and late ends, on every broker: each job is let go
and ends once, each workflow ends, and how it ends is what a model says that knows nothing of all this.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.sqlite import SqliteBroker
from heeler.clock import new_id
from heeler.contracts import Broker
from heeler.io_thread import IoThread
from heeler.testing import ManualClock
from heeler.url import BrokerUrl
from services import forget_namespace, redis_url
from workflow_specs import Spec, specs
from workflow_world import OneBroker, World, Written

_MEMORY = Path("/dev/shm")
ROOM = _MEMORY if _MEMORY.is_dir() else None  # where there is one, a commit need not wait for a disk

stories = given(
    spec=specs(),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from([2, 5, 500]),
    dies_after=st.none() | st.none() | st.none() | st.integers(0, 4),
    from_dead_letters=st.booleans(),
)
as_many = {
    "deadline": None,
    "phases": [Phase.reuse, Phase.generate],  # Phase.shrink takes minutes: add it to look into a story that fails
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}


@asynccontextmanager
async def memory(io: IoThread, clock: ManualClock) -> AsyncIterator[Broker]:
    yield MemoryBroker(io=io, clock=clock, namespace="story")


@asynccontextmanager
async def sqlite(io: IoThread, clock: ManualClock) -> AsyncIterator[Broker]:
    folder = tempfile.mkdtemp(dir=ROOM)
    yield SqliteBroker(path=f"{folder}/jobs.db", io=io, clock=clock, namespace="story")
    shutil.rmtree(folder)


@asynccontextmanager
async def redis(io: IoThread, clock: ManualClock) -> AsyncIterator[Broker]:
    namespace = f"story-{new_id()}"
    yield RedisBroker(
        options_of(BrokerUrl.parse(redis_url())), io=io, clock=clock, namespace=namespace, time_from=clock
    )
    forget_namespace(redis_url(), namespace)


async def tell(
    make: Callable[[IoThread, ManualClock], object],
    spec: Spec,
    seed: int,
    batch: int,
    dies_after: int | None,
    from_dead_letters: bool,
) -> None:
    written = Written(spec, batch)
    clock = ManualClock()
    io = IoThread("heeler-stories")
    async with make(io, clock) as broker:  # type: ignore[attr-defined]
        await broker.open()
        if dies_after is not None and dies_after >= len(written.publications):
            dies_after = None
        world = World(written, clock, random.Random(seed), OneBroker(broker))
        try:
            await world.live(dies_after)
            await world.check()
            await world.redrive_and_check(from_dead_letters=from_dead_letters)
            await world.forget_and_check()
        finally:
            await broker.close()
            io.close()


@stories
@settings(max_examples=80, **as_many)  # type: ignore[arg-type]
def test_in_memory(**story: object) -> None:
    asyncio.run(tell(memory, **story))  # type: ignore[arg-type]


@stories
@settings(max_examples=30, **as_many)  # type: ignore[arg-type]
def test_in_sqlite(**story: object) -> None:
    asyncio.run(tell(sqlite, **story))  # type: ignore[arg-type]


@stories
@settings(max_examples=30, **as_many)  # type: ignore[arg-type]
def test_in_redis(**story: object) -> None:
    asyncio.run(tell(redis, **story))  # type: ignore[arg-type]
