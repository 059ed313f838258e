"""One scheduler: it starts what is due when it is due, hears of changes, and asks for nothing in between."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from scheduler_site import Site

from heeler import Heeler
from heeler.contracts import QueueShare, ScheduleChange, Subscription
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.io_thread import IoThread
from heeler.model import Arrival, ArrivalKind, Delivery, Renewal
from heeler.scheduler.loop import SWEEP
from heeler.testing import ManualClock
from heeler.testing.conformance.worker import settlement, success
from heeler.testing.plain_memory import MemoryPlainBroker


async def test_a_job_is_started_at_each_time_under_an_id_of_its_own(site: Site) -> None:
    await site.schedules.aadd("tidy", site.work.s(7), every=10)
    await site.started()
    await site.advance(9.99)
    assert site.ids() == []
    await site.advance(0.01)
    assert site.ids() == ["tidy@2026-01-01T00:00:10Z"]
    await site.advance(10)
    assert site.times() == [10, 20]
    [job, _] = site.published()
    assert job.headers == {"heeler-schedule": "tidy", "heeler-scheduled-for": "2026-01-01T00:00:10+00:00"}
    assert job.enqueued_at == site.clock.time() - 10


async def test_options_of_the_call_are_those_of_the_job(site: Site) -> None:
    call = site.work.using(priority=7, queue_name="slow", headers={"a": "b"}, run_after=5, result_ttl=60).s(1)
    await site.schedules.aadd("tidy", call, every=10)
    await site.started()
    await site.advance(10)
    [record] = site.first.app.queues.list_jobs("scheduled", "slow")
    job = record.envelope
    assert (job.priority, job.delay, job.keep, job.headers["a"]) == (7, 5.0, 60.0, "b")
    assert record.next_at == site.clock.time() + 5


async def test_one_that_is_added_or_changed_elsewhere_is_heard_of(site: Site) -> None:
    await site.started()
    other = site.process()
    await other.app.schedules.aadd("tidy", other.app.tasks["work"], every=1)
    await site.settled()
    await site.advance(1)
    assert site.times() == [1]
    await other.app.schedules.apause("tidy")
    await site.advance(5)
    assert site.times() == [1]
    await other.app.schedules.aresume("tidy")
    await site.settled()
    await site.advance(1)
    assert site.times() == [1, 7]
    await other.app.schedules.aremove("tidy")
    await site.advance(5)
    assert site.times() == [1, 7]


async def test_it_asks_once_for_a_time_and_once_in_a_while(site: Site) -> None:
    """No polling: an hour with one schedule that is due at its end costs the sweeps and no more."""
    await site.schedules.aadd("tidy", site.work.s(), every=timedelta(hours=1))
    [process] = await site.started()
    asked = 0
    store = process.app.connections.broker.schedules
    assert store is not None
    due = store.due

    async def counted(limit: int) -> Any:
        nonlocal asked
        asked += 1
        return await due(limit)

    store.due = counted  # type: ignore[method-assign]
    for _ in range(3600):
        await site.advance(1)
    assert site.times() == [3600]
    assert asked <= 3600 / SWEEP + 3


async def test_a_hundred_thousand_that_are_not_due_are_never_read(site: Site) -> None:
    broker = site.first.app.connections.broker
    assert broker.schedules is not None
    await site.schedules.aadd("tidy", site.work.s(), every=10)
    [entry] = await broker.schedules.get(["tidy"])
    assert entry is not None
    later = [
        ScheduleChange(
            f"later {number}",
            None,
            msgspec.structs.replace(entry, name=f"later {number}", due_at=site.clock.time() + 1e6 + number),
        )
        for number in range(100_000)
    ]
    assert all(await broker.schedules.change(later))
    [process] = await site.started()
    store = process.app.connections.broker.schedules
    read: list[str] = []
    due = store.due  # type: ignore[union-attr]

    async def watched(limit: int) -> Any:
        answer = await due(limit)
        read.extend(one.name for one in answer.entries)
        return answer

    store.due = watched  # type: ignore[union-attr, method-assign]
    for _ in range(10):
        await site.advance(10)
    assert read == ["tidy"] * 10
    assert len(site.ids()) == 10


async def test_many_that_are_due_at_once_are_all_started(site: Site) -> None:
    for number in range(250):
        await site.schedules.aadd(f"s{number}", site.work.s(number), cron="0 0 * * *")
    await site.started()
    await site.advance(86400)
    assert len(set(site.ids())) == 250


async def test_what_was_missed_while_nobody_ran_is_made_up_for_as_asked(site: Site) -> None:
    for catch_up in ("none", "one", "all"):
        await site.schedules.aadd(catch_up, site.work.s(), every=60, catch_up=catch_up, catch_up_limit=3)
    await site.advance(600 + 30)
    await site.started()
    started = [id.partition("@")[0] for id in site.ids()]
    assert {name: started.count(name) for name in ("none", "one", "all")} == {"none": 0, "one": 1, "all": 3}
    assert sorted(time for time in site.times()) == [480, 540, 600, 600]
    await site.advance(30)
    assert site.times().count(660) == 3


class TestOverlap:
    @staticmethod
    async def _subscribe(site: Site) -> Subscription:
        return await site.first.app.connections.broker.subscribe([QueueShare("default")], 3600.0)

    @staticmethod
    async def _end(site: Site, delivery: Delivery) -> None:
        envelope = delivery.envelope
        arrivals = tuple(Arrival(member.latch, member.number, ArrivalKind.OK) for member in envelope.ends_at)
        broker = site.first.app.connections.broker
        await broker.settle([settlement(delivery, record=success(envelope), arrivals=arrivals)])

    async def test_allow_starts_each_time(self, site: Site) -> None:
        await site.schedules.aadd("tidy", site.work.s(), every=10)
        await site.started()
        await site.advance(10)
        await site.advance(10)
        assert site.times() == [10, 20]

    async def test_skip_starts_none_until_the_one_before_has_ended(self, site: Site) -> None:
        await site.schedules.aadd("tidy", site.work.s(), every=10, overlap="skip")
        await site.started()
        subscription = await self._subscribe(site)
        await site.advance(10)
        [first] = await subscription.fetch(10)
        await site.advance(10)
        assert site.ids() == []
        known = await site.schedules.aget("tidy")
        assert known is not None
        assert (known.last_outcome, known.runs) == ("skipped", 1)
        await self._end(site, first)
        await site.advance(10)
        assert site.times() == [30]

    async def test_queue_one_lets_one_wait_and_start_as_soon_as_the_other_has_ended(self, site: Site) -> None:
        await site.schedules.aadd("tidy", site.work.s(), every=10, overlap="queue_one")
        await site.started()
        subscription = await self._subscribe(site)
        await site.advance(10)
        [first] = await subscription.fetch(10)
        await site.advance(10)  # this one waits
        await site.advance(10)  # and this one is passed over
        assert site.ids() == []
        known = await site.schedules.aget("tidy")
        assert known is not None
        assert known.last_outcome == "skipped"
        await site.advance(1)
        await self._end(site, first)
        assert site.times() == [20], "it does not wait for a scheduler"
        [second] = await subscription.fetch(10)
        await site.advance(9)
        assert site.ids() == []
        known = await site.schedules.aget("tidy")
        assert known is not None
        assert (known.last_outcome, known.last_run) == ("queued", datetime(2026, 1, 1, 0, 0, 40, tzinfo=UTC))
        await self._end(site, second)
        assert site.times() == [40]

    async def test_queue_one_goes_on_after_one_that_was_cancelled(self, site: Site) -> None:
        await site.schedules.aadd("tidy", site.work.s(), every=10, overlap="queue_one")
        await site.started()
        await site.advance(10)
        await site.advance(10)
        assert site.times() == [10]
        store = site.first.app.connections.broker.store
        assert store is not None
        await store.cancel(site.ids())
        assert site.times() == [20]

    async def test_cancel_running_ends_the_one_before(self, site: Site) -> None:
        await site.schedules.aadd("tidy", site.work.s(), every=10, overlap="cancel_running")
        await site.started()
        await site.advance(10)
        await site.advance(10)
        assert site.times() == [20], "the one before had not started, so it is gone"
        subscription = await self._subscribe(site)
        [second] = await subscription.fetch(10)
        await site.advance(10)
        broker = site.first.app.connections.broker
        answer = await broker.extend([Renewal(delivery=second)], 30.0)
        assert answer.cancelled == {second.envelope.id}
        assert site.times() == [30]


async def test_one_that_cannot_be_started_does_not_hold_up_the_others(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    broker = site.first.app.connections.broker
    assert broker.schedules is not None
    for name in ("good", "bad"):
        await site.schedules.aadd(name, site.work.s(), every=10)
    [entry] = await broker.schedules.get(["bad"])
    assert entry is not None
    garbage = msgspec.structs.replace(entry, definition=b"\x01\xc1")
    assert await broker.schedules.change([ScheduleChange("bad", entry.state, garbage)]) == [True]
    with caplog.at_level(logging.ERROR):
        await site.started()
        for _ in range(3):
            await site.advance(10)
    assert site.times() == [10, 20, 30]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["schedule bad cannot be started, and is tried again in 30 s"]
    known = await site.schedules.aget("bad")
    assert known is not None
    assert known.state == "unreadable"
    assert [one.name for one in await site.schedules.alist()] == ["bad", "good"]
    assert await site.schedules.aremove("bad")


async def test_middleware_is_asked_for_each_job_and_told_once(site: Site) -> None:
    told = asyncio.Event()
    sent: list[str] = []

    class Stamp:
        def around_enqueue(self, message: Any, call_next: Any) -> Any:
            stamped = message.headers | {"stamp": f"{message.args} {message.kwargs}"}
            return call_next(msgspec.structs.replace(message, headers=stamped))

        def on_sent(self, sending: Any) -> None:
            sent.extend(job.id for job in sending.jobs)
            told.set()

    await site.schedules.aadd("tidy", site.work.s(7), every=10)
    process = site.process(middleware=[Stamp()])
    process.start()
    await site.settled()
    site.clock.advance(10)
    await asyncio.wait_for(told.wait(), 10)
    [job] = site.published()
    assert job.headers["stamp"] == "(7,) {}"
    assert sent == [job.id]


async def test_a_broker_that_is_away_is_waited_for(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.schedules.aadd("tidy", site.work.s(), every=10, catch_up="all")
    [process] = await site.started()
    broker = process.app.connections.broker
    publish = broker.publish
    away = True

    async def flaky(publication: Any) -> Any:
        if away:
            raise BrokerUnavailable("gone")
        return await publish(publication)

    broker.publish = flaky  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO):
        await site.advance(10)
        for _ in range(20):
            await site.advance(1)
        away = False
        await site.advance(1)
    assert site.times() == [10, 20, 30]
    told = [record.getMessage() for record in caplog.records if record.name == "heeler.scheduler"]
    assert len([text for text in told if "the broker is unavailable" in text]) >= 1


async def test_a_lost_reply_starts_nothing_twice(site: Site) -> None:
    await site.schedules.aadd("tidy", site.work.s(), every=10)
    [process] = await site.started()
    broker = process.app.connections.broker
    publish = broker.publish
    calls: list[Any] = []

    async def lossy(publication: Any) -> Any:
        calls.append(publication.call)
        answers = await publish(publication)
        if len(calls) == 1:
            raise BrokerUnavailable("the reply was lost", outcome_unknown=True)
        return answers

    broker.publish = lossy  # type: ignore[method-assign]
    await site.advance(10)
    await site.advance(1)
    assert site.times() == [10]
    assert len(calls) == 2
    assert calls[0] == calls[1]


async def test_a_time_whose_job_is_there_already_is_over(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.work.using(id="tidy@2026-01-01T00:00:10Z").aenqueue()
    await site.schedules.aadd("tidy", site.work.s(), every=10)
    await site.started()
    await site.advance(10)
    await site.advance(10)
    assert site.ids() == ["tidy@2026-01-01T00:00:10Z", "tidy@2026-01-01T00:00:20Z"]
    assert "there is a job tidy@2026-01-01T00:00:10Z already" in caplog.text


async def test_without_a_store_a_scheduler_is_refused() -> None:
    app = Heeler(broker=MemoryPlainBroker(io=IoThread(), clock=ManualClock(), namespace="x"))
    with pytest.raises(ConfigurationError, match="cannot keep schedules"):
        app.scheduler()
    with pytest.raises(ConfigurationError, match="cannot keep schedules"):
        app.schedules.list()
    app.worker()  # none of its code declares a schedule

    @app.schedule("@daily")
    @app.task(name="work")
    def work() -> None: ...

    with pytest.raises(ConfigurationError, match="cannot keep schedules"):
        app.worker(name="other")
    await app.aclose()
