"""Who is there, and words that reach workers at once."""

from __future__ import annotations

import asyncio
from typing import Any

from heeler.contracts import CommandInbox, ControlChannel, EventInbox
from heeler.model import Command, Event, EventBatch, RunningJob, WorkerPresence
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE

__all__ = ["TestCommandsReachWorkers", "TestEventsReachWhoFollows", "TestWorkersAnnounceThemselves"]


async def _control(harness: Harness) -> ControlChannel:
    control = (await harness.open()).control
    assert control is not None, "these suites are for brokers that have a control channel"
    return control


def _presence(id: str, **fields: Any) -> WorkerPresence:
    given: dict[str, Any] = {
        "name": f"name of {id}",
        "host": "host",
        "pid": 1,
        "queues": ("default",),
        "tasks": ("suite.work",),
        "version": "1",
        "started_at": 5.0,
    }
    return WorkerPresence(id=id, **{**given, **fields})


async def _received(inbox: CommandInbox) -> list[Command]:
    return await asyncio.wait_for(inbox.receive(), PATIENCE)


class TestWorkersAnnounceThemselves(Suite):
    async def test_an_announced_worker_is_live_until_its_time_is_over(self, harness: Harness) -> None:
        here, there = await _control(harness), await _control(harness)
        await here.announce(_presence("a", ttl=30.0, running=2, state="quiet"))
        await here.announce(_presence("b", ttl=60.0))
        [a, b] = sorted(await there.live(), key=lambda worker: worker.id)
        assert (a.id, a.name, a.queues, a.tasks, a.running, a.state) == (
            "a",
            "name of a",
            ("default",),
            ("suite.work",),
            2,
            "quiet",
        )
        assert abs(a.at - harness.clock.time()) < 1.0
        assert b.id == "b"
        await harness.advance(31)
        assert [worker.id for worker in await there.live()] == ["b"]

    async def test_what_a_worker_says_of_its_running_jobs_arrives(self, harness: Harness) -> None:
        control = await _control(harness)
        jobs = (RunningJob(id="x", task="suite.work", queue="default", attempt=2, age=1.5, fraction=0.5, message="…"),)
        await control.announce(_presence("a", jobs=jobs, ended=7, rate=0.25, memory=1 << 40, state="stopping"))
        [a] = await control.live()
        assert (a.jobs, a.ended, a.rate, a.memory, a.state) == (jobs, 7, 0.25, 1 << 40, "stopping")

    async def test_announcing_again_renews_and_replaces(self, harness: Harness) -> None:
        control = await _control(harness)
        await control.announce(_presence("a", ttl=30.0))
        await harness.advance(20)
        await control.announce(_presence("a", ttl=30.0, running=7))
        await harness.advance(20)
        assert [worker.running for worker in await control.live()] == [7]

    async def test_who_withdraws_is_gone_at_once(self, harness: Harness) -> None:
        control = await _control(harness)
        await control.announce(_presence("a"))
        await control.withdraw("a")
        await control.withdraw("nobody")
        assert await control.live() == []


class TestCommandsReachWorkers(Suite):
    async def test_a_command_for_all_reaches_all(self, harness: Harness) -> None:
        here, there = await _control(harness), await _control(harness)
        inboxes = [await here.commands("a"), await there.commands("b")]
        command = Command(kind="cancel", ids=("x", "y"))
        await there.send(command)
        for inbox in inboxes:
            assert await _received(inbox) == [command]
            await inbox.close()

    async def test_a_command_for_some_reaches_those_by_id_or_by_name(self, harness: Harness) -> None:
        control = await _control(harness)
        for id_ in ("a", "b"):
            await control.announce(_presence(id_))
        a, b = await control.commands("a"), await control.commands("b")
        await control.send(Command(kind="stop", workers=("b",)))
        await control.send(Command(kind="quiet", workers=("name of a",)))
        assert [command.kind for command in await _received(a)] == ["quiet"]
        assert [command.kind for command in await _received(b)] == ["stop"]
        await a.close()
        await b.close()

    async def test_a_cancelled_wait_loses_no_command(self, harness: Harness) -> None:
        control = await _control(harness)
        inbox = await control.commands("a")
        waiting = asyncio.create_task(inbox.receive())
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        await control.send(Command(kind="quiet"))
        assert [command.kind for command in await _received(inbox)] == ["quiet"]
        await inbox.close()

    async def test_a_command_after_its_inbox_is_closed_hinders_nobody(self, harness: Harness) -> None:
        control = await _control(harness)
        await (await control.commands("a")).close()
        await control.send(Command(kind="quiet"))


def _events(first: int, *messages: str, source: str = "s") -> EventBatch:
    return EventBatch(source, first, tuple(Event("error", 5.0, message=message) for message in messages))


async def _heard(inbox: EventInbox, count: int = 1) -> list[EventBatch]:
    batches: list[EventBatch] = []
    async with asyncio.timeout(PATIENCE):
        while len(batches) < count:
            batches += await inbox.receive()
    return batches


class TestEventsReachWhoFollows(Suite):
    async def test_what_is_told_reaches_all_who_follow(self, harness: Harness) -> None:
        here, there = await _control(harness), await _control(harness)
        inboxes = [await here.follow(), await there.follow()]
        assert await here.is_followed()
        assert await there.is_followed()
        event = Event("job.failed", 5.0, "default", "suite.work", "x", "w", 2, "bad ✗", "ValueError", 0.5, 9.0, 1.5)
        batch = EventBatch("s", 7, (event, Event("worker.stopped", 6.0, worker="w")))
        assert await there.tell(batch)
        for inbox in inboxes:
            assert await _heard(inbox) == [batch]
            await inbox.close()

    async def test_nobody_hears_what_is_told_when_nobody_follows(self, harness: Harness) -> None:
        here, there = await _control(harness), await _control(harness)
        assert not await here.is_followed()
        assert not await here.tell(_events(1, "unheard"))
        inbox = await there.follow()
        assert await here.tell(_events(2, "heard"))
        assert await _heard(inbox) == [_events(2, "heard")]
        await inbox.close()
        await inbox.close()
        assert not await here.is_followed()
        assert not await here.tell(_events(3, "unheard"))

    async def test_batches_of_one_source_come_in_order(self, harness: Harness) -> None:
        here, there = await _control(harness), await _control(harness)
        inbox = await there.follow()
        told = [_events(number * 100 + 1, *(f"{number}.{n}" for n in range(100))) for number in range(20)]
        for batch in told:
            assert await here.tell(batch)
        assert await _heard(inbox, 20) == told
        await inbox.close()

    async def test_a_cancelled_wait_loses_no_event(self, harness: Harness) -> None:
        control = await _control(harness)
        inbox = await control.follow()
        waiting = asyncio.create_task(inbox.receive())
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        await control.tell(_events(1, "one"))
        assert await _heard(inbox) == [_events(1, "one")]
        await inbox.close()
