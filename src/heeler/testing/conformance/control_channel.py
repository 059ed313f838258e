"""Who is there, and words that reach workers at once."""

from __future__ import annotations

import asyncio
from typing import Any

from heeler.contracts import CommandInbox, ControlChannel
from heeler.model import Command, WorkerPresence
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE

__all__ = ["TestCommandsReachWorkers", "TestWorkersAnnounceThemselves"]


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
