"""How a workflow is outlined: every part with its state, and of large groups the counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workflow_tasks import Shop, until

from heeler import Heeler, Retry, Workflow, chain, chord, group
from heeler.errors import ResultNotFound
from heeler.workflow_outline import Outline, PartState, read_outline


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    """Two are enough: what is read of a workflow is read by calls that the conformance suite knows."""
    with Heeler("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db") as app:
        yield app


def outline(run: Any, members: int = 20) -> Outline:
    app = run._source.connections
    return app.io.run(read_outline(run, members))  # type: ignore[no-any-return]


def states(one: Outline) -> list[Any]:
    """Names and states, with those of the parts in them."""
    return [(part.name, str(part.state), *([states(part)] if part.parts else [])) for part in one.parts]


def test_a_graph_before_while_and_after_it_runs(app: Heeler, shop: Shop) -> None:
    flow = Workflow("nightly")
    first = flow.add(shop.wait.s(1))
    flow.add(chain(shop.double.s(first), group([shop.double.s(), shop.add.s(5)])), name="parts", after=[first])
    run = flow.then(shop.note.s()).catch(shop.refund.s()).enqueue()
    before = outline(run)
    assert (before.name, before.kind, before.state, before.done, before.total) == ("nightly", "graph", "READY", 0, 4)
    parts = [("double", "WAITS"), ("group", "WAITS", [("double 0", "WAITS"), ("add 1", "WAITS")])]
    assert states(before) == [("wait", "READY"), ("parts", "WAITS", parts)]
    assert before.parts[1].after == ("wait",)
    with app.worker():
        until(lambda: outline(run).parts[0].state is PartState.RUNNING)
        running = outline(run)
        assert running.state is PartState.RUNNING
        assert running.started_at is not None
        assert running.finished_at is None
        shop.gate.set()
        run.join(timeout=10)
        until(lambda: bool(shop.ran("note")))
    after = outline(run)
    assert (after.state, after.done, after.total, after.counts) == ("SUCCESSFUL", 4, 4, {"SUCCESSFUL": 2})
    assert after.finished_at is not None
    assert [part.attempts for part in after.parts[1].parts[1].parts] == [1, 1]
    assert [(one.role, one.name, str(one.state)) for one in after.callbacks] == [
        ("then", "note", "SUCCESSFUL"),
        ("catch", "refund", "SKIPPED"),
    ]


def test_a_large_group_is_counted_and_those_that_failed_are_named(app: Heeler, shop: Shop) -> None:
    shop.broken = {7, 700}
    members = group([shop.work.s(n) for n in range(800)], failure="ignore")
    run = chord(members, shop.show.s()).enqueue()
    with app.worker(concurrency=50):
        run.join(timeout=30)
    [many, body] = outline(run).parts
    assert (many.state, many.done, many.total) == ("SUCCESSFUL", 800, 800)
    assert many.counts == {"SUCCESSFUL": 798, "FAILED": 2}
    assert [(one.name, one.error) for one in many.parts] == [
        ("work 7", "ValueError: cannot work on 7"),
        ("work 700", "ValueError: cannot work on 700"),
    ]
    assert many.left_out == 798
    assert body.state is PartState.SUCCESSFUL
    assert len(outline(run, members=800).parts[0].parts) == 800


def test_what_was_skipped_and_how_often_the_culprit_was_tried(app: Heeler, shop: Shop) -> None:
    shop.broken = {"bad"}
    patient = shop.work.using(retry=Retry(max_attempts=3, delay=0.01)).s("bad")
    run = chain(shop.double.s(1), patient.immutable(), shop.double.s()).enqueue()
    with app.worker():
        run.join(timeout=10)
    whole = outline(run)
    assert whole.state is PartState.FAILED
    assert [(str(one.state), one.attempts) for one in whole.parts] == [
        ("SUCCESSFUL", 1),
        ("FAILED", 3),
        ("SKIPPED", 0),
    ]


def test_what_is_to_run_always_waits_although_the_workflow_has_failed(app: Heeler, shop: Shop) -> None:
    shop.broken = {"bad"}
    flow = Workflow("tidy")
    slow, bad = flow.add(shop.wait.s(1)), flow.add(shop.work.s("bad"))
    flow.add(shop.double.si(4), after=[slow, bad], when="always")
    flow.add(shop.double.si(5), after=[bad])
    run = flow.enqueue()
    with app.worker():
        run.join(timeout=10)
        states = [str(part.state) for part in outline(run).parts]
        assert states[1:] == ["FAILED", "WAITS", "SKIPPED"]
        shop.gate.set()
        until(lambda: str(outline(run).parts[2].state) == "SUCCESSFUL")


def test_one_job_with_callbacks(app: Heeler, shop: Shop) -> None:
    run = shop.double.s(4).then(shop.note.s()).enqueue()
    whole = outline(run)
    assert (whole.kind, [part.name for part in whole.parts]) == ("job", ["double"])
    assert [one.name for one in whole.callbacks] == ["note"]


def test_one_that_is_gone_is_not_found(app: Heeler, shop: Shop) -> None:
    run = chain(shop.double.s(1), shop.double.s()).enqueue()
    with app.worker():
        run.join(timeout=10)
    run.forget()
    until(lambda: app.connections.io.run(app.connections.needed_store().latches([run.id])) == [None])
    with pytest.raises(ResultNotFound, match="no workflow"):
        outline(run)


def test_a_part_that_tolerates_failures_is_not_failed_by_them(app: Heeler, shop: Shop) -> None:
    shop.broken = {2}
    flow = Workflow("mild")
    flow.add(shop.work.s(2), failure="continue")
    members = group([shop.work.s(n) for n in range(3)], failure="ignore")
    run = chain(members, flow, shop.show.si(1)).enqueue()
    with app.worker():
        run.join(timeout=10)
    assert [str(child.status) for child in run.children] == ["SUCCESSFUL"] * 3
    assert [str(part.state) for part in outline(run).parts] == ["SUCCESSFUL"] * 3
