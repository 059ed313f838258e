"""Large workflows, through an app: streams need no memory to be sent, long chains and wide graphs run to their end."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heeler import Heeler, Signature, TaskStatus, Workflow, chain, chord, group
from heeler.clock import new_id
from services import forget_namespace, redis_url

STEPS = 1_000
NODES = 5_000
FEW, MANY = 2_000, 12_000  # members; by hand with 100,000 as well


@pytest.fixture(params=["memory", "sqlite", "redis"])
def large_app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db", "redis": redis_url()}
    with Heeler(urls[request.param], namespace=f"test-{new_id()}") as app:
        yield app
        if request.param == "redis":
            forget_namespace(redis_url(), app.namespace)


def test_a_chain_of_a_thousand_steps(large_app: Heeler) -> None:
    @large_app.task(name="large.more")
    async def more(x: int) -> int:
        return x + 1

    run = chain(*(more.s(0) if n == 0 else more.s() for n in range(STEPS))).enqueue()
    with large_app.worker():
        assert run.get(timeout=60) == STEPS
    assert run.progress == (STEPS, STEPS)


def test_a_graph_of_five_thousand_nodes(large_app: Heeler) -> None:
    @large_app.task(name="large.add")
    async def add(*parts: int) -> int:
        return 1 + max(parts, default=0)

    chance = random.Random(5)
    flow = Workflow("large")
    nodes: list[Any] = []
    depths: list[int] = []
    for number in range(NODES):
        before = sorted({chance.randrange(number) for _ in range(chance.randrange(4))}) if number else []
        nodes.append(flow.add(add.s(*(nodes[other] for other in before)), name=str(number)))
        depths.append(1 + max((depths[other] for other in before), default=0))
    flow.add(add.s(), name="last", after=nodes)
    run = flow.enqueue()
    with large_app.worker(concurrency=100):
        assert run.get(timeout=60) == 1
    assert run.progress == (NODES + 1, NODES + 1)
    results = run.results
    assert [results[str(number)] for number in range(NODES)] == depths


class TestStreams:
    @pytest.mark.parametrize("kind", ["sqlite", "redis"])
    def test_a_stream_of_any_length_needs_the_same_memory_to_be_sent(self, kind: str, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else redis_url()
        with Heeler(url, namespace=f"test-{new_id()}") as app:
            peaks = [self._peak(app, members) for members in (FEW, FEW, MANY)]
            print(peaks)
            if kind == "redis":
                forget_namespace(redis_url(), app.namespace)
        assert peaks[2] < 2 * peaks[1]

    def _peak(self, app: Heeler, members: int) -> int:
        """The most memory that was in use at once beyond what was before."""
        count = app.task(lambda n: n, name=f"large.count-{new_id()}")
        total = app.task(lambda parts: len(parts), name=f"large.total-{new_id()}")

        def stream() -> Iterator[Signature[int]]:
            for n in range(members):
                yield count.s(n)

        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            run = chord(group(stream()), total.s()).enqueue()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        run.refresh()
        assert run.progress == (0, members + 1)
        return peak

    def test_the_members_of_a_stream_may_all_have_run_before_its_last_is_drawn(self, large_app: Heeler) -> None:
        ran: list[int] = []
        twice = large_app.task(lambda n: ran.append(n) or 2 * n, name="large.twice")
        total = large_app.task(lambda parts: sum(parts), name="large.total")

        def stream() -> Iterator[Signature[Any]]:
            for n in range(1_600):
                if n == 1_500:  # three batches are out: let them all end
                    with large_app.worker(name="before", burst=True) as worker:
                        assert worker.wait(60)
                    assert len(ran) >= 998
                yield twice.s(n)

        run = chord(group(stream()), total.s()).enqueue()
        run.refresh()
        assert run.status is TaskStatus.RUNNING
        with large_app.worker():
            assert run.get(timeout=60) == sum(2 * n for n in range(1_600))
        assert sorted(ran) == list(range(1_600))
        assert run.progress == (1_601, 1_601)
