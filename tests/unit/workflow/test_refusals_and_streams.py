"""What cannot be a workflow is refused where it is written; a group from an iterator is drawn once, in batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from heeler import Heeler, Workflow, chain, chord, group
from heeler.errors import IdConflict, InvalidWorkflow


def test_a_chain_without_steps_is_refused() -> None:
    with pytest.raises(InvalidWorkflow, match="at least one step"):
        chain()


def test_a_group_without_members_cannot_be_sent_alone() -> None:
    with pytest.raises(InvalidWorkflow, match="no jobs"):
        group([]).enqueue()


def test_a_workflow_without_nodes_is_refused() -> None:
    with pytest.raises(InvalidWorkflow, match="no jobs"):
        Workflow("empty").enqueue()


def test_two_nodes_cannot_have_one_name(memory_app: Heeler) -> None:
    add = memory_app.task(lambda x: x, name="same")
    flow = Workflow("twice")
    flow.add(add.s(1), name="a")
    with pytest.raises(InvalidWorkflow, match="'a' already"):
        flow.add(add.s(2), name="a")


def test_a_node_of_another_workflow_is_refused(memory_app: Heeler) -> None:
    task = memory_app.task(lambda x: x, name="foreign")
    there, here = Workflow("there"), Workflow("here")
    node = there.add(task.s(1))
    with pytest.raises(InvalidWorkflow, match="another workflow"):
        here.add(task.s(2), after=[node])


def test_a_workflow_cannot_stand_in_itself() -> None:
    flow = Workflow("self")
    with pytest.raises(InvalidWorkflow, match="node of itself"):
        flow.add(flow)


def test_a_group_from_an_iterator_is_drawn_once(memory_app: Heeler) -> None:
    task = memory_app.task(lambda x: x, name="once")
    drawn: list[int] = []

    def members() -> Iterator[object]:
        for number in range(1_300):  # more than two batches
            drawn.append(number)
            yield task.s(number)

    stream = group(members())
    assert drawn == [], "nothing is drawn before it is sent"
    run = stream.enqueue()
    with memory_app.worker():
        assert run.get(timeout=30) == list(range(1_300))
    assert drawn == list(range(1_300))
    assert run.progress == (1_300, 1_300)
    with pytest.raises(InvalidWorkflow, match="read once"):
        stream.enqueue()


def test_an_id_that_another_workflow_has_is_refused(memory_app: Heeler) -> None:
    task = memory_app.task(lambda x: x, name="named")
    first = chain(task.s(1), task.s()).using(id="nightly").enqueue()
    assert chain(task.s(1), task.s()).using(id="nightly").enqueue().id == first.id
    with pytest.raises(IdConflict):
        chord(group([task.s(1)]), task.s()).using(id="nightly").enqueue()


def test_the_app_of_a_stream_is_found_behind_members_that_are_empty(memory_app: Heeler) -> None:
    task = memory_app.task(lambda x: x, name="behind")
    run = group(iter([group([]), group([]), task.s(1), task.s(2)])).enqueue()
    with memory_app.worker():
        assert run.get(timeout=10) == [[], [], 1, 2]


def test_a_chain_of_one_step_keeps_the_callbacks_of_the_step(memory_app: Heeler) -> None:
    ran: list[str] = []
    task = memory_app.task(lambda x: ran.append(x), name="noting")
    chain(chain(task.s("a")).then(task.si("b"))).then(task.si("c")).enqueue()
    with memory_app.worker(burst=True) as worker:
        worker.wait(10)
    assert ran[0] == "a"
    assert sorted(ran) == ["a", "b", "c"]
