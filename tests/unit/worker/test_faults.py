"""The broker goes away and comes back: nothing is dropped, and it is said once."""

import logging
import threading

import pytest
from broken_broker import BrokenBroker

from heeler import Heeler, TaskStatus
from heeler.clock import SystemClock
from heeler.errors import BrokerUnavailable
from heeler.worker.faults import LONGEST_DELAY, Faults


@pytest.fixture
def broker() -> BrokenBroker:
    return BrokenBroker()


@pytest.fixture
def app(broker: BrokenBroker):
    with Heeler(broker=broker) as app:
        yield app


def test_what_could_not_be_settled_is_settled_when_the_broker_is_back(app: Heeler, broker: BrokenBroker):
    failed = threading.Event()
    check = broker.check

    def watched(verb: str) -> None:
        try:
            check(verb)
        except BrokerUnavailable:
            if verb == "settle":
                failed.set()
            raise

    broker.check = watched
    ran = []

    @app.task(name="once")
    def once(number: int) -> None:
        ran.append(number)

    broker.down = {"settle"}
    with app.worker():
        results = once.enqueue_many([(n,) for n in range(10)])
        assert failed.wait(5)
        broker.down = set()
        for result in results:
            result.get(timeout=5)
    assert sorted(ran) == list(range(10))


def test_a_settlement_whose_answer_was_lost_is_repeated_under_the_same_number(
    app: Heeler, broker: BrokenBroker, caplog
):
    caplog.set_level(logging.INFO, "heeler")

    @app.task(name="a")
    async def a() -> int:
        return 1

    broker.lose_replies = {"settle"}
    with app.worker():
        result = a.enqueue()
        assert result.get(timeout=5) == 1
    assert broker.calls.count("settle") == 2
    assert "lease was lost" not in caplog.text


def test_a_start_without_a_broker_waits_for_it(app: Heeler, broker: BrokenBroker):
    @app.task(name="a")
    async def a() -> int:
        return 1

    result = a.enqueue()
    broker.down = {"subscribe", "fetch"}
    with app.worker():
        broker.down = set()
        assert result.get(timeout=5) == 1


def test_a_start_without_a_broker_can_be_stopped(app: Heeler, broker: BrokenBroker):
    broker.down = {"open"}
    worker = app.worker()
    worker.start()
    worker.stop()
    assert worker.wait(5)


def test_the_middleware_is_told_of_broker_faults():
    told = threading.Event()

    class Alarm:
        def on_error(self, exc, where) -> None:
            if isinstance(exc, BrokerUnavailable):
                told.set()

    broker = BrokenBroker()
    with Heeler(broker=broker, middleware=[Alarm()]) as app:
        broker.down = {"subscribe"}
        with app.worker():
            assert told.wait(5)
            broker.down = set()


def test_a_result_that_the_store_refuses_becomes_a_dead_letter(app: Heeler, broker: BrokenBroker):
    @app.task(name="huge")
    async def huge() -> bytes:
        return b"x" * (17 << 20)

    with app.worker():
        result = huge.enqueue()
        result.join(timeout=10)
    assert result.status is TaskStatus.FAILED
    assert result.last_error.exception_class_path == "heeler.errors.ResultLost"
    assert len(app.dead_letters.list()) == 1


def test_an_outage_is_said_once_however_many_parts_miss_the_broker(caplog):
    caplog.set_level(logging.INFO)
    faults = Faults("w", SystemClock(), logging.getLogger("heeler.test"), None)
    delays = [faults.failed("fetch", BrokerUnavailable("down")) for _ in range(12)]
    faults.failed("settle", BrokerUnavailable("down"))
    assert delays[0] < 0.1
    assert max(delays) <= LONGEST_DELAY
    faults.recovered("fetch")
    assert faults.unavailable
    faults.recovered("settle")
    faults.recovered("settle")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "is unavailable" in caplog.messages[0]
    assert "is back" in caplog.messages[1]


def test_an_error_that_no_broker_should_raise_is_logged_with_its_traceback(caplog):
    faults = Faults("w", SystemClock(), logging.getLogger("heeler.test"), None)
    faults.failed("fetch", ValueError("a bug"))
    assert "ValueError: a bug" in caplog.text
