"""The job's id and the context reach the parameters that take them, however the caller passed the others."""

import pytest

from heeler import TaskContext
from heeler.testing import drain


@pytest.fixture
def tasks(app):
    @app.task(name="annotated_first")
    def annotated_first(context: TaskContext, width: int) -> list:
        return [bool(context.id), width]

    @app.task(name="annotated_last")
    async def annotated_last(width: int, *rest: int, context: TaskContext) -> list:
        return [bool(context.id), width, *rest]

    @app.task(name="both", takes_context=True, id_as_first_arg=True)
    def both(context, id: str, width: int) -> list:
        return [context.id == id, width]

    @app.task(name="id_first", id_as_first_arg=True)
    def id_first(id: str, width: int, context: TaskContext) -> list:
        return [context.id == id, width]

    return app.tasks


@pytest.mark.parametrize("name", ["annotated_first", "annotated_last", "both", "id_first"])
def test_in_a_worker(app, tasks, name):
    by_position = tasks[name].enqueue(3)
    by_name = tasks[name].enqueue(width=3)
    drain(app)

    assert by_position.get(timeout=1) == by_name.get(timeout=1) == [True, 3]


@pytest.mark.parametrize("name", ["annotated_first", "annotated_last", "both", "id_first"])
async def test_in_a_direct_call(app, tasks, name):
    assert await tasks[name].acall(3) == await tasks[name].acall(width=3) == [True, 3]


def test_rest_arguments_keep_their_place(app, tasks):
    result = tasks["annotated_last"].enqueue(3, 4, 5)
    drain(app)

    assert result.get(timeout=1) == [True, 3, 4, 5]
