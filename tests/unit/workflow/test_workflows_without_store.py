"""Workflows where nothing is stored: what follows travels with the jobs; what needs a memory of them is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from workflow_tasks import Shop, until

from heeler import FailedRun, Heeler, Retry, TaskContext, Workflow, chain, chord, group
from heeler.clock import SystemClock, new_id
from heeler.errors import ConfigurationError
from heeler.io_thread import IoThread
from heeler.testing.plain_memory import MemoryPlainBroker
from rabbitmq_server import rabbitmq_url, remove_all


@pytest.fixture(params=["memory, none://", "memory, rpc://", "rabbitmq, none://", "rabbitmq, rpc://"])
def app(request: pytest.FixtureRequest) -> Iterator[Heeler]:
    kind, _, results = request.param.partition(", ")
    if kind == "memory":
        plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())
        with Heeler(broker=plain, results=results) as app:
            yield app
        return
    with Heeler(rabbitmq_url(), results=results, namespace=f"test-{new_id()}") as app:
        yield app
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def worker(app: Heeler) -> Iterator[None]:
    with app.worker(concurrency=4):
        yield


def test_a_chain_hands_on_its_values_and_its_callbacks_follow(shop: Shop) -> None:
    steps = chain(shop.add.s(1, 2), shop.double.s(), shop.add.s(10), shop.work.si("alone"))
    steps.then(shop.note.s(), shop.show.s()).catch(shop.refund.s()).enqueue()
    until(lambda: len(shop.runs) == 6)
    assert shop.runs[:4] == [("add", 1, 2), ("double", 3), ("add", 6, 10), ("work", "alone")]
    assert sorted(shop.runs[4:]) == [("note", "alone"), ("show", "alone")]


def test_catch_gets_what_failed_after_its_last_attempt(shop: Shop) -> None:
    shop.broken = {6}
    patient = shop.work.using(retry=Retry(max_attempts=2, delay=0.05))
    flow = chain(shop.add.s(1, 2), shop.double.s(), patient.s("more"), shop.note.s())
    flow.catch(shop.refund.s()).enqueue()
    until(lambda: bool(shop.ran("refund")))
    [[failed]] = shop.ran("refund")
    assert isinstance(failed, FailedRun)
    assert (failed.task, failed.error, failed.args) == ("shop.work", "ValueError: cannot work on 6", (6, "more"))
    assert shop.ran("work") == [[6, "more"], [6, "more"]]
    assert shop.ran("note") == []


def test_jobs_side_by_side_may_begin_or_end_it(shop: Shop) -> None:
    group(shop.note.s(1), chain(shop.double.s(1), shop.note.s())).enqueue()
    chain(shop.double.s(2), group(shop.note.s(), shop.show.s())).enqueue()
    until(lambda: len(shop.runs) == 6)
    assert sorted(value for [value] in shop.ran("note")) == [1, 2, 4]
    assert shop.ran("show") == [[4]]


def test_a_task_may_enqueue_one_that_follows_if_it_succeeds(app: Heeler, shop: Shop) -> None:
    @app.task(name="shop.plan", takes_context=True)
    def plan(context: TaskContext, fails: bool) -> None:
        context.enqueue(chain(shop.double.s(1 if fails else 2), shop.note.s()))
        if fails:
            raise ValueError("no plan")

    plan.using(retry=Retry(max_attempts=1)).enqueue(True)
    plan.enqueue(False)
    until(lambda: bool(shop.ran("note")))
    assert shop.ran("double") == [[2]]


def test_what_waits_for_several_jobs_is_refused_when_it_is_enqueued(app: Heeler, shop: Shop) -> None:
    graph = Workflow("nightly")
    graph.add(shop.double.s(graph.add(shop.add.s(1, 1))))
    refused = [
        chord([shop.double.s(1), shop.double.s(2)], shop.total.s()),
        chain(group(shop.double.s(1), shop.double.s(2)), shop.total.s()),
        group(shop.double.s(1), shop.double.s(2)).then(shop.note.s()),
        graph,
    ]
    for flow in refused:
        with pytest.raises(ConfigurationError, match=r"needs a store to remember them.*give `results` a URL.*`then`"):
            flow.enqueue()
    shop.note.enqueue(1)
    until(lambda: bool(shop.runs))
    assert shop.runs == [("note", 1)]


def test_its_value_cannot_be_asked_for_and_the_error_says_why(app: Heeler, shop: Shop) -> None:
    run = chain(shop.add.s(1, 2), shop.double.s()).enqueue()
    for ask in (lambda: run.get(timeout=1), run.cancel, lambda: app.get_workflow(run.id)):
        with pytest.raises(ConfigurationError, match=r"stores no(thing| results)|stored"):
            ask()
