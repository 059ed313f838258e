"""The broker goes away and comes back: nothing is dropped, and it is said once."""

import asyncio
import logging
import threading

import pytest
from broken_broker import BrokenBroker

from heeler import Heeler, TaskStatus
from heeler.clock import SystemClock
from heeler.errors import BrokerUnavailable
from heeler.worker.faults import LONGEST_DELAY, Faults
from services import wait_until


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


def test_a_worker_with_nothing_to_do_notices_that_the_broker_is_back(app: Heeler, broker: BrokenBroker, caplog):
    caplog.set_level(logging.INFO, "heeler")

    @app.task(name="a")
    async def a() -> int:
        return 1

    with app.worker():
        broker.down = {"ready"}
        assert a.enqueue().get(timeout=5) == 1
        wait_until(lambda: "the broker is unavailable" in caplog.text, "it is missed")
        broker.down = set()
        wait_until(lambda: "the broker is back after" in caplog.text, "it is back, although no job comes")


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


def test_a_stop_does_not_wait_for_an_attempt_that_hangs(app: Heeler, broker: BrokenBroker):
    trying = threading.Event()

    async def hang() -> None:
        trying.set()
        await asyncio.Event().wait()

    broker.open = hang
    worker = app.worker()
    worker.start()
    assert trying.wait(5)
    worker.stop()
    assert worker.wait(5)


def test_a_start_ends_with_the_error_when_the_broker_is_given_up(app: Heeler, broker: BrokenBroker):
    broker.down = {"open"}
    broker.gives_up_after = 3
    with pytest.raises(BrokerUnavailable, match="the cable is out for good"):
        app.worker().run()
    assert broker.calls.count("open") == 3


def test_a_worker_that_gives_the_broker_up_finishes_what_runs_and_ends_with_the_error(
    app: Heeler, broker: BrokenBroker, caplog
):
    begun, enough, ended = threading.Event(), threading.Event(), threading.Event()

    @app.task(name="hold")
    def hold() -> None:
        begun.set()
        assert enough.wait(10)
        ended.set()

    hold.enqueue()
    worker = app.worker(concurrency=2)
    worker.start()
    assert begun.wait(5)
    broker.gives_up_after = 2
    broker.down = {"fetch", "settle", "extend"}
    hold.enqueue()  # wakes the fetcher
    while worker.state == "running":
        assert not worker.wait(0.01)
    enough.set()
    with pytest.raises(BrokerUnavailable, match="the cable is out for good"):
        worker.wait(15)
    assert ended.is_set()
    assert "gives the broker up, and stops when what runs has ended" in caplog.text


def test_a_worker_that_was_told_to_stop_does_so_in_order_although_the_broker_is_given_up(
    app: Heeler, broker: BrokenBroker
):
    begun, enough = threading.Event(), threading.Event()

    @app.task(name="hold")
    def hold() -> None:
        begun.set()
        assert enough.wait(10)

    hold.enqueue()
    worker = app.worker(concurrency=1)
    worker.start()
    assert begun.wait(5)
    worker.stop()
    while worker.state == "running":
        assert not worker.wait(0.01)
    broker.gives_up_after = 1
    broker.down = {"settle", "extend"}
    enough.set()
    assert worker.wait(15)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_burst_worker_ends_after_an_outage_that_only_its_leases_met(
    app: Heeler, broker: BrokenBroker, comes_back: bool
):
    begun, enough, failed = threading.Event(), threading.Event(), threading.Event()
    extend = broker.extend

    async def watched(renewals, lease):
        try:
            return await extend(renewals, lease)
        except BrokerUnavailable:
            failed.set()
            raise

    broker.extend = watched

    @app.task(name="hold")
    def hold() -> None:
        begun.set()
        assert enough.wait(10)

    result = hold.enqueue()
    broker.down = {"extend"}
    worker = app.worker(burst=True)
    worker.start()
    assert begun.wait(5)
    assert failed.wait(5)  # by now the worker has fetched in vain
    if comes_back:
        settle = broker.settle

        async def settle_and_come_back(settlements, call=None):
            answers = await settle(settlements, call)
            asyncio.get_running_loop().call_later(0.2, broker.down.clear)
            return answers

        broker.settle = settle_and_come_back
    enough.set()
    result.get(timeout=5)
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


def test_who_needs_the_broker_no_more_does_not_miss_it(caplog):
    caplog.set_level(logging.INFO)
    faults = Faults("w", SystemClock(), logging.getLogger("heeler.test"), None)
    heard = []
    faults.on_recovery = lambda: heard.append(faults.unavailable)
    faults.failed("extend", BrokerUnavailable("down"))
    faults.gave_way("extend")
    faults.gave_way("extend")
    assert heard == [False]
    assert "is back" not in caplog.text  # nobody has tried
    faults.recovered("fetch")
    assert "is back" in caplog.text
    assert heard == [False]


def test_an_error_that_no_broker_should_raise_is_logged_with_its_traceback(caplog):
    faults = Faults("w", SystemClock(), logging.getLogger("heeler.test"), None)
    faults.failed("fetch", ValueError("a bug"))
    assert "ValueError: a bug" in caplog.text
