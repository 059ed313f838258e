"""What is asked of the store for a wait, and what is known without asking."""

import threading

import pytest

from heeler import BrokerUnavailable, Heeler, ResultTimeout
from heeler.contracts import Inbox
from services import RedisServer, wait_until


@pytest.fixture
def reads(app, monkeypatch):
    """The ids that were read from the store."""
    asked = []
    get = app.connections.store.get

    async def counted(ids):
        asked.extend(ids)
        return await get(ids)

    monkeypatch.setattr(app.connections.store, "get", counted)
    monkeypatch.setattr(Inbox, "sweep", 3600.0)  # so that nothing is read for a net
    return asked


@pytest.fixture
def sized(app):
    @app.task(name="sized")
    async def sized(size: int) -> bytes:
        return b"x" * size

    with app.worker():
        sized.enqueue(0).get(timeout=5)  # from now on news of what is enqueued come unasked
        yield sized


def _ended(app, *results):
    """Wait for the news of these, as nobody does who has a handle."""
    unclaimed = app._producer.source.listener._unclaimed
    wait_until(lambda: all(result.id in unclaimed for result in results), "the news have come")


def test_a_job_that_ended_before_anybody_waited_for_it_is_known(app, sized, reads):
    results = sized.enqueue_many([(n,) for n in range(5)])
    _ended(app, *results)
    assert [len(result.get(timeout=5)) for result in results] == [0, 1, 2, 3, 4]
    assert reads == []
    assert app._producer.source.listener._unclaimed == {}


def test_a_job_that_is_still_to_end_is_waited_for_without_a_look(app, sized, reads):
    go_on = threading.Event()

    @app.task(name="held")
    def held() -> int:
        return 1 if go_on.wait(10) else 0

    result = held.enqueue()
    waiting = threading.Thread(target=result.join, args=(10,))
    waiting.start()
    wait_until(lambda: bool(app._producer.source.listener._callbacks), "somebody waits")
    go_on.set()
    waiting.join(10)
    assert (result.return_value, reads) == (1, [])


def test_what_is_too_large_or_too_old_to_be_kept_is_read(app, sized, reads, monkeypatch):
    large = sized.enqueue(100_000)
    small = sized.enqueue(1)
    _ended(app, small)
    assert len(large.get(timeout=5)) == 100_000
    assert reads == [large.id]

    monkeypatch.setattr("heeler.result_listener._MOST_UNCLAIMED", 3)
    old, *_, last = sized.enqueue_many([(n,) for n in range(10)])
    _ended(app, last)
    assert (old.get(timeout=5), len(last.get(timeout=5))) == (b"", 9)
    assert reads == [large.id, old.id]


def test_news_that_were_lost_with_the_connection_are_read(monkeypatch):
    monkeypatch.setattr(Inbox, "sweep", 3600.0)
    server = RedisServer().start()
    with Heeler(server.url) as app, server.client() as client:

        @app.task(name="noop")
        async def noop(n: int) -> int:
            return n

        with app.worker():
            noop.enqueue(0).get(timeout=5)
            go_on = threading.Event()

            @app.task(name="held")
            def held() -> int:
                return 1 if go_on.wait(10) else 0

            result = held.enqueue()
            generation = app._producer.source.listener.generation
            for connection in client.client_list(_type="pubsub"):
                client.client_kill_filter(_id=connection["id"])
            wait_until(lambda: app._producer.source.listener.generation > generation, "the loss was noticed")
            go_on.set()
            assert result.get(timeout=5) == 1
    server.close()


@pytest.fixture
def held(app):
    go_on = threading.Event()

    @app.task(name="held")
    def held() -> int:
        return 1 if go_on.wait(10) else 0

    held.go_on = go_on
    yield held
    go_on.set()


def test_a_thread_that_waits_when_the_app_is_closed_is_told(app):
    @app.task(name="quick")
    async def quick() -> None: ...

    with app.worker():
        quick.enqueue().get(timeout=5)
    result = quick.enqueue()
    raised = []

    def wait():
        try:
            result.get()
        except BrokerUnavailable as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: bool(app._producer.source.listener._blocked), "somebody waits")
    app.close()
    waiting.join(10)
    assert len(raised) == 1


def test_a_thread_that_gave_up_waiting_leaves_nothing_behind(app, sized, held):
    result = held.enqueue()
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.05)
    listener = app._producer.source.listener
    wait_until(lambda: not listener._callbacks and not listener._blocked, "it is forgotten")
    held.go_on.set()
    assert result.get(timeout=5) == 1
    wait_until(lambda: not listener._callbacks and not listener._blocked, "it is forgotten")


def test_several_threads_wait_for_one_job(app, sized, held):
    result = held.enqueue()
    waiting = [threading.Thread(target=result.join, args=(10,)) for _ in range(5)]
    for thread in waiting:
        thread.start()
    listener = app._producer.source.listener
    wait_until(lambda: len(listener._callbacks.get(result.id, ())) == 5, "all wait")
    held.go_on.set()
    for thread in waiting:
        thread.join(10)
    assert result.return_value == 1


def test_a_thread_that_begins_to_wait_just_when_all_is_disconnected_is_told(app, monkeypatch):
    task = app.task(name="never-run")(lambda: None)
    with pytest.raises(ResultTimeout):
        task.enqueue().get(timeout=0.05)  # from now on there is a listener
    result = task.enqueue()
    on_its_way = threading.Event()
    listener = app._producer.source.listener
    monkeypatch.setattr(listener, "_admit", lambda waiter: on_its_way.set())  # the loop stops before it
    told: list[BaseException] = []

    def wait() -> None:
        try:
            result.get()
        except BrokerUnavailable as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert on_its_way.wait(10)
    app.connections.disconnect()
    thread.join(10)
    assert "the app was closed" in str(told[0])
