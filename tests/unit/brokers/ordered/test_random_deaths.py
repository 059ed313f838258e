"""Whatever happens in whatever order: what was accepted ends once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from dying_process import LEASE, Process, Site, redis_store
from hypothesis import given, settings
from hypothesis import strategies as st

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.contracts import CancelAnswer, OrderedStore
from heeler.errors import BrokerUnavailable
from heeler.model import Action, Delivery, Publication, Renewal, Settlement
from heeler.testing.conformance.worker import make_envelope, settlement, success
from services import forget_namespace, redis_url

WHO = st.integers(0, 1)
COMMANDS = st.one_of(
    st.tuples(st.just("publish"), WHO, st.sampled_from([0.0, 10.0, 100.0])),
    st.tuples(st.just("fetch"), WHO, st.integers(1, 3)),
    st.tuples(st.just("settle"), WHO, st.sampled_from(["end", "end and follow", "retry", "release", "bury"])),
    st.tuples(st.just("extend"), WHO, st.booleans()),
    st.tuples(st.just("cancel"), WHO, st.integers(0, 5)),
    st.tuples(st.just("lose the connection"), WHO, st.none()),
    st.tuples(st.just("advance"), WHO, st.sampled_from([1.0, LEASE / 2, LEASE + 1])),
    st.tuples(st.just("breaks"), WHO, st.tuples(st.integers(0, 4), st.booleans())),
    st.tuples(st.just("die"), WHO, st.none()),
)


class World:
    """Two processes that are replaced when they die, and what they were told."""

    def __init__(self, make_store: Callable[[Site], OrderedStore]) -> None:
        self.site = Site(make_store)
        self.processes: list[Process] = []
        self.held: list[list[Delivery]] = [[], []]
        self.published: list[str] = []
        self.accepted: set[str] = set()
        self.cancelled: set[str] = set()
        self.follow_ups = 0

    async def run(self, commands: list[tuple[str, int, Any]]) -> None:
        keeping = self.site.make_store()
        messages = await self.site.process()
        self.processes = [await self.site.process(), await self.site.process()]
        for name, who, detail in commands:
            try:
                await getattr(self, name.replace(" ", "_"))(who, detail)
            except BrokerUnavailable:
                await self.die(who, None)
        for who in (0, 1):
            await self.die(who, None)
        await self.site.work_off(rounds=12)
        await self.check()
        await self.site.close()
        del keeping, messages

    async def publish(self, who: int, delay: float) -> None:
        job = f"job {len(self.published)}"
        self.published.append(job)
        await self.processes[who].broker.publish(Publication(envelopes=(make_envelope(job, delay=delay),)))
        self.accepted.add(job)

    async def fetch(self, who: int, limit: int) -> None:
        self.held[who] += await self.processes[who].fetch(limit)

    async def settle(self, who: int, how: str) -> None:
        if self.held[who]:
            delivery = self.held[who].pop(0)
            await self.processes[who].broker.settle([self._settlement(delivery, how)])

    def _settlement(self, delivery: Delivery, how: str) -> Settlement:
        record = success(delivery.envelope)
        if how == "retry":
            return settlement(delivery, Action.RETRY, delay=5.0, attempts=delivery.attempts + 1)
        if how == "release":
            return settlement(delivery, Action.RELEASE)
        if how == "bury":
            return settlement(delivery, Action.DEAD_LETTER, record=record, reason="bad")
        if how == "end and follow":
            self.follow_ups += 1
            next_ = make_envelope(f"next of {delivery.envelope.id}")
            return settlement(delivery, record=record, follow_ups=Publication(envelopes=(next_,)))
        return settlement(delivery, record=record)

    async def extend(self, who: int, started: bool) -> None:
        renewals = [Renewal(delivery=delivery, started=started) for delivery in self.held[who]]
        answer = await self.processes[who].broker.extend(renewals, LEASE)
        self.held[who] = [delivery for delivery in self.held[who] if delivery.receipt.id not in answer.lost]

    async def cancel(self, who: int, number: int) -> None:
        store = self.processes[who].broker.store
        assert store is not None
        if number < len(self.published):
            [answer] = await store.cancel([self.published[number]])
            if answer is CancelAnswer.CANCELLED:
                self.cancelled.add(self.published[number])

    async def lose_the_connection(self, who: int, _: None) -> None:
        await self.processes[who].plain.lose_connection()

    async def advance(self, who: int, seconds: float) -> None:
        self.site.clock.advance(seconds)
        await asyncio.sleep(0)

    async def breaks(self, who: int, when: tuple[int, bool]) -> None:
        steps, after = when
        self.processes[who].fuse.set(steps, after=after)

    async def die(self, who: int, _: None) -> None:
        with contextlib.suppress(BrokerUnavailable):
            await self.processes[who].die()
        self.processes[who] = await self.site.process()
        self.held[who] = []

    async def check(self) -> None:
        ends = self.site.ledger.ends
        store = self.site.make_store()
        await store.open()
        assert all(count == 1 for count in ends.values()), ends
        for job in self.published:
            [record] = await store.get([job])
            if job in self.accepted:
                assert record is not None
            if record is not None:
                assert record.status.is_finished
                assert (job in ends) != (record.status == "CANCELLED")
            if job in self.cancelled:
                assert job not in ends
        assert await store.unsent(0.0) == []
        await store.close()
        process = await self.site.process()
        sizes = await process.plain.sizes(["default"])
        assert (sizes[0].waiting, sizes[0].scheduled, sizes[0].running) == (0, 0, 0)


def memory_store(site: Site) -> OrderedStore:
    return MemoryOrderedStore(clock=site.clock, namespace=site.namespace, name="shared")


@given(st.lists(COMMANDS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_accepted_jobs_end_once_and_nothing_is_left_behind(commands: list[tuple[str, int, Any]]) -> None:
    asyncio.run(World(memory_store).run(commands))


@given(st.lists(COMMANDS, max_size=40))
@settings(max_examples=40, deadline=None)
def test_the_same_with_redis_as_the_store(commands: list[tuple[str, int, Any]]) -> None:
    world = World(redis_store)
    asyncio.run(world.run(commands))
    forget_namespace(redis_url(), world.site.namespace)
