"""A process may die between any two steps, or before it hears the answer: nothing is lost, no end counts twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from dying_process import LEASE, Process, Site, redis_store

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.sqlite import SqliteBroker
from heeler.brokers.sqlite.ordered_store import SqliteOrderedStore
from heeler.contracts import OrderedStore
from heeler.errors import BrokerUnavailable
from heeler.model import (
    Action,
    Arrival,
    ArrivalKind,
    Delivery,
    Guard,
    Latch,
    LatchRule,
    Member,
    Publication,
    Settlement,
    TaskStatus,
)
from heeler.testing.conformance.worker import make_envelope, settlement, success
from services import forget_namespace, redis_url

MOST_STEPS = 12


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    def make_store(site: Site) -> OrderedStore:
        if request.param == "memory":
            return MemoryOrderedStore(clock=site.clock, namespace=site.namespace, name="shared")
        if request.param == "redis":
            return redis_store(site)
        broker = SqliteBroker(
            path=tmp_path / "results.db",
            io=site.io,
            clock=site.clock,
            namespace=site.namespace,
            synchronous="normal",
        )
        return SqliteOrderedStore(broker)

    site = Site(make_store)
    keeping = site.make_store()  # so that the shared memory outlives each process
    messages = (await site.process()).plain
    yield site
    await site.close()
    forget_namespace(redis_url(), site.namespace)
    del keeping, messages


async def _publish(site: Site, *jobs: str, latches: tuple[Latch, ...] = ()) -> None:
    process = await site.process()
    await process.broker.publish(Publication(envelopes=tuple(make_envelope(job) for job in jobs), latches=latches))
    await process.die()


async def _end_with_all_that_follows(site: Site, process: Process) -> None:
    [delivery] = await process.fetch()
    await process.broker.settle([site.settlement(delivery)])


def _with_follow_up_and_arrival(delivery: Delivery) -> Settlement:
    return settlement(
        delivery,
        record=success(delivery.envelope),
        follow_ups=Publication(envelopes=(make_envelope("next"), make_envelope("later", delay=3.0))),
        arrivals=(Arrival("latch", 0, ArrivalKind.OK),),
    )


@pytest.mark.parametrize("after", [False, True], ids=["before a step", "before its answer"])
@pytest.mark.parametrize("steps", range(MOST_STEPS))
class TestAProcessThatDies:
    async def test_while_it_ends_a_job_from_which_others_follow(self, site: Site, steps: int, after: bool) -> None:
        latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=1, envelope=make_envelope("body"))
        await _publish(site, "job", latches=(latch,))
        site.how["job"] = _with_follow_up_and_arrival
        await _dies(site, steps, after, _end_with_all_that_follows)
        await site.work_off()
        assert site.ledger.ends == {"job": 1, "next": 1, "later": 1, "body": 1}

    async def test_while_it_sends_a_job_to_its_retry(self, site: Site, steps: int, after: bool) -> None:
        await _publish(site, "job")

        def twice(delivery: Delivery) -> Settlement:
            if delivery.attempts:
                return settlement(delivery, record=success(delivery.envelope, attempts=2))
            return settlement(delivery, Action.RETRY, delay=5.0, attempts=1, note=b"once")

        site.how["job"] = twice
        await _dies(site, steps, after, _end_with_all_that_follows)
        ran = await site.work_off()
        assert site.ledger.ends == {"job": 1}
        assert (ran[-1].attempts, ran[-1].note) == (1, b"once")

    async def test_while_it_gives_a_job_back(self, site: Site, steps: int, after: bool) -> None:
        await _publish(site, "job")
        site.how["job"] = lambda delivery: settlement(delivery, Action.RELEASE)
        await _dies(site, steps, after, _end_with_all_that_follows)
        del site.how["job"]
        await site.work_off()
        assert site.ledger.ends == {"job": 1}

    async def test_while_it_parks_a_dead_letter(self, site: Site, steps: int, after: bool) -> None:
        await _publish(site, "job")
        site.how["job"] = lambda delivery: settlement(
            delivery,
            Action.DEAD_LETTER,
            record=success(delivery.envelope, status=TaskStatus.FAILED),
            reason="bad",
        )
        await _dies(site, steps, after, _end_with_all_that_follows)
        await site.work_off()
        assert site.ledger.ends == {"job": 1}
        process = await site.process()
        assert [letter.reason for letter in await process.broker.admin.dead_letters()] == ["bad"]

    async def test_while_it_redrives_a_dead_letter(self, site: Site, steps: int, after: bool) -> None:
        await _publish(site, "job")
        process = await site.process()
        [delivery] = await process.fetch()
        await process.broker.settle([settlement(delivery, Action.DEAD_LETTER, reason="bad")])

        async def redrive(site: Site, process: Process) -> None:
            assert await process.broker.admin.redrive() == 1

        done = await _dies(site, steps, after, redrive)
        await site.work_off()
        redriven = site.ledger.ends["job"] == 2  # it died once, then it succeeded
        left = await (await site.process()).broker.admin.dead_letters()
        assert redriven or (not done and [letter.id for letter in left] == ["job"])

    async def test_while_it_publishes(self, site: Site, steps: int, after: bool) -> None:
        async def publish(site: Site, process: Process) -> None:
            latch = Latch(id="none", rule=LatchRule.ALL_OK, total=0, envelope=make_envelope("body"))
            envelopes = (make_envelope("a"), make_envelope("b", delay=5.0))
            guard = Guard("cell", None, b"1")
            await process.broker.publish(Publication(envelopes=envelopes, latches=(latch,), guard=guard))

        done = await _dies(site, steps, after, publish)
        await site.work_off()
        assert site.ledger.ends in [{"a": 1, "b": 1, "body": 1}, *([] if done else [{}])]

    async def test_while_it_cancels_the_member_of_a_latch(self, site: Site, steps: int, after: bool) -> None:
        latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=1, on_break=make_envelope("broken"))
        member = make_envelope("member", ends_at=(Member("latch", 0),), delay=60.0)
        setter = await site.process()
        await setter.broker.publish(Publication(envelopes=(member,), latches=(latch,)))

        async def cancel(site: Site, process: Process) -> None:
            await process.broker.store.cancel(["member"])

        done = await _dies(site, steps, after, cancel)
        await site.work_off()
        assert site.ledger.ends in [{"broken": 1}, *([] if done else [{"member": 1}])]

    async def test_while_it_purges(self, site: Site, steps: int, after: bool) -> None:
        latch = Latch(id="latch", rule=LatchRule.ALL_ENDED, total=2, envelope=make_envelope("body"))
        members = tuple(make_envelope(name, ends_at=(Member("latch", place),)) for place, name in enumerate("ab"))
        setter = await site.process()
        await setter.broker.publish(Publication(envelopes=members, latches=(latch,)))
        for place, name in enumerate("ab"):
            site.how[name] = lambda delivery, place=place: settlement(
                delivery, record=success(delivery.envelope), arrivals=(Arrival("latch", place, ArrivalKind.OK),)
            )

        async def purge(site: Site, process: Process) -> None:
            assert await process.broker.admin.purge("default") == 2

        done = await _dies(site, steps, after, purge)
        await site.work_off()
        assert site.ledger.ends in [{"body": 1}, *([] if done else [{"a": 1, "b": 1, "body": 1}])]

    async def test_while_it_does_what_another_left_undone(self, site: Site, steps: int, after: bool) -> None:
        await _publish(site, "job")
        site.how["job"] = lambda delivery: settlement(
            delivery, record=success(delivery.envelope), follow_ups=Publication(envelopes=(make_envelope("next"),))
        )
        await _dies(site, 2, True, _end_with_all_that_follows)  # the end is taken down, nothing else is done

        async def repair(site: Site, process: Process) -> None:
            site.clock.advance(LEASE + 1)
            await process.broker._upkeep.send_unsent()
            for delivery in await process.fetch():
                await process.broker.settle([site.settlement(delivery)])

        await _dies(site, steps, after, repair)
        await site.work_off()
        assert site.ledger.ends == {"job": 1, "next": 1}


async def _dies(site: Site, steps: int, after: bool, what: Callable[[Site, Process], Awaitable[None]]) -> bool:
    """Let a process do something and die on that step; whether it had been done by then."""
    process = await site.process()
    process.fuse.set(steps, after=after)
    try:
        await what(site, process)
    except BrokerUnavailable:
        done = False
    else:
        done = True
    await process.die()
    return done
