"""Enqueueing: one by one, in bulk, lazily, from sync and async code, with and without the function."""

import asyncio
import threading
import uuid
from datetime import timedelta

import msgspec
import pytest

from heeler import (
    ConfigurationError,
    EnqueueManyError,
    Heeler,
    IdConflict,
    InvalidArguments,
    Middleware,
    PayloadTooLarge,
    TaskStatus,
)


@pytest.fixture
def add(app):
    @app.task(name="pkg.add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    return add


def test_a_handle_shows_what_was_asked_for(add):
    result = add.using(priority=7, queue_name="other", headers={"who": "me"}, id="mine").enqueue(1, b=2)

    assert (result.id, result.name, result.status) == ("mine", "pkg.add", TaskStatus.READY)
    assert (result.priority, result.queue_name, result.headers) == (7, "other", {"who": "me"})
    assert (result.args, result.kwargs) == ((1,), {"b": 2})
    assert result.max_attempts == 1
    assert not result.is_finished


def test_wrong_arguments_are_refused_at_enqueue(add):
    with pytest.raises(InvalidArguments) as caught:
        add.enqueue("one")

    assert (caught.value.task, caught.value.parameter) == ("pkg.add", "a")
    assert "int" in caught.value.expected


def test_using_leaves_the_task_itself_alone(add):
    add.using(priority=50)

    assert add.enqueue(1).priority == 0


def test_many_are_sent_in_order_as_tuples_dicts_and_signatures(app, add):
    results = add.enqueue_many([(1,), {"a": 2, "b": 3}, add.s(4).using(priority=9)])

    assert [(result.args, result.kwargs) for result in results] == [((1,), {}), ((), {"a": 2, "b": 3}), ((4,), {})]
    assert results[2].priority == 9
    assert app.queues.sizes(["default"])[0].waiting == 3


def test_bad_items_are_told_after_the_rest_is_sent(app, add):
    with pytest.raises(EnqueueManyError) as caught:
        add.enqueue_many([(1,), ("x",), 3, (4,)])

    assert sorted(caught.value.errors) == [1, 2]
    assert isinstance(caught.value.errors[1], InvalidArguments)
    assert "for one argument write (value,)" in str(caught.value.errors[2])
    assert [result and result.args[0] for result in caught.value.results] == [1, None, None, 4]
    assert app.queues.sizes(["default"])[0].waiting == 2


def test_more_than_a_batch_is_sent_whole(app, add):
    assert len(add.enqueue_many((n,) for n in range(1201))) == 1201
    assert app.queues.sizes(["default"])[0].waiting == 1201


def test_the_lazy_form_reads_only_what_it_sends(app, add):
    read = []

    def numbers():
        for n in range(100_000):
            read.append(n)
            yield (n,)

    handles = add.enqueue_iter(numbers())
    first = next(handles)

    assert first.args == (0,)
    assert len(read) < 5000
    assert app.queues.sizes(["default"])[0].waiting == len(read)


async def test_the_async_forms_do_the_same(app, add):
    async def numbers():
        for n in range(7):
            yield (n,)

    one = await add.aenqueue(1)
    many = await add.aenqueue_many([(n,) for n in range(5)])
    lazy = [handle async for handle in add.aenqueue_iter(numbers())]
    lazier = [handle async for handle in add.aenqueue_iter([(n,) for n in range(3)])]

    assert one.args == (1,)
    assert [handle.args[0] for handle in many + lazy + lazier] == [*range(5), *range(7), *range(3)]
    assert (await app.queues.asizes(["default"]))[0].waiting == 16


async def test_concurrent_enqueues_share_publications_and_one_bad_caller_hurts_no_other(app, add):
    calls = [add.aenqueue(n if n != 50 else "bad") for n in range(100)]
    doomed = asyncio.ensure_future(add.aenqueue(1000))
    await asyncio.sleep(0)
    doomed.cancel()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(outcomes[50], InvalidArguments)
    assert [o.args[0] for n, o in enumerate(outcomes) if n != 50] == [n for n in range(100) if n != 50]


def test_many_threads_enqueue_at_once(app, add):
    threads = [threading.Thread(target=lambda: [add.enqueue(n) for n in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert app.queues.sizes(["default"])[0].waiting == 400


def test_many_event_loops_can_use_one_app(add):
    async def enqueue():
        return await add.aenqueue(1)

    assert len({asyncio.run(enqueue()).id for _ in range(3)}) == 3


def test_the_same_id_with_the_same_arguments_is_one_job(app, add):
    first = add.using(id="once").enqueue(1, 2)
    second = add.using(id="once").enqueue(1, b=2)

    assert first == second
    assert app.queues.sizes(["default"])[0].waiting == 1


def test_the_same_id_with_other_arguments_is_a_conflict(add):
    add.using(id="once").enqueue(1)

    with pytest.raises(IdConflict, match="'once'"):
        add.using(id="once").enqueue(2)


def test_an_id_stays_taken_after_the_end_also_without_a_result(app, add):
    quiet = add.using(id="once", ignore_result=True)
    quiet.enqueue(1)
    with app.worker(burst=True) as worker:
        worker.wait(10)

    quiet.enqueue(1)

    assert app.queues.sizes(["default"])[0].waiting == 0
    with pytest.raises(IdConflict):
        quiet.enqueue(2)


def test_ids_can_be_made_by_your_own_maker():
    numbers = iter(range(100))
    with Heeler("memory://", id_maker=lambda: f"job-{next(numbers)}") as app:

        @app.task(name="noop")
        def noop() -> None: ...

        @app.task(name="own", id_maker=lambda: "fixed")
        def own() -> None: ...

        assert [noop.enqueue().id, noop.enqueue().id, own.enqueue().id] == ["job-0", "job-1", "fixed"]


def test_a_producer_need_not_have_the_function(app, add):
    def stub(a: int, b: int = 0) -> int: ...

    with Heeler(broker=app.connections.broker) as producer:
        declared = producer.declare("pkg.add", stub)
        with pytest.raises(InvalidArguments):
            declared.enqueue("one")
        results = [declared.enqueue(1, 2), producer.enqueue_by_name("pkg.add", 3, b=4)]

        with app.worker(burst=True) as worker:
            worker.wait(10)

        assert [result.get(5) for result in results] == [3, 7]


def test_a_declared_task_cannot_be_called(app):
    declared = app.declare("elsewhere")

    with pytest.raises(ConfigurationError, match="only declared"):
        declared.call()


def test_a_payload_above_the_limit_is_refused_with_advice(app):
    @app.task(name="take")
    def take(data: bytes) -> None: ...

    with pytest.raises(PayloadTooLarge, match="max_payload"):
        take.enqueue(bytes(app.connections.broker.max_payload + 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 101}, "-100 to 100"),
        ({"id": ""}, "1 to 255"),
        ({"headers": {"a": 1}}, "text to text"),
        ({"run_after": timedelta(seconds=-1)}, "zero or more"),
        ({"run_after": "soon"}, "seconds or a timedelta"),
    ],
)
def test_wrong_options_of_one_enqueue_are_refused(add, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        add.using(**options).enqueue(1)


def test_middleware_sees_each_message_in_declared_order_and_may_change_it():
    class Stamp(Middleware):
        def __init__(self, name):
            self.name = name

        def around_enqueue(self, message, call_next):
            trail = message.headers.get("trail", "") + self.name
            return call_next(msgspec.structs.replace(message, headers={"trail": trail}))

    with Heeler("memory://", middleware=[Stamp("a"), Stamp("b")]) as app:

        @app.task(name="noop")
        def noop() -> None: ...

        assert noop.enqueue().headers == {"trail": "ab"}
        assert [r.headers for r in noop.enqueue_many([(), ()])] == [{"trail": "ab"}] * 2


def test_middleware_may_answer_without_sending():
    class Once:
        def __init__(self):
            self.first = None

        def around_enqueue(self, message, call_next):
            self.first = self.first or call_next(message)
            return self.first

    with Heeler("memory://", middleware=[Once()]) as app:

        @app.task(name="noop")
        def noop() -> None: ...

        assert noop.enqueue() == noop.enqueue()
        assert app.queues.sizes(["default"])[0].waiting == 1


def test_middleware_that_returns_something_else_is_named():
    class Broken:
        def around_enqueue(self, message, call_next):
            return None

    with Heeler("memory://", middleware=[Broken()]) as app:

        @app.task(name="noop")
        def noop() -> None: ...

        with pytest.raises(ConfigurationError, match="around_enqueue returned NoneType"):
            noop.enqueue()


def test_a_bad_item_of_the_lazy_form_is_told_when_the_rest_is_sent(app, add):
    sent = []

    with pytest.raises(EnqueueManyError, match=r"1 of the items were not enqueued; item 1: InvalidArguments") as caught:
        sent.extend(add.enqueue_iter([(1,), ("x",), (3,)]))

    assert [result.args for result in sent] == [(1,), (3,)]
    assert list(caught.value.errors) == [1]
    assert caught.value.results == []
    assert app.queues.sizes(["default"])[0].waiting == 2


def test_the_ids_of_your_own_maker_are_taken_like_those_you_give():
    with Heeler("memory://", id_maker=lambda: "always this") as app:

        @app.task(name="note")
        def note(n: int) -> None: ...

        assert note.enqueue(1) == note.enqueue(1)
        with pytest.raises(IdConflict):
            note.enqueue(2)


@pytest.mark.parametrize("made", [5, "", uuid.UUID(int=1)])
def test_an_id_maker_must_make_text(app, add, made):
    with pytest.raises(ValueError, match=r"what id_maker returns must be a text"):
        app.declare("elsewhere", id_maker=lambda: made).enqueue()


def test_a_task_may_have_parameters_of_any_name(app):
    @app.task(name="any")
    def any_names(self: int, args: int, name: str) -> list[object]:
        return [self, args, name]

    given = {"self": 1, "args": 2, "name": "x"}
    assert any_names.enqueue(**given).kwargs == given
    assert any_names.s(**given).kwargs == given
    assert any_names.call(**given) == any_names(**given) == [1, 2, "x"]
    assert app.enqueue_by_name("any", **given).kwargs == given
