"""The order of the steps, and what the composition does where its two halves disagree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from dying_process import LEASE, Process, Site

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.contracts import CancelAnswer, OrderedStore
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.model import (
    Action,
    Publication,
    PublishAnswer,
    Renewal,
    RunReport,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.conformance.worker import make_envelope, settlement, success

FOLLOW_UPS = Publication(envelopes=(make_envelope("next"),))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    def make_store(site: Site) -> OrderedStore:
        return MemoryOrderedStore(clock=site.clock, namespace=site.namespace, name="shared")

    site = Site(make_store)
    keeping = site.make_store(), (await site.process()).plain
    yield site
    await site.close()
    del keeping


async def _publish(process: Process, *jobs: str, **fields: object) -> None:
    await process.broker.publish(Publication(envelopes=tuple(make_envelope(job, **fields) for job in jobs)))


async def _in_hand(process: Process) -> tuple[int, int]:
    """How many messages wait, and how many are in somebody's hands."""
    [size] = await process.plain.sizes(["default"])
    return size.waiting, size.running


class TestTheStepsComeInTheirOrder:
    async def test_of_a_publication(self, site: Site) -> None:
        process = await site.process()
        await _publish(process, "job")
        await process.settle_down()
        assert process.fuse.steps == ["reserve", "publish", "clear"]

    async def test_of_a_first_run(self, site: Site) -> None:
        await _publish(await site.process(), "job")
        process = await site.process()
        [delivery] = await process.fetch()
        await process.broker.settle([settlement(delivery, follow_ups=FOLLOW_UPS)])
        await process.settle_down()
        assert process.fuse.steps == ["fetch", "begin", "apply", "publish", "acknowledge", "clear"]

    async def test_of_a_dead_letter(self, site: Site) -> None:
        await _publish(await site.process(), "job")
        process = await site.process()
        [delivery] = await process.fetch()
        await process.broker.settle([settlement(delivery, Action.DEAD_LETTER, reason="bad")])
        await process.settle_down()
        assert process.fuse.steps == ["fetch", "begin", "apply", "put", "acknowledge", "clear"]

    async def test_of_a_run_that_had_ended(self, site: Site) -> None:
        dying = await site.process()
        await _publish(dying, "job")
        [delivery] = await dying.fetch()
        dying.fuse.set(0, after=True)
        with pytest.raises(BrokerUnavailable):
            await dying.broker.settle([settlement(delivery, follow_ups=FOLLOW_UPS)])
        await dying.die()
        process = await site.process()
        assert await process.fetch() == []
        await process.settle_down()
        assert process.fuse.steps == ["fetch", "begin", "publish", "acknowledge", "clear"]
        assert [delivery.envelope.id for delivery in await process.fetch()] == ["next"]


class TestALostConnection:
    async def test_a_run_goes_on_here_and_its_end_acknowledges_the_message_that_came_again(self, site: Site) -> None:
        process = await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        await process.plain.lose_connection()
        assert await process.fetch() == []
        assert await _in_hand(process) == (0, 1)
        [answer] = await process.broker.settle([settlement(delivery)])
        assert answer.answer is SettleAnswer.ACCEPTED
        assert await _in_hand(process) == (0, 0)

    async def test_nobody_else_gets_a_run_that_is_renewed_until_its_lease_is_over(self, site: Site) -> None:
        process, other = await site.process(), await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        await process.broker.extend([Renewal(delivery=delivery)], LEASE)
        await process.plain.lose_connection()
        assert await other.fetch() == []
        site.clock.advance(LEASE / 2)
        assert await other.fetch() == []
        site.clock.advance(LEASE / 2)
        [again] = await other.fetch()
        assert (again.receipt.epoch, again.suspect) == (2, True)
        assert (await process.broker.extend([Renewal(delivery=delivery)], LEASE)).lost == {"job"}

    async def test_who_waits_for_a_held_run_is_rid_of_it_when_it_ends(self, site: Site) -> None:
        process, other = await site.process(), await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        await process.broker.extend([Renewal(delivery=delivery)], LEASE)
        await process.plain.lose_connection()
        assert await other.fetch() == []
        await process.broker.settle([settlement(delivery)])
        site.clock.advance(LEASE)
        assert await other.fetch() == []
        assert await _in_hand(other) == (0, 0)


class TestWhileARunIsSettled:
    """Its messages are in the hands of who settles it: whatever else happens, they are acknowledged or go back once."""

    async def test_they_do_not_go_back_when_its_lease_is_found_lost(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        gate = _Gate(process.plain.publish)
        monkeypatch.setattr(process.plain, "publish", gate)
        settling = asyncio.create_task(process.broker.settle([settlement(delivery, Action.RETRY, delay=50.0)]))
        await gate.reached.wait()
        assert (await process.broker.extend([Renewal(delivery=delivery)], LEASE)).lost == {"job"}
        gate.open.set()
        await settling
        assert process.fuse.steps.count("acknowledge") == 1
        assert "give_back" not in process.fuse.steps

    async def test_they_go_back_later_if_the_settling_fails_and_the_lease_was_lost(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        gate = _Gate(process.plain.publish, BrokerUnavailable("there is no answer"))
        monkeypatch.setattr(process.plain, "publish", gate)
        settling = asyncio.create_task(process.broker.settle([settlement(delivery, Action.RETRY, delay=50.0)]))
        await gate.reached.wait()
        assert (await process.broker.extend([Renewal(delivery=delivery)], LEASE)).lost == {"job"}
        gate.open.set()
        with pytest.raises(BrokerUnavailable):
            await settling
        monkeypatch.undo()
        assert await _in_hand(process) == (0, 1)
        assert await process.fetch() == []  # it went back, came again, and what was left undone is done
        [size] = await process.plain.sizes(["default"])
        assert (size.waiting, size.running, size.scheduled) == (0, 0, 1)

    async def test_one_that_comes_again_meanwhile_is_acknowledged_as_well(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        store = process.broker.results._inner  # type: ignore[attr-defined]
        gate = _Gate(store.apply)
        monkeypatch.setattr(store, "apply", gate)
        settling = asyncio.create_task(process.broker.settle([settlement(delivery)]))
        await gate.reached.wait()
        await process.plain.lose_connection()
        assert await process.fetch() == []
        assert await _in_hand(process) == (0, 1)
        gate.open.set()
        await settling
        assert await _in_hand(process) == (0, 0)


class _Gate:
    """A step that waits until it may go on, and then goes on or fails."""

    def __init__(self, step: Callable[..., Awaitable[Any]], fault: Exception | None = None) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._step = step
        self._fault = fault

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.open.wait()
        if self._fault is not None:
            raise self._fault
        return await self._step(*args, **kwargs)


class TestWhatIsLostIsFoundOutByItsMessage:
    async def test_a_run_whose_job_was_cancelled_leaves_nothing_in_hand(self, site: Site) -> None:
        process = await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        assert process.broker.store is not None
        assert await process.broker.store.cancel(["job"]) == [CancelAnswer.CANCELLED]
        [answer] = await process.broker.settle([settlement(delivery, follow_ups=FOLLOW_UPS)])
        assert answer.answer is SettleAnswer.LOST
        assert await process.fetch() == []
        assert await _in_hand(process) == (0, 0)

    async def test_an_end_that_came_after_the_lease_is_remembered_until_the_message_comes_again(
        self, site: Site
    ) -> None:
        process = await site.process()
        await _publish(process, "job", keep=1.0)
        [delivery] = await process.fetch()
        site.clock.advance(LEASE + 1)
        await process.broker._upkeep.give_back_expired()
        [answer] = await process.broker.settle([settlement(delivery, record=success(delivery.envelope))])
        assert answer.answer is SettleAnswer.ACCEPTED
        await process.settle_down()
        site.clock.advance(86400)
        await _publish(process, "other")  # what is over is freed on this occasion
        assert [delivery.envelope.id for delivery in await process.fetch()] == ["other"]

    async def test_a_job_that_was_cancelled_for_a_late_time_never_runs(self, site: Site) -> None:
        process = await site.process()
        await _publish(process, "job", delay=10 * 86400.0, keep=1.0)
        assert process.broker.store is not None
        assert await process.broker.store.cancel(["job"]) == [CancelAnswer.CANCELLED]
        for _ in range(11):
            site.clock.advance(86400)
            await _publish(process, f"other {site.clock.time()}", queue="elsewhere")
        assert await process.fetch() == []
        assert await _in_hand(process) == (0, 0)


class TestAStoreThatIsDown:
    async def test_messages_stay_here_and_are_asked_about_again(self, site: Site) -> None:
        process = await site.process()
        await _publish(process, "job")
        process.fuse.break_steps("begin")
        with pytest.raises(BrokerUnavailable):
            await process.fetch()
        assert await _in_hand(process) == (0, 1)
        process.fuse.break_steps()
        assert [delivery.envelope.id for delivery in await process.fetch()] == ["job"]

    async def test_what_is_extended_in_vain_is_not_given_to_others(self, site: Site) -> None:
        process, other = await site.process(), await site.process()
        await _publish(process, "job")
        [delivery] = await process.fetch()
        process.fuse.break_steps("renew", "apply")
        for _ in range(4):
            site.clock.advance(LEASE * 0.9)
            with pytest.raises(BrokerUnavailable):
                await process.broker.extend([Renewal(delivery=delivery)], LEASE)
            with pytest.raises(BrokerUnavailable):
                await process.broker.settle([settlement(delivery)])
            await process.broker._upkeep.give_back_expired()
            assert await other.fetch() == []
        process.fuse.break_steps()
        [answer] = await process.broker.settle([settlement(delivery)])
        assert answer.answer is SettleAnswer.ACCEPTED
        assert await _in_hand(process) == (0, 0)

    async def test_what_was_not_asked_about_yet_goes_back_untouched(self, site: Site) -> None:
        process, other = await site.process(), await site.process()
        await _publish(process, "job")
        process.fuse.break_steps("begin")
        with pytest.raises(BrokerUnavailable):
            await process.fetch()
        assert process.subscription is not None
        await process.subscription.quiet()
        [delivery] = await other.fetch()
        assert (delivery.receipt.epoch, delivery.suspect) == (1, False)


class TestMessagesThatReachNoQueue:
    async def test_a_publication_is_refused_with_the_reason_and_the_id_is_free(self, site: Site) -> None:
        process = await site.process()
        process.plain.queues = frozenset({"default"})
        fitting, lost = make_envelope("a"), make_envelope("b", queue="nowhere")
        answers = await process.broker.publish(Publication(envelopes=(fitting, lost)))
        assert [answer.answer for answer in answers] == [PublishAnswer.ACCEPTED, PublishAnswer.REFUSED]
        assert "'nowhere'" in answers[1].reason
        process.plain.queues = None
        [answer] = await process.broker.publish(Publication(envelopes=(lost,)))
        assert answer.answer is PublishAnswer.ACCEPTED

    async def test_a_follow_up_becomes_a_dead_letter_and_its_job_is_over(self, site: Site) -> None:
        process = await site.process()
        process.plain.queues = frozenset({"default"})
        await _publish(process, "job")
        [delivery] = await process.fetch()
        follow_ups = Publication(envelopes=(make_envelope("lost", queue="nowhere"),))
        [answer] = await process.broker.settle([settlement(delivery, follow_ups=follow_ups)])
        assert answer.answer is SettleAnswer.ACCEPTED
        letter = await process.broker.admin.dead_letter("lost")
        assert letter is not None
        assert "'nowhere'" in letter.reason
        assert process.broker.store is not None
        [record] = await process.broker.store.get(["lost"])
        assert record is not None
        assert record.status is TaskStatus.CANCELLED


async def test_what_runs_already_is_not_sent_again(site: Site) -> None:
    dying, process = await site.process(), await site.process()
    dying.fuse.set(2)  # it dies before it can clear what it has sent
    await _publish(dying, "begun", "ended", "waits")
    await dying.die()
    begun, ended, waits = await process.fetch()
    report = RunReport(started_at=1.0)
    await process.broker.extend([Renewal(delivery=begun, report=report)], LEASE)
    await process.broker.settle([settlement(ended)])
    site.clock.advance(LEASE)
    await process.broker.extend([Renewal(delivery=begun)], LEASE)
    [unsent] = await site.make_store().unsent(LEASE)
    assert [message.envelope.id for message in unsent.messages] == [waits.envelope.id]


async def test_what_waits_cannot_be_listed_and_the_error_says_why(site: Site) -> None:
    admin = (await site.process()).broker.admin
    with pytest.raises(ConfigurationError, match="cannot list waiting jobs"):
        await admin.peek("default")
    with pytest.raises(ConfigurationError, match="cannot purge the scheduled jobs of default"):
        await admin.purge("default", scheduled=True)


async def test_a_message_that_the_store_does_not_know_runs_as_it_says(site: Site) -> None:
    process = await site.process()
    await _publish(process, "job", expires_at=site.clock.time() + 50)
    site.make_store()._state.carried.drop("job")  # as if somebody had emptied it
    [delivery] = await process.fetch()
    assert (delivery.receipt.epoch, delivery.expires_at) == (1, site.clock.time() + 50)
    [answer] = await process.broker.settle([settlement(delivery, record=success(delivery.envelope))])
    assert answer.answer is SettleAnswer.ACCEPTED
    [again] = await process.broker.settle([settlement(delivery)])
    assert again.answer is SettleAnswer.LOST
