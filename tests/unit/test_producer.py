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
    ResultTimeout,
    TaskStatus,
)
from heeler.testing import drain
from heeler.testing.manual_clock import ManualClock


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


def test_items_of_a_bulk_enqueue_are_each_what_they_would_be_alone(app, add):
    """Only arguments differ in what is alike; tasks, options and keywords may change from item to item."""

    @app.task(name="pkg.other", queue_name="others")
    def other(text: str) -> None: ...

    hurried = add.using(priority=5, headers={"who": "me"})
    items = [(1,), (2, 3), other.s("x"), (4,), {"a": 5, "b": 6}, other.s("y"), other.s("z"), hurried.s(7), (8,), (9,)]
    results = add.enqueue_many(items)

    assert len({result.id for result in results}) == len(items)
    assert [(result.name, result.args, result.kwargs) for result in results] == [
        ("pkg.add", (1,), {}),
        ("pkg.add", (2, 3), {}),
        ("pkg.other", ("x",), {}),
        ("pkg.add", (4,), {}),
        ("pkg.add", (), {"a": 5, "b": 6}),
        ("pkg.other", ("y",), {}),
        ("pkg.other", ("z",), {}),
        ("pkg.add", (7,), {}),
        ("pkg.add", (8,), {}),
        ("pkg.add", (9,), {}),
    ]
    assert [result.priority for result in results] == [0] * 7 + [5, 0, 0]
    assert [result.queue_name for result in results].count("others") == 3
    assert results[7].headers == {"who": "me"}
    drain(app)
    for result in results:
        result.join(timeout=10)
    assert [result.return_value for result in results if result.name == "pkg.add"] == [1, 5, 4, 11, 7, 8, 9]


def test_ids_and_sizes_are_as_strict_in_bulk():
    made = []

    def own_id():
        made.append(f"own-{len(made)}")
        return made[-1]

    with Heeler("memory://", id_maker=own_id) as app:

        @app.task(name="note")
        def note(text: str) -> None: ...

        results = note.enqueue_many([("x",)] * 3)
        assert [result.id for result in results] == made == ["own-0", "own-1", "own-2"]

    with Heeler("memory://") as app:
        note = app.task(note.func, name="note")
        assert note.using(id="mine").enqueue_many([("x",)] * 3) == [note.using(id="mine").enqueue("x")] * 3
        with pytest.raises(EnqueueManyError) as caught:
            note.enqueue_many([("x",), ("y" * (2 << 20),), ("z",)])
        assert isinstance(caught.value.errors[1], PayloadTooLarge)
        assert [result and result.args for result in caught.value.results] == [("x",), None, ("z",)]


def test_middleware_sees_every_item_of_a_bulk_enqueue():
    seen = []

    class Watching(Middleware):
        def around_enqueue(self, message, call_next):
            seen.append((message.id, message.args))
            return call_next(msgspec.structs.replace(message, priority=len(seen)))

    with Heeler("memory://", middleware=[Watching()]) as app:

        @app.task(name="note")
        def note(n: int) -> None: ...

        results = note.enqueue_many([(1,), (2,), (3,)])
        assert seen == [(result.id, result.args) for result in results]
        assert [result.priority for result in results] == [1, 2, 3]


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


@pytest.mark.parametrize("scheme", ["memory", "eager"])
def test_memory_brokers_take_larger_messages_where_the_url_says_so(scheme: str) -> None:
    with Heeler(f"{scheme}://?max_payload=3000000") as app:
        take = app.task(name="take")(len)
        result = take.enqueue("x" * 2_000_000)
        drain(app)
        assert result.get(timeout=1) == 2_000_000
        with pytest.raises(PayloadTooLarge, match="more than the 3,000,000 that a message may have"):
            take.enqueue("x" * 3_000_000)
    with pytest.raises(ConfigurationError, match="known are max_payload"):
        Heeler(f"{scheme}://?max_payloads=1")


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


def test_later_jobs_of_a_task_have_their_own_id_time_and_arguments():
    clock = ManualClock()
    results = []
    with Heeler("memory://", clock=clock) as app:

        @app.task(name="pkg.add")
        def add(a: int) -> None: ...

        for number in range(3):
            clock.advance(5)
            results.append(add.enqueue(number))

    assert [result.args for result in results] == [(0,), (1,), (2,)]
    assert len({result.id for result in results}) == 3
    first, second, third = (result.enqueued_at for result in results)
    assert third - second == second - first == timedelta(seconds=5)


def test_jobs_after_the_first_wait_carry_the_inbox(app, add):
    assert add.enqueue(1)._record.envelope.reply_to is None
    with pytest.raises(ResultTimeout):
        add.enqueue(2).get(timeout=0.01)

    assert add.enqueue(3)._record.envelope.reply_to == app._producer.sealer.address is not None
