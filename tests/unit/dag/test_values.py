"""What a shape has come to, given what is known of its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from heeler.dag.shape import Node, Shape
from heeler.dag.values import Lost, drive, error_text, leaves_of, read_value
from heeler.model import Envelope, ErrorRecord, ResultRecord, TaskStatus

JOB = Shape("job", task="t.job")
PAIR = Shape("chain", kinds=(JOB, JOB))


def record(id: str, status: TaskStatus = TaskStatus.SUCCESSFUL) -> ResultRecord:
    errors = (ErrorRecord("builtins.ValueError", "boom"),) if status is TaskStatus.FAILED else ()
    envelope = Envelope(id=id, task="t.job", queue="q", body=b"", content_type="")
    return ResultRecord(envelope=envelope, status=status, errors=errors, value=id.encode())


class Names:
    """Values are the ids of their jobs."""

    def value(self, record: ResultRecord) -> Any:
        return record.envelope.id

    def array(self, items: list[Any]) -> Any:
        return items

    def mapping(self, items: dict[str, Any]) -> Any:
        return items

    def failure(self, lost: Lost) -> Any:
        return f"{lost.id}: {error_text(lost)}"


class Store:
    def __init__(self, failed: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> None:
        self.failed = failed
        self.missing = missing
        self.calls: list[list[str]] = []

    async def get(self, ids: Any) -> list[ResultRecord | None]:
        self.calls.append(list(ids))
        return [
            None
            if id in self.missing
            else record(id, TaskStatus.FAILED if id in self.failed else TaskStatus.SUCCESSFUL)
            for id in ids
        ]


async def value_of(shape: Shape, store: Store) -> Any:
    return await drive(read_value(shape, "w", Names()), leaves_of(shape, "w"), store.get)


def group_of(*kinds: Shape, runs: tuple[tuple[int, int], ...], failure: Any = "fail_fast") -> Shape:
    return Shape("group", kinds=kinds, runs=runs, failure=failure)


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (JOB, "w"),
        (PAIR, "w/1"),
        (group_of(runs=()), []),
        (group_of(JOB, runs=((0, 3),)), ["w/0", "w/1", "w/2"]),
        (group_of(JOB, PAIR, runs=((0, 1), (1, 2), (0, 1))), ["w/0", "w/1/1", "w/2/1", "w/3"]),
        (group_of(group_of(JOB, runs=((0, 2),)), runs=((0, 2),)), [["w/0/0", "w/0/1"], ["w/1/0", "w/1/1"]]),
        (Shape("chord", kinds=(group_of(JOB, runs=((0, 2),)), JOB)), "w/1"),
        (Shape("graph", kinds=(JOB,), nodes=(Node("a", 0), Node("b", 0, (0,)))), "w/1"),
        (Shape("graph", kinds=(JOB, PAIR), nodes=(Node("a", 0), Node("b", 1))), {"a": "w/0", "b": "w/1/1"}),
    ],
)
async def test_the_value_of_what_has_succeeded(shape: Shape, value: Any) -> None:
    store = Store()
    assert await value_of(shape, store) == value
    assert len(store.calls) <= 1


@pytest.mark.parametrize(
    ("failure", "value"),
    [
        ("continue", ["w/0/1", "w/1/0: ValueError: boom", "w/2/1"]),
        ("ignore", ["w/0/1", "w/2/1"]),
    ],
)
async def test_what_stands_for_a_member_that_failed_halfway(failure: Any, value: Any) -> None:
    shape = group_of(PAIR, runs=((0, 3),), failure=failure)
    assert await value_of(shape, Store(failed=("w/1/0",), missing=("w/1/1",))) == value


async def test_where_nothing_stands_for_it_the_first_job_to_blame_is_told() -> None:
    shape = group_of(PAIR, runs=((0, 3),))
    lost = await value_of(shape, Store(failed=("w/1/0", "w/2/1"), missing=("w/1/1",)))
    assert (lost.id, lost.task, error_text(lost)) == ("w/1/0", "t.job", "ValueError: boom")


async def test_a_job_of_which_nothing_is_known_was_not_run() -> None:
    lost = await value_of(JOB, Store(missing=("w",)))
    assert lost == Lost("w", "t.job", None)
    assert "not run" in error_text(lost)


async def test_very_many_results_are_read_in_batches() -> None:
    store = Store()
    value = await value_of(group_of(JOB, runs=((0, 1234),)), store)
    assert len(value) == 1234
    assert [len(ids) for ids in store.calls] == [500, 500, 234]
