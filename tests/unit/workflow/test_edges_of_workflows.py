"""Workflows that are hardly one, too much of one, or none: right, or refused with an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from heeler import Heeler, TaskStatus, Workflow, chain, chord, group
from heeler.errors import InvalidArguments, InvalidWorkflow
from heeler.workflow import Composable


class Tasks:
    def __init__(self, app: Heeler) -> None:
        def same(x: Any = None, *more: Any) -> Any:
            return x

        def count(parts: list[Any]) -> int:
            return len(parts)

        self.same = app.task(same, name="edge.same")
        self.count = app.task(count, name="edge.count")


@pytest.fixture
def tasks(memory_app: Heeler) -> Iterator[Tasks]:
    with memory_app.worker(concurrency=2):
        yield Tasks(memory_app)


@pytest.fixture
def of_another_app() -> Iterator[Tasks]:
    with Heeler("memory://") as other:
        yield Tasks(other)


class TestHardlyAny:
    def test_a_chain_of_one_step_is_that_step(self, tasks: Tasks) -> None:
        run = chain(tasks.same.s(4)).enqueue()
        assert run.get(timeout=10) == 4
        assert [child.status for child in run.children] == [TaskStatus.SUCCESSFUL]
        assert (run.progress, run.results) == ((1, 1), {"same": 4})

    def test_a_chain_of_a_chain_of_one_step(self, tasks: Tasks) -> None:
        assert chain(chain(chain(tasks.same.s(4)))).enqueue().get(timeout=10) == 4

    @pytest.mark.parametrize("members", [[], iter([])])
    def test_the_body_of_a_chord_of_none_gets_an_empty_list(self, tasks: Tasks, members: Any) -> None:
        assert chord(members, tasks.count.s()).enqueue().get(timeout=10) == 0

    def test_an_empty_group_that_is_followed_by_callbacks(self, tasks: Tasks) -> None:
        assert group([]).then(tasks.count.s()).enqueue().get(timeout=10) == []

    def test_empty_groups_within_others(self, tasks: Tasks) -> None:
        run = chain(tasks.same.s(1), group([group([]), tasks.same.si(2)]), group([]), tasks.count.s()).enqueue()
        assert run.get(timeout=10) == 0

    @pytest.mark.parametrize("members", [[], iter([])])
    def test_an_empty_group_alone_is_refused(self, members: Any) -> None:
        with pytest.raises(InvalidWorkflow, match="no jobs"):
            group(members).enqueue()


class TestTooMuch:
    def _groups(self, part: Any) -> Any:
        return group([part])

    def _graphs(self, part: Any) -> Any:
        flow = Workflow()
        flow.add(part)
        return flow

    def _callbacks(self, part: Any) -> Any:
        return self.same.si(1).then(part)

    def _chains(self, part: Any) -> Any:
        return chain(self.same.si(1), part).catch(self.same.si(2))

    @pytest.mark.parametrize("kind", ["groups", "graphs", "callbacks", "chains"])
    def test_what_stands_in_each_other_too_deep_is_refused(self, tasks: Tasks, kind: str) -> None:
        self.same = tasks.same
        wrap: Callable[[Any], Any] = getattr(self, f"_{kind}")
        part: Any = wrap(tasks.same.si(0))
        for _ in range(30):
            part = wrap(part)
        part.enqueue().join(timeout=10)
        with pytest.raises(InvalidWorkflow, match="50 deep; put steps that follow each other into one chain"):
            self._deeper(part, wrap).enqueue()

    def _deeper(self, part: Any, wrap: Callable[[Any], Any]) -> Any:
        for _ in range(2000):
            part = wrap(part)
        return part

    def test_a_chain_of_too_many_steps_is_refused(self, tasks: Tasks) -> None:
        with pytest.raises(InvalidWorkflow, match="10,001 steps are more than the 10,000"):
            chain(*[tasks.same.s()] * 10_001)

    def test_a_graph_of_too_many_nodes_is_refused(self, tasks: Tasks) -> None:
        flow = Workflow()
        for number in range(10_000):
            flow.add(tasks.same.si(), name=str(number))
        with pytest.raises(InvalidWorkflow, match="at most 10,000 nodes; put some into groups"):
            flow.add(tasks.same.si())

    def test_arguments_that_are_nested_without_end_are_refused_as_ever(self, tasks: Tasks) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidArguments, match="nested too deep"):
            chain(tasks.same.s(endless), tasks.same.s()).enqueue()


class TestNotOfThis:
    def test_tasks_of_two_apps_cannot_be_in_one_workflow(self, tasks: Tasks, of_another_app: Tasks) -> None:
        ours, theirs = tasks.same.s(1), of_another_app.same.s(2)
        flow = Workflow()
        flow.add(ours)
        flow.add(theirs)
        parts: list[Composable[Any]] = [
            chain(ours, theirs),
            group([ours, theirs]),
            group(iter([ours, theirs])),
            ours.then(theirs),
            ours.catch(theirs),
        ]
        for part in parts:
            with pytest.raises(InvalidWorkflow, match="a task of another app"):
                part.enqueue()  # type: ignore[attr-defined]
        with pytest.raises(InvalidWorkflow, match="a task of another app"):
            flow.enqueue()

    def test_a_stream_that_turns_out_to_be_wrong_leaves_nothing_that_runs(
        self, memory_app: Heeler, tasks: Tasks, of_another_app: Tasks
    ) -> None:
        def members() -> Iterator[Any]:
            for number in range(1200):
                yield tasks.same.using(queue_name="aside").s(number)
            yield of_another_app.same.s(0)

        part = group(members()).using(id="wrong")
        with pytest.raises(InvalidWorkflow, match="a task of another app"):
            part.enqueue()
        run = memory_app.get_workflow("wrong")
        run.refresh()
        assert run.status is TaskStatus.CANCELLED
        with memory_app.worker(queues=["aside"], name="aside", burst=True) as aside:
            aside.wait(20)
        assert not [child for child in run.children if child.status is TaskStatus.SUCCESSFUL]

    def test_references_to_nodes_of_others_are_refused(self, tasks: Tasks) -> None:
        there = Workflow("there")
        node = there.add(tasks.same.s(1))
        with pytest.raises(InvalidWorkflow, match="the node 'same' of another workflow; add that one here"):
            Workflow("here").add(tasks.same.s(node))
        with pytest.raises(InvalidWorkflow, match="the node 'same' of another workflow; only jobs of that workflow"):
            chain(tasks.same.si(1), tasks.same.si([node])).enqueue()
        with pytest.raises(InvalidWorkflow, match="can only be sent as a part of that workflow"):
            tasks.same.s(node).enqueue()
        with pytest.raises(InvalidWorkflow, match="another workflow"):
            group(iter([tasks.same.s(1), tasks.same.s({"deep": [node]})])).enqueue()

    def test_a_streamed_group_says_for_which_nodes_it_waits(self, tasks: Tasks) -> None:
        flow = Workflow()
        node = flow.add(tasks.same.s(7))
        flow.add(group(iter([tasks.same.si(node), tasks.same.si(1)])), after=[node])
        assert flow.enqueue().get(timeout=10) == [7, 1]
        flow = Workflow()
        node = flow.add(tasks.same.s(7))
        flow.add(group(iter([tasks.same.s(node)])))
        with pytest.raises(InvalidWorkflow, match=r"does not wait; .* name the node in `after=\[…\]`"):
            flow.enqueue()

    def test_a_circle_cannot_be_written(self, tasks: Tasks) -> None:
        flow, other = Workflow("flow"), Workflow("other")
        with pytest.raises(InvalidWorkflow, match="node of itself"):
            flow.add(flow)
        flow.add(tasks.same.s(1))
        other.add(flow)
        flow.add(other)  # as it is now: it has the first node of this one in it, and no more
        assert flow.enqueue().get(timeout=10) == {"same": 1, "other": 1}
        later = None

        def members() -> Iterator[Any]:
            yield tasks.same.si(later)

        flow = Workflow()
        first = flow.add(group(members()), after=[flow.add(tasks.same.s(1))])
        later = flow.add(tasks.same.s(2), after=[first])
        with pytest.raises(InvalidWorkflow, match="does not wait"):
            flow.enqueue()

    @pytest.mark.parametrize("after", [None, 5, "name", ["name"]])
    def test_what_is_no_node_is_refused_after_which_to_run(self, tasks: Tasks, after: Any) -> None:
        with pytest.raises(InvalidWorkflow, match="which `add` returns, got"):
            Workflow().add(tasks.same.s(1), after=after)

    @pytest.mark.parametrize("part", [5, None, "name", len])
    def test_what_is_no_part_is_refused(self, tasks: Tasks, part: Any) -> None:
        for put in (lambda: chain(tasks.same.s(1), part), lambda: group([part]), lambda: Workflow().add(part)):
            with pytest.raises(InvalidWorkflow, match=r"a part is a signature|a member is"):
                put()
        with pytest.raises(InvalidWorkflow, match="a part is a signature"):
            group(iter([tasks.same.s(1), part])).enqueue()

    def test_a_task_in_place_of_its_signature_is_refused(self, tasks: Tasks) -> None:
        with pytest.raises(InvalidWorkflow, match="a part is a signature"):
            chain(tasks.same)  # type: ignore[arg-type]

    def test_an_id_is_only_for_the_whole(self, tasks: Tasks) -> None:
        for part in (tasks.same.using(id="a").s(1), chain(tasks.same.s(1)).using(id="a")):
            with pytest.raises(InvalidWorkflow, match="only of the whole an id can be chosen"):
                chain(part, tasks.same.s()).enqueue()


class TestAgain:
    def test_signatures_and_parts_may_stand_in_any_number_of_workflows(self, tasks: Tasks) -> None:
        three = tasks.same.s(3)
        steps = chain(three, tasks.same.s())
        first, second = steps.enqueue(), steps.enqueue()
        assert first.id != second.id
        both = group(steps, steps, three).then(steps)
        assert [run.get(timeout=10) for run in (first, second, both.enqueue(), both.enqueue())] == [
            3,
            3,
            [3, 3, 3],
            [3, 3, 3],
        ]
        assert three.enqueue().get(timeout=10) == 3

    def test_a_graph_that_grows_after_it_was_sent_is_sent_as_it_was(self, tasks: Tasks) -> None:
        flow = Workflow()
        node = flow.add(tasks.same.s(1), name="a")
        first, part = flow.enqueue(), flow.then(tasks.same.s())
        flow.add(tasks.same.s(node), name="b")
        second = flow.enqueue()
        assert [run.get(timeout=10) for run in (first, second, part.enqueue())] == [1, 1, 1]
        assert [len(run.children) for run in (first, second)] == [1, 2]
