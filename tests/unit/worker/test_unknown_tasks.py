"""Jobs whose task is not here."""

from collections import Counter
from pathlib import Path

import pytest

from heeler import Heeler, TaskStatus
from heeler.clock import SystemClock
from heeler.codecs import Codecs
from heeler.contracts import QueueShare
from heeler.model import Action, WorkerPresence
from heeler.worker.run import Run
from heeler.worker.travelling import Travelling
from heeler.worker.unknown_tasks import UnknownTasks


def presence(*tasks: str) -> WorkerPresence:
    return WorkerPresence(
        id="other", name="other", host="h", pid=1, queues=("default",), tasks=tasks, version="0", started_at=0.0
    )


async def settle_one(app: Heeler, unknown: UnknownTasks):
    subscription = await app.connections.broker.subscribe([QueueShare("default")], 30)
    (delivery,) = await subscription.fetch(1)
    (settlement,) = await unknown.settle([Run(delivery, 0.0)])
    return settlement


def test_a_job_whose_task_a_live_worker_has_is_given_back_uncounted(app: Heeler):
    broker = app.connections.broker
    app.enqueue_by_name("elsewhere")
    unknown = UnknownTasks(broker, SystemClock(), {}, "me", travelling=Travelling(Codecs(), {}, {}))

    async def meet():
        await broker.control.announce(presence("elsewhere"))
        return await settle_one(app, unknown)

    settlement = app.connections.io.run(meet())
    assert (settlement.action, settlement.attempts) == (Action.RELEASE, 0)
    assert unknown.passed_over() == {"elsewhere"}


def test_a_job_whose_task_nobody_has_comes_again_later(app: Heeler):
    app.enqueue_by_name("nowhere")
    unknown = UnknownTasks(app.connections.broker, SystemClock(), {}, "me", travelling=Travelling(Codecs(), {}, {}))
    settlement = app.connections.io.run(settle_one(app, unknown))
    assert (settlement.action, settlement.delay) == (Action.RETRY, 1.0)
    assert unknown.passed_over() == frozenset()


def test_a_task_that_is_only_declared_is_unknown_and_one_registered_later_is_found(app: Heeler):
    declared = app.declare("later")
    result = declared.enqueue()
    with app.worker():

        @app.task(name="later")
        async def later() -> str:
            return "found"

        assert result.get(timeout=10) == "found"
    assert (result.status, result.attempts) == (TaskStatus.SUCCESSFUL, 1)


def test_after_five_tries_it_is_a_dead_letter_that_names_the_tasks_known_here(app: Heeler, monkeypatch):
    monkeypatch.setattr("heeler.worker.decide.UNKNOWN_TASK_DELAY", 0.001)

    @app.task(name="known.here")
    async def here() -> None: ...

    result = app.enqueue_by_name("nowhere")
    with app.worker():
        result.join(timeout=10)
    (letter,) = app.dead_letters.list()
    assert letter.reason.startswith("UnknownTask")
    assert "known.here" in letter.reason


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{folder}/jobs.db?synchronous=normal"])
def test_two_workers_with_disjoint_tasks_on_one_queue_finish_the_jobs_of_both(url: str, tmp_path: Path):
    with Heeler(url.format(folder=tmp_path)) as app:

        @app.task(name="left")
        async def left(number: int) -> int:
            return number

        @app.task(name="right")
        async def right(number: int) -> int:
            return number

        jobs = left.enqueue_many(task.s(number) for number in range(150) for task in (left, right))
        with app.worker(tasks=["left"], name="first"), app.worker(tasks=["right"], name="second"):
            assert [job.get(timeout=20) for job in jobs] == [number for number in range(150) for _ in "ab"]
        ran = Counter((job.name, job.worker_ids[0].partition("@")[0], job.attempts) for job in jobs)
        assert ran == {("left", "first", 1): 150, ("right", "second", 1): 150}
