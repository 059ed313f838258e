"""What middleware, metrics and followers hear of jobs that latches let go: each is enqueued when its turn comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from workflow_tasks import until

from heeler import Heeler, Middleware, chain, chord, group
from heeler.clock import SystemClock, new_id
from heeler.io_thread import IoThread
from heeler.model import EndedRun, Sending, StartedRun
from heeler.prometheus import PrometheusMetrics
from heeler.testing.plain_memory import MemoryPlainBroker


class Witness(Middleware):
    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.started: list[StartedRun] = []
        self.ended: Counter[tuple[str, str]] = Counter()

    def on_sent(self, sending: Sending) -> None:
        self.sent.update(job.task for job in sending.jobs if job.accepted)

    def on_started(self, run: StartedRun) -> None:
        self.started.append(run)

    def on_settled(self, runs: Any) -> None:
        runs_: list[EndedRun] = list(runs)
        self.ended.update((run.task, run.end.value) for run in runs_)


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(params=["memory", "ordered"])
def told_app(request: pytest.FixtureRequest, witness: Witness, registry: CollectorRegistry) -> Iterator[Heeler]:
    middleware = [witness, PrometheusMetrics(registry)]
    if request.param == "memory":
        app = Heeler("memory://", middleware=middleware)
    else:
        app = Heeler(broker=_plain(), results="memory://", middleware=middleware)
    with app:
        for name in ("first", "member", "body", "after", "refund"):
            app.task(_of(name), name=name)
        yield app


def _plain() -> MemoryPlainBroker:
    return MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())


def _of(name: str) -> Any:
    def run(x: Any = None) -> Any:
        if name == "body" and 13 in x:
            raise ValueError("no")
        return x

    return run


def enqueued(registry: CollectorRegistry, task: str) -> float | None:
    return registry.get_sample_value("heeler_jobs_enqueued_total", {"queue": "default", "task": task})


def part(app: Heeler, members: list[int]) -> Any:
    task = app.declare
    header = group([task("member").si(number) for number in members])
    return chain(task("first").s(1), chord(header, task("body").s()), task("after").s()).catch(task("refund").s())


def test_jobs_count_as_enqueued_when_their_turn_comes(
    told_app: Heeler, witness: Witness, registry: CollectorRegistry
) -> None:
    run = part(told_app, list(range(100, 350))).enqueue()  # more than one relay lets go
    assert witness.sent == {"first": 1}
    with told_app.worker():
        run.get(timeout=20)
        until(lambda: witness.ended.total() == 253)
    assert witness.sent == {"first": 1, "member": 250, "body": 1, "after": 1}
    assert [enqueued(registry, task) for task in ("first", "member", "body", "after")] == [1, 250, 1, 1]
    assert enqueued(registry, "refund") is None, "it never was, because nothing failed"
    assert witness.ended == {(task, "succeeded"): count for task, count in witness.sent.items()}


def test_what_failed_has_no_successor_but_what_catches_it(
    told_app: Heeler, witness: Witness, registry: CollectorRegistry
) -> None:
    run = part(told_app, [13, 14]).enqueue()
    with told_app.worker():
        run.join(timeout=20)
        until(lambda: ("refund", "succeeded") in witness.ended)
    assert witness.sent == {"first": 1, "member": 2, "body": 1, "refund": 1}
    assert enqueued(registry, "after") is None


def test_how_long_it_waited_is_only_told_of_jobs_that_waited_for_nothing_else(
    told_app: Heeler, witness: Witness, registry: CollectorRegistry
) -> None:
    run = part(told_app, [1]).enqueue()
    with told_app.worker():
        run.get(timeout=20)
    assert {run.task: run.waited is not None for run in witness.started} == {
        "first": True,
        "member": False,
        "body": False,
        "after": False,
    }


def test_followers_hear_of_each_job_once_before_it_starts(told_app: Heeler) -> None:
    heard: list[tuple[str, str]] = []
    with told_app.events(timeout=20) as events, told_app.worker():
        run = part(told_app, list(range(100, 220))).enqueue()
        for event in events:
            heard.append((event.kind, event.id))
            if event.kind == "job.succeeded" and event.task == "after":
                break
    run.join(timeout=10)
    told = Counter(id for kind, id in heard if kind == "job.enqueued")
    assert len(told) == 123
    assert set(told.values()) == {1}
