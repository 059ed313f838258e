"""Schedules that start workflows, on every broker: each time once, overlaps, outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from workflow_tasks import Shop, until

from heeler import ConfigurationError, Heeler, TaskStatus, Workflow, chain, chord, group
from heeler.clock import new_id
from heeler.model import Guard, Publication, PublishAnswer, schedule_cell
from heeler.schedules import known_of
from heeler.schedules.stored import encode_state
from heeler.workflow_result import WorkflowResult
from rabbitmq_server import rabbitmq_url
from services import forget_namespace, redis_url

PERIOD = 0.25


@pytest.fixture(params=["memory", "sqlite", "redis", "rabbitmq"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    namespace = f"test-{new_id()}"
    url = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/jobs.db",
        "redis": redis_url(),
        "rabbitmq": rabbitmq_url(),
    }[request.param]
    results = f"sqlite:///{tmp_path}/results.db" if request.param == "rabbitmq" else None
    with Heeler(url, results=results, namespace=namespace) as app:
        yield app
        if request.param == "redis":
            forget_namespace(redis_url(), namespace)


def test_each_time_starts_one_with_two_schedulers(app: Heeler, shop: Shop) -> None:
    flow = chord([shop.double.s(1), chain(shop.add.s(1, 1), shop.double.s())], shop.total.s())
    app.schedules.add("nightly", flow.then(shop.note.s()), every=PERIOD, catch_up="all")
    with app.worker(name="one"), app.worker(name="two"):
        until(lambda: len(shop.ran("note")) >= 4)
        known = app.schedules.pause("nightly")
        until(lambda: len(shop.ran("note")) == known.runs)
        assert known.last_id is not None
        assert app.get_workflow(known.last_id).get(timeout=10) == 6
    assert len(shop.ran("total")) == known.runs, "each workflow ran once"
    after = app.schedules.get("nightly")
    assert after is not None
    assert after.last_outcome == "SUCCESSFUL"
    assert after.starts == (
        "chord(group(shop.double(1), chain(shop.add(1, 1), shop.double())), shop.total()).then(shop.note())"
    )


def test_the_times_have_no_gap_and_none_comes_twice(app: Heeler, shop: Shop) -> None:
    ids: list[str] = []

    @app.task(name="shop.mark", takes_context=True)
    def mark(context: Any, value: int) -> int:
        ids.append(context.id)
        return value

    app.schedules.add("tick", chain(shop.add.s(1, 1), mark.s()), every=PERIOD, catch_up="all")
    with app.worker(name="one"), app.worker(name="two"):
        until(lambda: len(ids) >= 5)
        known = app.schedules.pause("tick")
        until(lambda: len(ids) == known.runs)
    times = sorted(datetime.fromisoformat(id.partition("@")[2].removesuffix("/1")).timestamp() for id in ids)
    assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(times)} == {PERIOD}


def test_one_that_comes_too_late_publishes_nothing_of_it(app: Heeler, shop: Shop) -> None:
    """It has read the schedule, and somebody else has moved it since."""
    schedules = app.schedules
    schedules.add("nightly", chord([shop.double.s(1), shop.double.s(2)], shop.total.s()), cron="@yearly")

    async def late() -> tuple[set[PublishAnswer], Any]:
        broker = await app.connections.opened()
        assert broker.schedules is not None
        [entry] = await broker.schedules.get(["nightly"])
        assert entry is not None
        known = known_of(entry)
        started = await schedules.startables.start(known.definition.starts, "late", {})
        await schedules.apause("nightly")
        guard = Guard(schedule_cell("nightly"), entry.state, encode_state(known.state), entry.due_at)
        answers = await broker.publish(Publication(envelopes=started.envelopes, latches=started.latches, guard=guard))
        [latch] = await app.connections.needed_store().latches(["late"])
        return {answer.answer for answer in answers}, latch

    schedules.list()  # by now the broker is open
    assert app.connections.io.run(late()) == ({PublishAnswer.REFUSED}, None)
    with app.worker():
        assert schedules.trigger("nightly").get(timeout=10) == 6
    assert len(shop.ran("double")) == 2
    known = schedules.get("nightly")
    assert known is not None
    assert (known.state, known.runs) == ("paused", 1)


@pytest.mark.parametrize("store", ["redis", "memory"])  # SQLite beside it is the `app` above
def test_rabbitmq_with_other_stores(store: str) -> None:
    namespace = f"test-{new_id()}"
    results = redis_url() if store == "redis" else "memory://"
    with Heeler(rabbitmq_url(), results=results, namespace=namespace) as app:
        shop = Shop(app)
        app.schedules.add("task", shop.note.s("task"), every=PERIOD)
        app.schedules.add("flow", chain(shop.add.s(1, 1), shop.note.s()), every=PERIOD)
        with app.worker():
            until(lambda: shop.ran("note").count(["task"]) >= 2 and shop.ran("note").count([2]) >= 2)
        known = app.schedules.get("flow")
        assert known is not None
        assert known.runs >= 2
    if store == "redis":
        forget_namespace(redis_url(), namespace)


def test_queue_one_starts_the_next_when_the_whole_one_has_ended(app: Heeler, shop: Shop) -> None:
    members = group([shop.wait.s(1), shop.double.s(2)])
    app.schedules.add("slow", chain(members, shop.show.s()), every=PERIOD, overlap="queue_one")
    with app.worker(concurrency=4):
        until(lambda: len(shop.ran("wait")) == 1 and len(shop.ran("double")) == 1)
        until(lambda: (app.schedules.get("slow") or known).last_outcome in ("queued", "skipped"))
        known = app.schedules.pause("slow")
        assert known.runs == 2
        assert len(shop.ran("double")) == 1, "the second one waits for the whole of the first"
        assert known.last_id is not None
        waiting = app.get_workflow(known.last_id)
        assert waiting.status is TaskStatus.READY
        shop.gate.set()
        assert waiting.get(timeout=10) == ["int", "int"]
    assert len(shop.ran("show")) == 2


def test_queue_one_goes_on_after_one_that_failed(app: Heeler, shop: Shop) -> None:
    shop.broken = {"bad"}
    app.schedules.add("bad", chain(shop.wait.s(1), shop.work.si("bad")), every=PERIOD, overlap="queue_one")
    with app.worker(concurrency=4):
        until(lambda: len(shop.ran("wait")) == 1)
        until(lambda: (app.schedules.get("bad") or known).last_outcome in ("queued", "skipped"))
        known = app.schedules.pause("bad")
        shop.gate.set()
        assert known.last_id is not None
        second = app.get_workflow(known.last_id)
        second.join(timeout=10)
        assert second.status is TaskStatus.FAILED
    assert len(shop.ran("work")) == 2
    after = app.schedules.get("bad")
    assert after is not None
    assert after.last_outcome in ("FAILED", "skipped")


def test_trigger_gives_the_workflow(app: Heeler, shop: Shop) -> None:
    app.schedules.add("yearly", shop.double.s(4).then(shop.note.s()), cron="@yearly")
    run = app.schedules.trigger("yearly")
    assert isinstance(run, WorkflowResult)
    with app.worker():
        assert run.get(timeout=10) == 8
    known = app.schedules.get("yearly")
    assert known is not None
    assert (known.last_id, known.last_outcome, known.runs) == (run.id, "SUCCESSFUL", 1)


def test_as_many_jobs_as_one_may_have_start_in_one_step(app: Heeler, shop: Shop) -> None:
    app.schedules.add("many", chord([shop.double.s(n) for n in range(999)], shop.total.s()), cron="@yearly")
    run = app.schedules.trigger("many")
    with app.worker(concurrency=50):
        assert run.get(timeout=60) == 999 * 998


class TestDeclaredInCode:
    def test_a_workflow_is_stored_and_started_as_one_that_was_added(self, app: Heeler, shop: Shop) -> None:
        flow = Workflow("nightly")
        flow.add(shop.double.s(flow.add(shop.add.s(1, 2))))
        assert app.schedule(every=PERIOD)(flow) is flow
        app.schedule("@yearly", name="other")(chain(shop.add.s(1, 2), shop.note.s()))
        with app.worker():
            until(lambda: len(shop.ran("double")) >= 2)
        known = app.schedules.get("nightly")
        assert known is not None
        assert known.declared_by
        assert known.starts == "workflow nightly (add, double)"
        assert app.schedules.drift() == []

    def test_what_it_starts_is_part_of_the_drift(self, memory_app: Heeler) -> None:
        shop = Shop(memory_app)
        memory_app.schedules.add("nightly", chain(shop.add.s(1, 2), shop.double.s()), cron="@yearly")
        memory_app.schedule("@yearly", name="nightly")(chain(shop.add.s(1, 2), shop.note.s()))
        [drift] = memory_app.schedules.drift()
        assert drift.kind == "changed"
        assert "starts chain(shop.add(1, 2), shop.double()) in the store, chain(" in str(drift)

    def test_the_same_place_may_declare_again_and_another_may_not(self, memory_app: Heeler) -> None:
        shop = Shop(memory_app)
        for _ in range(2):
            memory_app.schedule("@yearly", name="nightly")(chain(shop.add.s(1, 2), shop.double.s()))
        with pytest.raises(ConfigurationError, match="'nightly' is taken by chain"):
            memory_app.schedule("@yearly", name="nightly")(chain(shop.add.s(1, 2), shop.note.s()))

    def test_a_chain_needs_a_name_and_has_its_own_arguments(self, memory_app: Heeler) -> None:
        shop = Shop(memory_app)
        with pytest.raises(ConfigurationError, match="needs a name"):
            memory_app.schedule("@yearly")(chain(shop.add.s(1, 2), shop.double.s()))
        with pytest.raises(ConfigurationError, match="has its own"):
            memory_app.schedule("@yearly", name="n", args=[1])(chain(shop.add.s(1, 2), shop.double.s()))
