"""Workflows on every broker: what runs, what is handed on, how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from workflow_tasks import Shop, until

from heeler import (
    FailedRun,
    Failure,
    Heeler,
    Retry,
    Skipped,
    TaskCancelled,
    TaskContext,
    TaskFailed,
    TaskStatus,
    Workflow,
    chain,
    chord,
    group,
)

SUCCESSFUL, FAILED, CANCELLED = TaskStatus.SUCCESSFUL, TaskStatus.FAILED, TaskStatus.CANCELLED


@pytest.fixture(autouse=True)
def worker(app: Heeler) -> Iterator[None]:
    with app.worker(concurrency=4):
        yield


def shapes(shop: Shop) -> list[tuple[Any, Any]]:
    add, double, total = shop.add, shop.double, shop.total
    nested = Workflow("inner")
    nested.add(add.s(1, 1))
    return [
        (chain(add.s(1, 2), double.s(), add.s(10)), 16),
        (add.s(1, 2) | double.s() | add.s(10), 16),
        (chain(add.s(1, 2)), 3),
        (chain(add.s(1, 2), add.si(3, 4)), 7),
        (chain(add.s(1, 2), add.s(3, 4).immutable()), 7),
        (group(double.s(n) for n in range(4)), [0, 2, 4, 6]),
        (group(double.s(1), double.s(2)), [2, 4]),
        (group([add.s(1, 1)]), [2]),
        (chord(group(double.s(n) for n in range(4)), total.s()), 12),
        (chord([double.s(1), double.s(2)], total.s()), 6),
        (chord([], total.s()), 0),
        (group(double.s(1), double.s(2)) | total.s(), 6),
        (add.s(1, 1) | group(double.s(), add.s(5)) | total.s(), 11),
        (add.s(1, 1) | group(double.s(), add.s(5)), [4, 7]),
        (group(double.s(1), group(double.s(2), double.s(3)), chain(double.s(4), double.s())), [2, [4, 6], 16]),
        (chord([chain(add.s(1, 1), double.s()), add.s(1, 2)], total.s()), 7),
        (chain(chord([double.s(1), double.s(2)], total.s()), double.s()), 12),
        (group(chord([double.s(n), double.s(n)], total.s()) for n in range(3)), [0, 4, 8]),
        (chord([group(double.s(1), double.s(2)), group(double.s(3))], shop.show.s()), ["list", "list"]),
        (group(nested, add.s(2, 2)), [2, 4]),
        (chain(nested, double.s()), 4),
        (double.s(4).then(shop.note.s()), 8),
    ]


@pytest.mark.parametrize("number", range(22))
def test_every_shape_and_its_value(shop: Shop, number: int) -> None:
    part, value = shapes(shop)[number]
    run = part.enqueue()
    assert run.get(timeout=10) == value
    assert run.status is SUCCESSFUL
    assert run.progress.done == run.progress.total
    assert shop.app.get_workflow(run.id).get(timeout=1) == value


async def test_the_same_from_async_code(app: Heeler, shop: Shop) -> None:
    run = await chord(group(shop.double.s(n) for n in range(4)), shop.total.s()).aenqueue()
    assert await run.aget(timeout=10) == 12
    await run.arefresh()
    assert run.is_finished
    same = await app.aget_workflow(run.id)
    assert [child.status for child in await same.achildren()] == [SUCCESSFUL, SUCCESSFUL]
    assert (await same.aresults())["total"] == 12


class TestCallbacks:
    def test_then_gets_the_result_and_catch_is_not_run(self, shop: Shop) -> None:
        run = shop.double.s(5).then(shop.note.s(), shop.work.s()).catch(shop.refund.s()).enqueue()
        assert run.get(timeout=10) == 10
        assert shop.noted.wait(10)
        until(lambda: len(shop.runs) == 3)
        assert shop.ran("note") == [[10]]
        assert shop.ran("work") == [[10]]
        assert shop.ran("refund") == []

    def test_catch_gets_what_failed_and_with_what(self, shop: Shop) -> None:
        shop.broken = {7}
        run = shop.work.s(7, "more").then(shop.note.s()).catch(shop.refund.s()).enqueue()
        with pytest.raises(TaskFailed, match="cannot work on 7") as caught:
            run.get(timeout=10)
        assert isinstance(caught.value.__cause__, ValueError)
        assert run.status is FAILED
        assert shop.noted.wait(10)
        [[failed]] = shop.ran("refund")
        assert isinstance(failed, FailedRun)
        assert failed.id == run.children[0].id
        assert (failed.task, failed.error, failed.args) == ("shop.work", "ValueError: cannot work on 7", (7, "more"))
        assert "cannot work on" in failed.traceback
        assert shop.ran("note") == []

    def test_an_untyped_catch_gets_an_object_as_well(self, shop: Shop) -> None:
        shop.broken = {7}
        shop.work.s(7).catch(shop.note.s()).enqueue()
        assert shop.noted.wait(10)
        [[failed]] = shop.ran("note")
        assert isinstance(failed, FailedRun)

    def test_catch_comes_after_the_last_attempt_only(self, shop: Shop) -> None:
        shop.broken = {7}
        patient = shop.work.using(retry=Retry(max_attempts=3, delay=0.01)).s(7)
        run = patient.catch(shop.refund.s()).enqueue()
        run.join(timeout=10)
        assert shop.noted.wait(10)
        assert len(shop.ran("work")) == 3
        assert len(shop.ran("refund")) == 1

    def test_of_a_chain_the_arguments_that_it_was_handed_are_told(self, shop: Shop) -> None:
        shop.broken = {10}
        run = chain(shop.double.s(5), shop.work.s("more"), shop.note.s()).catch(shop.refund.s()).enqueue()
        run.join(timeout=10)
        assert shop.noted.wait(10)
        [[failed]] = shop.ran("refund")
        assert failed.args == (10, "more")
        assert failed.id == f"{run.id}/1"

    def test_the_catch_of_a_chord_runs_once(self, shop: Shop) -> None:
        shop.broken = {1, 2}
        members = [shop.work.s(n) for n in range(4)]
        run = chord(members, shop.note.s()).catch(shop.refund.s()).enqueue()
        run.join(timeout=10)
        assert run.status is FAILED
        assert shop.noted.wait(10)
        until(lambda: run.callbacks[0].is_finished)
        assert len(shop.ran("refund")) == 1
        assert shop.ran("note") == []

    def test_a_whole_workflow_may_follow(self, shop: Shop) -> None:
        run = shop.double.s(2).then(chord([shop.double.s(), shop.add.s(1)], shop.note.s())).enqueue()
        assert run.get(timeout=10) == 4
        assert shop.noted.wait(10)
        assert shop.ran("note") == [[[8, 5]]]

    def test_that_of_a_member_changes_nothing_for_the_group(self, shop: Shop) -> None:
        shop.broken = {4}
        run = group(shop.double.s(2).then(shop.work.s()), shop.double.s(3)).enqueue()
        assert run.get(timeout=10) == [4, 6]


class TestFailures:
    def test_a_chain_ends_at_the_step_that_failed(self, shop: Shop) -> None:
        shop.broken = {4}
        run = chain(shop.double.s(2), shop.work.s(), shop.double.s()).enqueue()
        with pytest.raises(TaskFailed):
            run.get(timeout=10)
        children = run.children
        assert [child.status for child in children] == [SUCCESSFUL, FAILED, CANCELLED]
        with pytest.raises(Skipped):
            children[2].get(timeout=0)
        assert run.progress == (2, 3)

    def test_members_that_have_not_started_are_skipped(self, app: Heeler, shop: Shop) -> None:
        shop.broken = {0}
        slow = [shop.work.using(queue_name="later").s(n) for n in range(1, 30)]
        run = group([shop.work.s(0), *slow]).enqueue()
        with pytest.raises(TaskFailed):
            run.get(timeout=10)
        with app.worker(queues=["later"], name="late", burst=True) as late:
            late.wait(20)
        assert shop.ran("work") == [[0]]
        assert {child.status for child in run.children[1:]} == {CANCELLED}
        assert all("Skipped" in child.last_error.exception_class_path for child in run.children[1:])

    def test_continue_puts_failures_in_place(self, shop: Shop) -> None:
        shop.broken = {1}
        members = [shop.work.s(n) for n in range(3)]
        run = chord(group(members, failure="continue"), shop.show.s()).enqueue()
        assert run.get(timeout=10) == ["int", "Failure", "int"]
        run = group([*members, chain(shop.double.s(1), shop.work.s(), shop.double.s())], failure="continue").enqueue()
        values = run.get(timeout=10)
        assert values[0::2] == [0, 2]
        assert values[1] == Failure(id=f"{run.id}/1", task="shop.work", error="ValueError: cannot work on 1")
        assert run.status is SUCCESSFUL

    def test_ignore_leaves_failures_out(self, shop: Shop) -> None:
        shop.broken = {1}
        run = chord(group((shop.work.s(n) for n in range(3)), failure="ignore"), shop.show.s()).enqueue()
        assert run.get(timeout=10) == ["int", "int"]

    def test_a_part_that_fails_within_a_part_that_goes_on(self, shop: Shop) -> None:
        shop.broken = {1}
        inner = chain(shop.double.s(1), group(shop.add.s(1), shop.work.si(1), shop.work.si(2)), shop.total.s())
        run = chord(group([inner, shop.double.s(9)], failure="continue"), shop.show.s()).enqueue()
        assert run.get(timeout=10) == ["Failure", "int"]

    def test_a_typed_body_takes_failures_where_it_says_so(self, app: Heeler, shop: Shop) -> None:
        @app.task(name="shop.count")
        def count(parts: list[int | Failure]) -> list[bool]:
            return [isinstance(part, Failure) for part in parts]

        shop.broken = {1}
        run = chord(group((shop.work.s(n) for n in range(3)), failure="continue"), count.s()).enqueue()
        assert run.get(timeout=10) == [False, True, False]

    @pytest.mark.parametrize("how", ["purged", "cancelled", "expired", "undecodable"])
    def test_a_chord_whose_member_never_runs_does_not_hang(self, app: Heeler, shop: Shop, how: str) -> None:
        aside = shop.work.using(queue_name="aside").s(1)
        if how == "expired":
            aside = shop.work.using(expires=0.05, run_after=0.3).s(1)
        if how == "undecodable":
            aside = app.declare("shop.add").s("these", "do not fit", "at all")
        run = chord([shop.work.s(0), aside], shop.note.s()).catch(shop.refund.s()).enqueue()
        if how == "purged":
            assert app.queues.purge("aside") == 1
        elif how == "cancelled":
            assert app.get_result(f"{run.id}/0/1").cancel()
        with pytest.raises(TaskFailed):
            run.get(timeout=10)
        assert shop.noted.wait(10)
        [[failed]] = shop.ran("refund")
        assert failed.id == f"{run.id}/0/1"


class TestGraphs:
    def test_arguments_by_reference(self, shop: Shop) -> None:
        flow = Workflow("nightly")
        a = flow.add(shop.add.s(1, 2))
        b = flow.add(shop.add.s(3, 4))
        c = flow.add(shop.add.s(a, y=b))
        flow.add(shop.double.s(c), after=[c], when="all")
        run = flow.enqueue()
        assert run.get(timeout=10) == 20
        assert run.results == {"add": 3, "add-2": 7, "add-3": 10, "double": 20}
        assert (run.name, run.kind) == ("nightly", "graph")

    def test_references_within_lists_and_dicts(self, shop: Shop) -> None:
        flow = Workflow()
        a, b = flow.add(shop.add.s(1, 2)), flow.add(shop.add.s(3, 4))
        flow.add(shop.work.s("found", [a, 5, b], {"b": b}), name="last")
        flow.enqueue().get(timeout=10)
        assert shop.ran("work") == [["found", [3, 5, 7], {"b": 7}]]

    def test_several_ends_give_a_dict(self, shop: Shop) -> None:
        flow = Workflow()
        a = flow.add(shop.add.s(1, 2), name="a")
        flow.add(shop.double.s(a), name="b")
        flow.add(shop.add.s(a, 1), name="c")
        assert flow.enqueue().get(timeout=10) == {"b": 6, "c": 4}

    def test_after_without_data(self, shop: Shop) -> None:
        flow = Workflow()
        a = flow.add(shop.work.s("first"))
        flow.add(shop.work.s("second"), after=a)
        flow.enqueue().get(timeout=10)
        assert shop.ran("work") == [["first"], ["second"]]

    def test_always_runs_however_those_before_it_end(self, shop: Shop) -> None:
        shop.broken = {"a"}
        flow = Workflow()
        a = flow.add(shop.work.s("a"))
        b = flow.add(shop.work.s(a, "b"))
        flow.add(shop.note.s("cleanup"), after=[b], when="always")
        run = flow.enqueue()
        with pytest.raises(TaskFailed, match="cannot work on a"):
            run.get(timeout=10)
        assert shop.noted.wait(10)
        assert shop.ran("note") == [["cleanup"]]
        assert shop.ran("work") == [["a"]]

    def test_any_runs_when_the_first_has_succeeded(self, shop: Shop) -> None:
        flow = Workflow()
        slow = flow.add(shop.wait.s(1))
        fast = flow.add(shop.work.s("fast"))
        flow.add(shop.note.s("won"), after=[slow, fast], when="any")
        run = flow.enqueue()
        assert shop.noted.wait(10)
        assert not run.is_finished
        shop.gate.set()
        run.get(timeout=10)

    def test_a_node_that_may_fail(self, shop: Shop) -> None:
        shop.broken = {"a"}
        flow = Workflow(failure="continue")
        a = flow.add(shop.work.s("a"))
        b = flow.add(shop.work.s("b"), failure="ignore")
        flow.add(shop.show.s(a, b=b))
        assert flow.enqueue().get(timeout=10) == ["Failure", "str"]

    def test_an_ignored_node_counts_for_none(self, shop: Shop) -> None:
        shop.broken = {"a"}
        flow = Workflow()
        a = flow.add(shop.work.s("a"), failure="ignore")
        flow.add(shop.show.s(a))
        assert flow.enqueue().get(timeout=10) == ["NoneType"]

    def test_groups_and_workflows_as_nodes(self, shop: Shop) -> None:
        inner = Workflow("inner")
        x = inner.add(shop.add.s(1, 1))
        inner.add(shop.double.s(x))
        flow = Workflow()
        a = flow.add(group(shop.double.s(n) for n in range(3)))
        b = flow.add(inner)
        flow.add(shop.work.s("end", a, b))
        run = flow.enqueue()
        run.get(timeout=10)
        assert shop.ran("work") == [["end", [0, 2, 4], 4]]
        assert list(run.results) == ["group", "inner", "work"]

    def test_a_graph_within_a_chain_gets_the_value_before_it(self, shop: Shop) -> None:
        flow = Workflow()
        a = flow.add(shop.double.s())
        flow.add(shop.add.s(a, 1))
        assert chain(shop.add.s(1, 1), flow, shop.double.s()).enqueue().get(timeout=10) == 10


class TestSteering:
    def test_cancel_ends_what_waits_and_what_runs(self, app: Heeler, shop: Shop) -> None:
        run = chain(group([shop.wait.s(n) for n in range(8)]), shop.note.s()).catch(shop.refund.s()).enqueue()
        until(lambda: len(shop.ran("wait")) >= 4)
        assert run.cancel()
        assert run.status is CANCELLED
        with pytest.raises(TaskCancelled):
            run.get(timeout=1)

        until(lambda: all(child.status is CANCELLED for child in run.children[0].children))
        assert len(shop.ran("wait")) <= 5
        assert shop.ran("note") == shop.ran("refund") == []
        assert run.cancel(), "a second cancel gives the same answer"

    def test_a_workflow_that_has_ended_is_not_cancelled(self, shop: Shop) -> None:
        run = chain(shop.double.s(1), shop.double.s()).enqueue()
        run.join(timeout=10)
        assert not run.cancel()
        assert run.status is SUCCESSFUL

    def test_retry_failed_goes_on_where_it_stopped(self, shop: Shop) -> None:
        shop.broken = {2}
        members = [shop.work.si(n) for n in range(6)]
        run = chain(shop.double.s(1), chord(members, shop.show.s()), shop.note.s()).enqueue()
        run.join(timeout=10)
        assert run.status is FAILED
        assert run.retry_failed() >= 1
        run.join(timeout=10)
        assert run.status is FAILED, "it fails again"
        shop.broken = set()
        run.retry_failed()
        run.join(timeout=10)
        assert run.status is SUCCESSFUL
        assert len(shop.ran("double")) == 1
        assert len(shop.ran("note")) == 1

    def test_a_redriven_dead_letter_takes_the_workflow_on(self, app: Heeler, shop: Shop) -> None:
        shop.broken = {2}
        run = chain(shop.double.s(1), shop.work.s(), shop.note.s()).enqueue()
        run.join(timeout=10)
        assert run.status is FAILED
        shop.broken = set()
        assert app.dead_letters.redrive([f"{run.id}/1"]) == 1
        run.join(timeout=10)
        assert run.status is SUCCESSFUL
        assert shop.ran("note") == [[2]]

    @pytest.mark.parametrize("which", ["by id", "all of the queue", "all"])
    def test_a_redriven_member_takes_along_those_that_were_skipped_because_of_it(
        self, app: Heeler, shop: Shop, which: str
    ) -> None:
        shop.broken = {"bad", "worse"}
        members = [shop.work.s("bad"), *(shop.work.using(queue_name="later").s(n) for n in range(8))]
        run = chord(group(members), shop.show.s()).enqueue()
        other = chain(shop.work.using(queue_name="other").s("worse"), shop.note.s()).enqueue()
        run.join(timeout=10)
        with app.worker(queues=["later", "other"], name="late") as late:
            until(lambda: all(child.is_finished for child in run.children[0].children))
            other.join(timeout=10)
            assert shop.ran("work") == [["bad"], ["worse"]]
            shop.broken = {"worse"}
            if which == "by id":
                assert app.dead_letters.redrive([f"{run.id}/0/0"]) == 1
            elif which == "all of the queue":
                assert app.dead_letters.redrive(queue="default") == 1
            else:
                assert app.dead_letters.redrive() == 2
            assert run.get(timeout=10) == ["str", *["int"] * 8]
            assert other.id != run.id
            late.stop()
        assert len(shop.ran("work")) == 2 + 9 + (which == "all")

    def test_what_another_failure_stops_stays_skipped_when_one_is_redriven(self, app: Heeler, shop: Shop) -> None:
        shop.broken = {"one", "two"}
        inner = [group([shop.work.s(bad), shop.work.using(queue_name="later").s(1)]) for bad in ("one", "two")]
        run = group(inner, failure="continue").enqueue()
        run.join(timeout=10)
        with app.worker(queues=["later"], name="late"):
            until(lambda: all(child.is_finished for part in run.children for child in part.children))
            shop.broken = {"two"}
            assert app.dead_letters.redrive([f"{run.id}/0/0"]) == 1
            until(lambda: run.children[0].status is SUCCESSFUL)
        assert run.children[1].status is FAILED
        assert shop.ran("work").count([1]) == 1

    def test_forget_drops_all_of_it(self, app: Heeler, shop: Shop) -> None:
        run = chord([shop.double.s(1), shop.double.s(2)], shop.total.s()).enqueue()
        assert run.get(timeout=10) == 6
        ids = [f"{run.id}/0/0", f"{run.id}/0/1", f"{run.id}/1"]
        run.forget()
        connections = app.connections
        assert connections.io.run(connections.needed_store().get(ids)) == [None, None, None]
        assert connections.io.run(connections.needed_store().latches([run.id])) == [None]


class TestIds:
    def test_an_id_makes_the_enqueue_idempotent(self, shop: Shop) -> None:
        flow = chord([shop.double.s(1), shop.double.s(2)], shop.total.s()).using(id="order-1")
        first, second = flow.enqueue(), flow.enqueue()
        assert first.id == second.id == "order-1"
        assert first.get(timeout=10) == second.get(timeout=10) == 6
        third = flow.enqueue()
        assert third.get(timeout=10) == 6
        assert len(shop.ran("total")) == 1

    def test_a_signature_may_stand_in_several_workflows(self, shop: Shop) -> None:
        double = shop.double.s(3)
        assert group(double, double).enqueue().get(timeout=10) == [6, 6]
        assert chain(double, shop.double.s()).enqueue().get(timeout=10) == 12


def test_a_task_may_enqueue_a_workflow_that_becomes_real_with_its_end(app: Heeler, shop: Shop) -> None:
    handles = []

    @app.task(name="shop.plan", takes_context=True)
    def plan(context: TaskContext, fails: bool) -> str:
        run = context.enqueue(chord([shop.double.s(1), shop.double.s(2)], shop.total.s()))
        handles.append(run)
        if fails:
            raise ValueError("no plan")
        return run.id

    id = plan.enqueue(False).get(timeout=10)
    assert app.get_workflow(id).get(timeout=10) == 6
    plan.enqueue(True).join(timeout=10)
    connections = app.connections
    assert connections.io.run(connections.needed_store().latches([handles[1].id])) == [None]
