"""What RabbitMQ keeps otherwise than asked for is said at a worker's start and by the doctor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from rabbitmq_site import opened, remove_all

from heeler import Heeler
from heeler.brokers.rabbitmq.doctor import caveats
from heeler.brokers.rabbitmq.options import options_of
from heeler.cli.doctor import look_at_broker
from heeler.clock import new_id
from heeler.contracts import Needs
from heeler.url import BrokerUrl
from rabbitmq_server import RabbitmqServer, rabbitmq_server, rabbitmq_url
from services import forget_namespace, redis_url


def said(needs: Needs, options: str = "", version: tuple[int, ...] = (4, 1)) -> list[tuple[str, str, str]]:
    return caveats(version, options_of(BrokerUrl.parse(f"amqp://localhost{options}")), needs)


def test_who_asks_for_nothing_hears_nothing() -> None:
    assert said(Needs(timeouts={"a": 60.0})) == []


@pytest.mark.parametrize(
    ("options", "version", "text"),
    [
        ("?queue_type=classic", (3, 10), "11 levels"),
        ("?queue_type=classic&max_priority=5", (4, 1), "6 levels"),
        ("", (4, 0), "two levels: above 0"),
        ("", (3, 10), "quorum queues of RabbitMQ 3.10 know none"),
    ],
)
def test_priorities_are_explained_for_the_type_of_queue(options: str, version: tuple[int, ...], text: str) -> None:
    [(level, topic, told)] = said(Needs(priorities=True), options, version)
    assert (level, topic) == ("info", "priorities")
    assert text in told


def test_weights_are_explained() -> None:
    [(level, topic, _)] = said(Needs(weights=True))
    assert (level, topic) == ("info", "weights")


def test_a_task_that_may_run_longer_than_the_server_allows_is_a_warning_that_names_it() -> None:
    needs = Needs(timeouts={"long": 3600.0, "short": 60.0, **{f"{n}": 1800.0 for n in range(4)}})
    [(level, topic, text)] = said(needs)
    assert (level, topic) == ("warning", "consumer_timeout")
    assert "0, 1, 2 and 2 more may run longer than the 30 minutes" in text
    [(_, _, text)] = said(Needs(timeouts={"long": 3600.0}), "?consumer_timeout=40m")
    assert "long may run longer than the 40 minutes" in text
    [(_, _, text)] = said(Needs(timeouts={"long": 3600.0}), "?consumer_timeout=45s")
    assert "than the 45 s for which" in text
    assert said(Needs(timeouts={"long": 3600.0}), "?consumer_timeout=2h") == []


def test_tasks_without_a_timeout_are_mentioned() -> None:
    [(level, topic, text)] = said(Needs(timeouts={"any": None}))
    assert (level, topic) == ("info", "consumer_timeout")
    assert "any without a timeout" in text


@pytest.mark.services
@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_the_doctor_tells_how_durable_jobs_are_and_what_a_new_queue_is_not(queue_type: str) -> None:
    async with opened(f"&queue_type={queue_type}") as broker:
        told = {topic: (level, text) for level, topic, text in await broker.doctor()}
    assert f"{queue_type} queues" in told["durability"][1]
    assert "RabbitMQ 3." in told["server"][1] or "RabbitMQ 4." in told["server"][1]
    assert ("new queues" in told) is (queue_type == "quorum")


@pytest.mark.services
def test_the_command_names_tasks_that_may_take_too_long() -> None:
    with Heeler(rabbitmq_url(), results="none://", namespace=f"test-{new_id()}") as app:
        app.task(lambda: None, name="slow", timeout=7200)
        found = {finding.topic: finding for finding in look_at_broker(app)}
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))  # type: ignore[attr-defined]
    assert found["consumer_timeout"].level == "warning"
    assert "slow may run longer than the 30 minutes" in found["consumer_timeout"].text


@pytest.fixture
def impatient_server() -> Iterator[RabbitmqServer]:
    """Closes channels that hold a message for more than a second."""
    server = rabbitmq_server()

    def allow(hold: int, look: int) -> None:
        server.control(
            "eval",
            f"application:set_env(rabbit, consumer_timeout, {hold}), "
            f"application:set_env(rabbit, channel_tick_interval, {look}).",
        )

    allow(1000, 200)
    yield server
    allow(1_800_000, 60_000)


@pytest.mark.services
def test_a_run_that_takes_longer_than_the_server_allows_goes_on_and_ends_once(
    impatient_server: RabbitmqServer, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[float] = []
    with Heeler(impatient_server.url, results=redis_url(), namespace=f"test-{new_id()}", lease=6) as app:

        @app.task(name="slow")
        def slow(seconds: float) -> float:
            runs.append(seconds)
            threading.Event().wait(seconds)
            return seconds

        with app.worker(concurrency=2):
            long, short = slow.enqueue(2.2), slow.enqueue(0.0)
            assert (short.get(timeout=20), long.get(timeout=20)) == (0.0, 2.2)
            assert slow.enqueue(0.1).get(timeout=20) == 0.1
            assert app.queues.sizes(["default"])[0].waiting == 0
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))  # type: ignore[attr-defined]
        forget_namespace(redis_url(), app.namespace)
    assert sorted(runs) == [0.0, 0.1, 2.2]
    assert "longer than its consumer_timeout" in caplog.text


@pytest.mark.services
def test_it_is_said_once_at_a_worker_s_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "heeler")
    with Heeler(rabbitmq_url(), results="none://", namespace=f"test-{new_id()}") as app:

        @app.task(name="slow", timeout=7200, priority=5)
        async def slow() -> None: ...

        with app.worker(queues={"a": 3, "b": 1}) as worker:
            assert worker.wait_ready(20)
        app.connections.io.run(remove_all(app.connections.opened_blocking().plain))
    for topic, level in (("priorities", "INFO"), ("weights", "INFO"), ("consumer_timeout", "WARNING")):
        [record] = [record for record in caplog.records if f": {topic}: " in record.message]
        assert record.levelname == level
