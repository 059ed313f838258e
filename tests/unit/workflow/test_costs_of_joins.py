"""What each call costs in a workflow of a thousand members and in one of eight thousand: the same."""

from __future__ import annotations

import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heeler import Heeler, TaskStatus, chord, group, workflow_sender
from heeler.brokers.memory import MemoryBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.sqlite import SqliteBroker
from heeler.clock import SystemClock, new_id
from heeler.codecs import Codecs
from heeler.contracts import Broker, QueueShare
from heeler.dag.place import decode_place
from heeler.dag.shape import Record, decode_record
from heeler.io_thread import IoThread
from heeler.model import RELAY_TASK, Action, ArrivalKind, Delivery, Publication, Settlement, arrivals_of
from heeler.testing.conformance.worker import settlement, success
from heeler.types import TypeRegistry
from heeler.url import BrokerUrl
from heeler.worker.completing import Completer
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.outcome import Skipped
from heeler.workflow_result import expire_workflow
from services import RedisServer

FEW, MANY = 1_000, 8_000


class Meter(ABC):
    """A broker, and what a call costs there, in a unit of its own."""

    def __init__(self) -> None:
        self.io = IoThread("heeler-costs")
        self.clock = SystemClock()

    @abstractmethod
    def make(self) -> Broker: ...

    @abstractmethod
    def spent(self) -> int:
        """All that was spent so far."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        self.io.close()


class Calls(Meter):
    """In memory: calls of Python functions and of builtins."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def make(self) -> Broker:
        return MemoryBroker(io=self.io, clock=self.clock, namespace=new_id())

    def spent(self) -> int:
        return self._calls

    @contextmanager
    def counting(self) -> Iterator[None]:
        def count(frame: Any, event: str, argument: Any) -> None:
            self._calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            yield
        finally:
            sys.setprofile(before)


class Operations(Meter):
    """In SQLite: tens of instructions of its virtual machine."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._path = str(folder / "jobs.db")
        self._operations = 0
        connect = sqlite3.connect

        def counted(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)
            connection.set_progress_handler(self._count, 10)
            return connection

        patch.setattr(sqlite3, "connect", counted)

    def _count(self) -> int:
        self._operations += 1
        return 0

    def make(self) -> Broker:
        return SqliteBroker(path=self._path, io=self.io, clock=self.clock, namespace="costs")

    def spent(self) -> int:
        return self._operations


class Commands(Meter):
    """On Redis: commands, those in scripts as well."""

    def __init__(self) -> None:
        super().__init__()
        self._server = RedisServer().start()
        self._client = self._server.client()

    def make(self) -> Broker:
        options = options_of(BrokerUrl.parse(self._server.url))
        return RedisBroker(options, io=self.io, clock=self.clock, namespace=new_id())

    def spent(self) -> int:
        stats = self._client.info("commandstats")
        costly = stats.keys() & {"cmdstat_smembers", "cmdstat_keys", "cmdstat_lrem"}
        assert not costly, "these take as long as there are members"
        return sum(figures["calls"] for name, figures in stats.items() if name not in ("cmdstat_info", "cmdstat_ping"))

    def close(self) -> None:
        super().close()
        self._client.close()
        self._server.close()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def meter(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    meter: Meter = {"memory": Calls, "sqlite": lambda: Operations(tmp_path, monkeypatch), "redis": Commands}[
        request.param
    ]()
    yield meter
    meter.close()


class Chord:
    """A chord of so many members, played step by step, and the most that each kind of call has cost."""

    def __init__(self, meter: Meter, members: int) -> None:
        self.costs: dict[str, int] = {}
        self._meter = meter
        self._members = members
        self._broker = meter.make()
        with Heeler("memory://") as app:
            member, body = app.task(lambda n: n, name="member"), app.task(lambda parts: None, name="body")
            part = chord(group([member.s(n) for n in range(members)]), body.s())
            prepared = part.prepare()
            self._id = prepared.result.id
            self._publications = prepared.publications

    async def _call(self, kind: str, call: Any) -> Any:
        before = self._meter.spent()
        with self._meter.counting():
            answer = await call
        self.costs[kind] = max(self.costs.get(kind, 0), self._meter.spent() - before)
        return answer

    async def play(self, *, fails: bool) -> dict[str, int]:
        await self._broker.open()
        try:
            await self._play(fails)
        finally:
            await self._broker.close()
        return self.costs

    async def _play(self, fails: bool) -> None:
        broker = self._broker
        for publication in self._publications:
            await self._publish(publication)
        subscription = await broker.subscribe([QueueShare("default")], 60.0, "w")
        held: list[Delivery] = []
        while len(held) < self._members:
            held += await subscription.fetch(500)
        first, *others, last = held
        if fails:
            record = success(first.envelope, status=TaskStatus.FAILED)
            failed = settlement(first, Action.DEAD_LETTER, record=record, arrivals=_arrivals(first, ArrivalKind.FAILED))
            await self._call("settle one that fails", broker.settle([failed]))
            for start in range(0, len(others), 500):
                await self._latches([first.envelope.scope or ""])
                some = others[start : start + 500]
                skipped = [decide(Skipped(), Facts(delivery, Policy(), "w", 1.0)) for delivery in some]
                if len(skipped) == 500:
                    await self._call("settle 500 that are skipped", broker.settle(skipped))
            return
        await self._call("settle one", broker.settle([_end(first)]))
        for start in range(0, len(others), 500):
            ends = [_end(delivery) for delivery in others[start : start + 500]]
            await (self._call("settle 500", broker.settle(ends)) if len(ends) == 500 else broker.settle(ends))
        await self._call("settle the last", broker.settle([_end(last)]))
        [body] = await self._call("fetch the body", subscription.fetch(500))
        await self._complete(body)
        await self._call("settle the body", broker.settle([_end(body)]))
        [over] = await subscription.fetch(500)
        assert over.envelope.task == RELAY_TASK
        await self._forget()

    async def _publish(self, publication: Publication) -> None:
        assert len(publication.envelopes) + len(publication.latches) <= workflow_sender.BATCH + 2
        await self._call("publish", self._broker.publish(publication))

    async def _latches(self, ids: list[str]) -> None:
        assert self._broker.store is not None
        [latch] = await self._call("ask whether it goes on", self._broker.store.latches(ids, with_data=False))
        assert latch.stopped

    async def _complete(self, body: Delivery) -> None:
        """The arguments of the body: its results are read in batches."""
        store = self._broker.store
        assert store is not None
        get = store.get

        async def counted(ids: Any) -> Any:
            assert len(ids) <= 500
            return await self._call("read a batch of results", get(ids))

        store.get = counted  # type: ignore[method-assign]
        completer = Completer(store, Codecs(TypeRegistry()), {}, {})
        place = decode_place(body.envelope.place)
        completed = await completer.complete(body.envelope, place, {})
        assert len(completed.body) > self._members
        del store.get  # type: ignore[method-assign]

    async def _forget(self) -> None:
        store = self._broker.store
        assert store is not None
        [root] = await store.latches([self._id])
        assert root is not None
        record: Record = decode_record(root.data)
        assert len(root.data) < 200, "what is stored of the whole does not grow"
        expire = store.expire

        async def counted(jobs: Any, latches: Any, seconds: float) -> None:
            assert len(jobs) <= 500
            assert len(latches) <= 500
            await self._call("keep a batch", expire(jobs, latches, seconds))

        store.expire = counted  # type: ignore[method-assign]
        await expire_workflow(store, self._id, record.shape, 60.0)


def _end(delivery: Delivery) -> Settlement:
    return settlement(
        delivery,
        record=success(delivery.envelope, content_type="application/msgpack"),
        arrivals=_arrivals(delivery, ArrivalKind.OK),
    )


def _arrivals(delivery: Delivery, kind: ArrivalKind) -> Any:
    return arrivals_of(delivery.envelope, kind)


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
async def test_no_call_costs_more_where_there_are_more_members(meter: Meter, fails: bool) -> None:
    few = await Chord(meter, FEW).play(fails=fails)
    many = await Chord(meter, MANY).play(fails=fails)
    print({kind: (cost, many[kind]) for kind, cost in few.items()})
    assert few.keys() == many.keys()
    for kind, cost in few.items():
        assert many[kind] <= 1.5 * cost + 100, f"{kind}: {cost} with {FEW} members, {many[kind]} with {MANY}"
