"""What Prometheus is told."""

import asyncio
import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest

from heeler import Heeler, Retry, TaskContext
from heeler.errors import BrokerUnavailable
from heeler.model import EndedRun, RunEnd
from heeler.prometheus import Exposition, PrometheusMetrics, merged


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(registry: CollectorRegistry) -> Iterator[Heeler]:
    with Heeler("memory://", middleware=[PrometheusMetrics(registry)]) as app:
        yield app


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def read(worker: Any) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", worker.health_port, timeout=20)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    body = answer.read().decode()
    connection.close()
    return body


def test_jobs_are_counted_from_their_enqueueing_to_their_end(app: Heeler, registry: CollectorRegistry):
    @app.task(name="good", queue_name="q", takes_context=True)
    def good(context: TaskContext, again: bool) -> None:
        if again:
            context.enqueue(good.s(False))

    @app.task(name="bad", queue_name="q", retry=Retry(2, delay=0.01))
    async def bad() -> None:
        raise ValueError("no")

    good.using(id="same").enqueue(True)
    good.using(id="same").enqueue(True)  # it is there already
    failing = bad.enqueue()
    app.worker(burst=True).run()
    with app.worker():
        failing.join(10)
    of_good, of_bad = {"queue": "q", "task": "good"}, {"queue": "q", "task": "bad"}
    assert value(registry, "heeler_jobs_enqueued_total", **of_good) == 2
    assert value(registry, "heeler_jobs_started_total", **of_good) == 2
    assert value(registry, "heeler_jobs_finished_total", **of_good, outcome="succeeded") == 2
    assert value(registry, "heeler_jobs_started_total", **of_bad) == 2
    assert value(registry, "heeler_jobs_finished_total", **of_bad, outcome="retried") == 1
    assert value(registry, "heeler_jobs_finished_total", **of_bad, outcome="failed") == 1
    assert value(registry, "heeler_job_run_seconds_count", **of_bad) == 2
    assert value(registry, "heeler_job_queue_seconds_count", **of_bad) == 1
    assert value(registry, "heeler_job_run_seconds_bucket", **of_good, le="+Inf") == 2


def test_lost_leases_are_counted_by_themselves(registry: CollectorRegistry):
    metrics = PrometheusMetrics(registry)
    lost = EndedRun(
        id="x", task="t", queue="q", attempt=1, end=RunEnd.LOST, worker_id="w", enqueued_at=0.0, started_at=0.0, ran=3.0
    )
    metrics.on_settled([lost])
    assert value(registry, "heeler_leases_lost_total", queue="q", task="t") == 1
    assert value(registry, "heeler_jobs_finished_total", queue="q", task="t", outcome="lost") == 1


def test_slots_are_those_of_the_workers_that_are_there(app: Heeler, registry: CollectorRegistry):
    started, go_on = threading.Event(), threading.Event()

    @app.task(name="work")
    def work() -> None:
        started.set()
        go_on.wait(10)

    with app.worker(name="one", concurrency=3, health_port=0) as worker:
        assert worker.wait_ready(5)
        work.enqueue()
        assert started.wait(5)
        assert value(registry, "heeler_worker_slots", worker="one") == 3
        assert value(registry, "heeler_worker_slots_busy", worker="one") == 1
        go_on.set()
    assert value(registry, "heeler_worker_slots", worker="one") is None


def test_the_health_port_tells_the_metrics_and_how_full_the_queues_are(app: Heeler):
    @app.task(name="add")
    def add() -> int:
        return 1

    with app.worker(health_port=0) as worker:
        assert worker.wait_ready(5)
        add.using(queue_name="elsewhere").enqueue()
        add.using(queue_name="elsewhere", run_after=60).enqueue()
        add.enqueue().get(10)
        text = read(worker)
    assert 'heeler_jobs_enqueued_total{queue="default",task="add"} 1.0\n' in text
    assert 'heeler_queue_jobs{queue="elsewhere",state="waiting"} 1.0\n' in text
    assert 'heeler_queue_jobs{queue="elsewhere",state="scheduled"} 1.0\n' in text
    assert 'heeler_queue_oldest_seconds{queue="elsewhere"}' in text


def test_a_worker_with_a_health_port_counts_without_being_told_to():
    with Heeler("memory://") as app:

        @app.task(name="uncounted before")
        def work() -> None: ...

        with app.worker(health_port=0, name="a") as worker, app.worker(health_port=0, name="b") as other:
            assert worker.wait_ready(5)
            assert other.wait_ready(5)
            work.enqueue().join(10)
            text = read(worker)
    assert 'heeler_jobs_enqueued_total{queue="default",task="uncounted before"} 1.0\n' in text
    assert 'heeler_jobs_started_total{queue="default",task="uncounted before"} 1.0\n' in text


def test_what_is_enqueued_right_after_a_worker_was_started_is_counted(monkeypatch: pytest.MonkeyPatch):
    with Heeler("memory://") as app:
        add = app.task(name="right-after")(lambda: None)
        worker = app.worker(health_port=0)
        monkeypatch.setattr(threading.Thread, "start", lambda thread: None)  # it has not come to anything yet
        worker.start()
        monkeypatch.undo()
        app.workers.clear()  # so that nobody waits for its end
        add.enqueue()
        assert value(REGISTRY, "heeler_jobs_enqueued_total", queue="default", task="right-after") == 1


def test_apps_may_share_a_registry(registry: CollectorRegistry):
    with (
        Heeler("memory://", middleware=[PrometheusMetrics(registry)]) as one,
        Heeler("memory://", middleware=[PrometheusMetrics(registry)]) as two,
    ):
        for app in (one, two):
            app.task(lambda: None, name="same").enqueue()
    assert value(registry, "heeler_jobs_enqueued_total", queue="default", task="same") == 2


def test_a_broker_that_does_not_answer_leaves_the_rest(registry: CollectorRegistry):
    Counter("of_the_user", "…", registry=registry).inc()
    asked: list[int] = []

    async def away() -> list[Any]:
        asked.append(1)
        raise BrokerUnavailable("away")

    async def texts() -> list[bytes]:
        exposition = Exposition(registry, away)
        return [await exposition.text(), await exposition.text()]

    for text in asyncio.run(texts()):
        assert b"of_the_user_total 1.0" in text
        assert b"heeler_queue_jobs" not in text
    assert len(asked) == 1  # it is not asked again at once


def test_several_processes_are_told_apart_and_the_broker_is_told_once():
    texts = []
    for number in (1, 2):
        registry = CollectorRegistry()
        Counter("jobs", "Jobs.", ["task"], registry=registry).labels("add").inc(number)
        texts.append(
            (
                str(number),
                generate_latest(registry).decode()
                + "# HELP heeler_queue_jobs Jobs.\n# TYPE heeler_queue_jobs gauge\n"
                + 'heeler_queue_jobs{queue="default",state="waiting"} 7.0\n',
            )
        )
    text = merged(texts).decode()
    assert 'jobs_total{process="1",task="add"} 1.0\n' in text
    assert 'jobs_total{process="2",task="add"} 2.0\n' in text
    assert text.count("# TYPE jobs_total counter") == 1
    assert text.count("heeler_queue_jobs{") == 1


def test_nothing_of_it_is_loaded_by_who_does_not_ask_for_it():
    code = (
        "import sys, heeler; app = heeler.Heeler('memory://'); app.worker(); print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
