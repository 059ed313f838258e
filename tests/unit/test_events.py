"""Following what happens: to jobs from their enqueueing to their end, to workers, and what is lost on the way."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heeler import ConfigurationError, Event, Heeler, Reject, Retry, TaskContext
from heeler.clock import SystemClock, new_id
from heeler.event_stream import EventFilter
from heeler.io_thread import IoThread
from heeler.model import EVENT_KINDS, EventBatch, WorkerPresence
from heeler.testing.plain_memory import MemoryPlainBroker
from services import forget_namespace, redis_url, wait_until

PATIENCE = 10.0


@pytest.fixture(params=["memory", "sqlite", "redis", "composed"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    namespace = f"test-{new_id()}"
    plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace=namespace, name=new_id())
    settings = {
        "memory": {"url": "memory://"},
        "sqlite": {"url": f"sqlite:///{tmp_path}/jobs.db"},
        "redis": {"url": redis_url()},
        "composed": {"broker": plain, "results": f"sqlite:///{tmp_path}/results.db"},
    }[request.param]
    with Heeler(namespace=namespace, **settings) as app:
        yield _with_tasks(app)
    if request.param == "redis":
        forget_namespace(settings["url"], namespace)


def _with_tasks(app: Heeler) -> Heeler:
    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="flaky", queue_name="other", retry=Retry(2, delay=0.01))
    def flaky() -> None:
        raise ValueError("not today")

    @app.task(name="reject")
    def reject() -> None:
        raise Reject("never")

    @app.task(name="first", takes_context=True)
    def first(context: TaskContext) -> None:
        context.enqueue(add.s(1, 2))

    return app


def _until(events: Iterator[Event], kind: str, task: str | None = None) -> list[Event]:
    """The events up to and with the one that is waited for."""
    seen = []
    for event in events:
        seen.append(event)
        if event.kind == kind and task in (None, event.task):
            return seen
    raise AssertionError(f"no {kind} of {task} came, but {seen}")


def test_a_job_is_followed_from_its_enqueueing_to_its_end(shop: Heeler) -> None:
    with shop.worker() as worker, shop.events("job", timeout=PATIENCE) as events:
        assert worker.wait_ready(PATIENCE)
        job = shop.tasks["add"].enqueue(1, 2)
        enqueued, started, succeeded = _until(events, "job.succeeded")
    assert [event.kind for event in (enqueued, started, succeeded)] == ["job.enqueued", "job.started", "job.succeeded"]
    for event in (enqueued, started, succeeded):
        assert (event.id, event.task, event.queue) == (job.id, "add", "default")
    assert (started.worker, started.attempt, succeeded.attempt) == (worker.id, 1, 1)
    assert succeeded.ran is not None
    assert started.at <= succeeded.at
    assert events.dropped == 0


def test_attempts_that_fail_say_why_and_what_becomes_of_the_job(shop: Heeler) -> None:
    with shop.worker() as worker, shop.events("job", level="warning", timeout=PATIENCE) as events:
        assert worker.wait_ready(PATIENCE)
        shop.tasks["flaky"].enqueue()
        retrying, failed = _until(events, "job.failed")
        shop.tasks["reject"].enqueue()
        [rejected] = _until(events, "job.failed")
    assert (retrying.kind, retrying.level, retrying.error, retrying.message, retrying.attempt) == (
        "job.retrying",
        "warning",
        "builtins.ValueError",
        "not today",
        1,
    )
    assert retrying.next_at is not None
    assert (failed.level, failed.error, failed.queue, failed.attempt) == ("error", "builtins.ValueError", "other", 2)
    assert "not today" in failed.message
    assert "never" in rejected.message


def test_follow_ups_and_cancelled_jobs_are_told(shop: Heeler) -> None:
    with shop.events("job", timeout=PATIENCE) as events:
        waiting = shop.tasks["add"].using(run_after=60).enqueue(1, 2)
        waiting.cancel()
        assert _until(events, "job.cancelled")[-1].id == waiting.id
        with shop.worker():
            shop.tasks["first"].enqueue()
            seen = _until(events, "job.succeeded", "add")
    assert [event.kind for event in seen if event.task == "add"] == ["job.enqueued", "job.started", "job.succeeded"]


def test_only_what_is_wanted_comes(shop: Heeler) -> None:
    with shop.events(["job.succeeded", "worker"], timeout=PATIENCE) as events, shop.events(queue="other") as other:
        with shop.worker() as worker:
            shop.tasks["add"].enqueue(1, 2)
            shop.tasks["flaky"].enqueue().join(timeout=PATIENCE)
        seen = _until(events, "worker.stopped")
        assert {event.worker for event in seen} == {worker.id}
        assert [event.kind for event in seen if event.kind != "job.succeeded"] == [
            "worker.started",
            "worker.stopping",
            "worker.stopped",
        ]
        assert {event.queue for event in _until(other, "job.failed")} == {"other"}


async def test_the_same_from_async_code(shop: Heeler) -> None:
    async with shop.worker() as worker, shop.aevents("job", timeout=PATIENCE) as events:
        job = await shop.tasks["add"].aenqueue(1, 2)
        kinds = []
        async for event in events:
            assert event.id == job.id
            kinds.append(event.kind)
            if event.kind == "job.succeeded":
                break
    assert kinds == ["job.enqueued", "job.started", "job.succeeded"]
    assert worker.state == "stopped"


def test_a_long_run_tells_its_start_and_its_progress_meanwhile(app: Heeler) -> None:
    enough = threading.Event()

    @app.task(name="long", takes_context=True)
    def long(context: TaskContext) -> None:
        context.progress(0.5, "half")
        enough.wait(PATIENCE)

    with app.events("job", timeout=PATIENCE) as events, app.worker():
        long.enqueue()
        seen = _until(events, "job.progress")
        assert (seen[-1].fraction, seen[-1].message) == (0.5, "half")
        assert [event.kind for event in seen] == ["job.enqueued", "job.started", "job.progress"]
        enough.set()
        assert [event.kind for event in _until(events, "job.succeeded")] == ["job.succeeded"]


def test_another_process_that_enqueues_is_heard_from_its_first_job_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Heeler(url) as app, app.events(timeout=PATIENCE) as events:
        code = f"""
            from heeler import Heeler
            app = Heeler({url!r})
            for number in range(3):
                app.enqueue_by_name("work", number)
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
        seen = [next(events) for _ in range(3)]
    assert [(event.kind, event.task) for event in seen] == [("job.enqueued", "work")] * 3


def test_while_nobody_follows_nothing_is_told(shop: Heeler, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[EventBatch] = []
    control = type(shop.connections.opened_blocking().control)
    tell = control.tell

    async def counted(self: object, batch: EventBatch) -> bool:
        told.append(batch)
        return await tell(self, batch)

    monkeypatch.setattr(control, "tell", counted)
    with shop.worker() as worker:
        assert worker.wait_ready(PATIENCE)
        for number in range(20):
            shop.tasks["add"].enqueue(number, 1).get(timeout=PATIENCE)
    assert len(told) <= 1, "a worker says once that it has started, and thereby learns that nobody follows"


def test_what_comes_faster_than_it_is_read_is_counted(app: Heeler) -> None:
    with app.events(buffer=10, timeout=0.5) as events:
        task = app.declare("work")
        jobs = [task.enqueue(number) for number in range(25)]
        wait_until(lambda: events.dropped == 15, "15 events are dropped")
        assert [event.id for event in events] == [job.id for job in jobs[15:]]
        assert events.dropped == 15


def test_a_gap_in_the_numbers_of_a_source_is_counted(app: Heeler) -> None:
    with app.events(timeout=PATIENCE) as events:
        control = app.connections.broker.control
        for first in (5, 6, 10):
            app.connections.io.run(control.tell(EventBatch("elsewhere", first, (Event("error", 1.0),))))
        for _ in range(3):
            next(events)
        assert events.dropped == 3


def test_a_worker_that_is_gone_without_a_word_is_told_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heeler.event_stream._MISSED_AFTER", 0.02)
    with Heeler("memory://") as app:
        control = app.connections.opened_blocking().control
        presence = WorkerPresence(
            id="gone", name="gone", host="h", pid=1, queues=(), tasks=(), version="1", started_at=1.0, ttl=0.3
        )
        app.connections.io.run(control.announce(presence))
        with app.events("worker", timeout=PATIENCE) as events:
            event = next(events)
    assert (event.kind, event.level, event.worker) == ("worker.lost", "error", "gone")


def test_a_stream_ends_when_it_is_closed_or_the_app_is(app: Heeler) -> None:
    closed, cut_off = app.events(), app.events()
    closed.close()
    closed.close()
    assert list(closed) == []
    waiting = threading.Thread(target=lambda: list(cut_off))
    waiting.start()
    app.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_a_stream_that_nobody_holds_any_more_is_not_followed(app: Heeler) -> None:
    control = app.connections.opened_blocking().control
    events = app.events()
    assert app.connections.io.run(control.is_followed())
    del events

    wait_until(lambda: not app.connections.io.run(control.is_followed()), "the stream is not followed any more")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kinds": "jobs"}, "'jobs' is no kind; there are job, worker, error, and job.enqueued"),
        ({"level": "loud"}, "'loud' is no level; there are debug, info, warning, error"),
        ({"buffer": 0}, "buffer must be 1 or more"),
    ],
)
def test_a_wrong_argument_says_what_would_be_right(app: Heeler, arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        app.events(**arguments)


def test_a_level_may_be_a_number_of_logging() -> None:
    wanted = EventFilter(None, logging.WARNING, None)
    assert {kind for kind in EVENT_KINDS if wanted.passes(Event(kind, 1.0))} == {
        kind for kind, level in EVENT_KINDS.items() if level in ("warning", "error")
    }


def test_without_a_control_channel_there_is_nothing_to_follow() -> None:
    plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())
    with Heeler(broker=plain) as app, pytest.raises(ConfigurationError, match="carries no events"):
        app.events()
