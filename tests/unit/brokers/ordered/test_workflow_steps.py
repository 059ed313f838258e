"""Workflows whose processes die between any two of the ordered steps: each job of theirs ends once all the same."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from dying_process import LEASE, Process, Site, redis_store

from heeler import Heeler, Workflow, chain, chord, group
from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.sqlite import SqliteBroker
from heeler.brokers.sqlite.ordered_store import SqliteOrderedStore
from heeler.clock import SystemClock, new_id
from heeler.contracts import OrderedStore
from heeler.errors import BrokerUnavailable
from heeler.io_thread import IoThread
from heeler.model import Delivery, ErrorRecord, Publication, Settlement
from heeler.testing.plain_memory import MemoryPlainBroker
from heeler.worker.completing import Completer
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.outcome import Raised, Returned
from heeler.worker.placed_runs import PlacedRuns
from heeler.worker.run import Run
from services import forget_namespace, redis_url

SHAPES = {  # the jobs that run: steps, members and nodes by their places, callbacks, and after a colon relays
    "chain": "w/0 w/1 w/2 w:end>0 w/t0 w/t1 w:over",
    "failing chain": "w/0 w/1 w:broken w/c0",
    "chord": "w/0/0 w/0/1/0 w/0/1/1 w/1 w/t0 w:over",
    "failing chord": "w/0/0 w/0/1 w/0/2 w:broken w:catch>0 w/c0 w/c1",
    "graph": "w/0 w/1 w/2:in>0 w/2/0 w/2/1 w/2:all w/3 w:all w/t0 w:over",
}
STORES = [(store, shape) for store in ("memory", "redis") for shape in SHAPES] + [("sqlite", "chord")]


@pytest.fixture(scope="module")
def app() -> Iterator[Heeler]:
    """Only draws the workflows: what it is connected to is never opened."""
    plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())
    with Heeler(broker=plain, results="memory://") as app:
        for name in ("a", "b", "bad", "body", "then", "catch"):
            app.declare(name)
        yield app


def drawn(app: Heeler, shape: str) -> Sequence[Publication]:
    a, b, bad, body, then, catch = (app.tasks[name] for name in ("a", "b", "bad", "body", "then", "catch"))
    workflow: Any
    if shape == "chain":
        workflow = chain(a.s(), b.s(), b.s()).then(then.s(), then.s()).catch(catch.s())
    elif shape == "failing chain":
        workflow = chain(a.s(), bad.s(), b.s()).then(then.s()).catch(catch.s())
    elif shape == "chord":
        workflow = chord([a.s(), chain(b.s(), b.s())], body.s()).then(then.s()).catch(catch.s())
    elif shape == "failing chord":
        workflow = chord([a.s(), bad.s(), bad.s()], body.s()).then(then.s()).catch(catch.s(), catch.s())
    else:
        flow = Workflow("graph")
        first = flow.add(a.s())
        sides = [flow.add(b.s(), after=[first]), flow.add(group([b.s(), bad.s()], failure="continue"), after=[first])]
        flow.add(body.s(), after=sides)
        workflow = flow.then(then.s())
    return workflow.using(id="w").prepare().publications  # type: ignore[no-any-return]


class WorkflowSite(Site):
    """Its workers do with jobs what workers do: what becomes of them is said by `PlacedRuns` and `decide`."""

    def __init__(
        self, make_store: Callable[[Site], OrderedStore], app: Heeler, publications: Sequence[Publication]
    ) -> None:
        super().__init__(make_store)
        self.publications = publications
        self._app = app
        self._policy = Policy(content_type=app._codec.content_type)

    async def live(self, process: Process) -> None:
        """Publish the workflow, and run what comes."""
        for publication in self.publications:
            await process.broker.publish(publication)
        while await self.work(process):
            pass

    async def work(self, process: Process) -> int:
        """Run what is there; how much that was."""
        deliveries = await process.fetch(3)
        if deliveries:
            await process.broker.settle(await self._settlements(process, deliveries))
            await process.settle_down()
        return len(deliveries)

    async def _settlements(self, process: Process, deliveries: Sequence[Delivery]) -> list[Settlement]:
        store = process.broker.store
        assert store is not None
        completer = Completer(store, self._app._codecs, self._app._formats, {})
        placed = PlacedRuns(store, completer, self.clock, "worker")
        found = await placed.sort([Run(delivery, fetched_at=0.0) for delivery in deliveries])
        runs = found.ready + [run for run, _ in found.slow]
        return [*found.settlements, *(self._end_of(run) for run in runs)]

    def _end_of(self, run: Run) -> Settlement:
        facts = Facts(run.delivery, self._policy, "worker", self.clock.time(), started_at=self.clock.time())
        if run.delivery.envelope.task == "bad":
            return decide(Raised(ErrorRecord("builtins.ValueError", "bad")), facts)
        return decide(Returned(b"\x01"), facts)

    async def finish(self) -> None:
        """Let another process do the rest, for some leases."""
        process = await self.process()
        for _ in range(4):
            self.clock.advance(LEASE + 1)
            await process.broker._upkeep.send_unsent()
            while await self.work(process):
                pass


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Site], OrderedStore]:
    def make(site: Site) -> OrderedStore:
        if request.param == "memory":
            return MemoryOrderedStore(clock=site.clock, namespace=site.namespace, name="shared")
        if request.param == "redis":
            return redis_store(site)
        path = tmp_path / f"{site.namespace}.db"
        return SqliteOrderedStore(
            SqliteBroker(path=path, io=site.io, clock=site.clock, namespace=site.namespace, synchronous="normal")
        )

    return make


async def _story(
    make_store: Callable[[Site], OrderedStore],
    app: Heeler,
    publications: Sequence[Publication],
    steps: int | None = None,
    *,
    after: bool = False,
) -> tuple[Counter[str], int, bool]:
    """The ends of all jobs where a process dies at a step; how many steps it took, and whether it had sent it all."""
    site = WorkflowSite(make_store, app, publications)
    keeping = [site.make_store(), (await site.process()).plain]  # so that the shared memory outlives each process
    process = await site.process()
    process.fuse.set(steps, after=after)
    with contextlib.suppress(BrokerUnavailable):
        await site.live(process)
    taken = process.fuse.steps
    is_sent = "fetch" in taken
    await process.die()
    await site.finish()
    await site.close()
    forget_namespace(redis_url(), site.namespace)
    del keeping
    return site.ledger.ends, len(taken), is_sent


@pytest.mark.parametrize(("make_store", "shape"), STORES, indirect=["make_store"])
async def test_each_job_ends_once_at_whatever_step_a_process_dies(
    app: Heeler, make_store: Callable[[Site], OrderedStore], shape: str
) -> None:
    publications = drawn(app, shape)
    whole, count, _ = await _story(make_store, app, publications)
    assert whole == dict.fromkeys(SHAPES[shape].split(), 1)
    for steps in range(count):
        for after in (False, True):
            ends, _, is_sent = await _story(make_store, app, publications, steps, after=after)
            assert ends == whole or (not is_sent and not ends), (steps, after)
