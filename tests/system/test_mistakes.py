"""The mistakes that people make most: each is one line that says what is wrong, where, and what to do."""

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from command_shell import Shell

from heeler import Heeler, InvalidArguments, ResultTimeout, TaskFailed
from heeler.cli.reloading import run_reloading
from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError, ResultExpired, ResultNotFound
from heeler.testing import ManualClock


def said(kind: type[BaseException], mistake: Callable[[], Any]) -> str:
    """The one line of the error."""
    with pytest.raises(kind) as caught:
        mistake()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def app() -> Any:
    with Heeler("memory://") as app:
        app.task(lambda a, b: a + b, name="anything")

        @app.task(name="add")
        def add(a: int, b: int) -> int:
            return a + b

        yield app


def test_the_broker_is_down() -> None:
    with Heeler("redis://me:secret@127.0.0.1:1") as app:
        line = said(BrokerUnavailable, lambda: app.queues.sizes())
    assert "redis://me:***@127.0.0.1:1 cannot be reached: connection refused; start the server (redis-server)" in line
    with Heeler("amqp://me:secret@127.0.0.1:1") as app:
        line = said(BrokerUnavailable, lambda: app.queues.sizes(["default"]))
    assert line == "RabbitMQ at 127.0.0.1:1: connection refused; start the server (rabbitmq-server), or correct the URL"


def test_a_url_is_misspelt() -> None:
    assert said(ConfigurationError, lambda: Heeler("redsi://host")).startswith(
        "unknown broker scheme 'redsi' (did you mean \"redis\"?); known are"
    )
    assert "one looks like sqlite:///jobs.db" in said(ConfigurationError, lambda: Heeler("localhost:6379"))


def test_an_option_of_a_url_is_misspelt(tmp_path: Any) -> None:
    line = said(ConfigurationError, lambda: Heeler(f"sqlite:///{tmp_path}/j.db?synchronus=full").queues.sizes())
    assert 'did you mean "synchronous"?' in line


def test_an_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert said(ConfigurationError, lambda: run_reloading(["."])) == (
        "--reload needs watchfiles: pip install 'heeler[reload]'"
    )
    monkeypatch.setitem(sys.modules, "hiredis", None)
    for name in [name for name in sys.modules if name.startswith("heeler.brokers.redis")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigurationError, match=r'pip install "heeler\[redis\]"'):
        Heeler("redis://127.0.0.1:1").queues.sizes()


@pytest.mark.parametrize(
    ("source", "app", "line"),
    [
        ("", "shp:app", "there is no module 'shp'; in "),
        ("", "shop.py:app", "did you mean shop:app?"),
        ("x = 1", "shop:app", "module 'shop' has no 'app'; it has no app; there is x"),
        ("from heeler import Heeler; a = Heeler(); b = Heeler()", "shop", "has 2 apps; say which: shop:a, shop:b"),
        (
            "from other import app",
            "shop:app",
            "let the module with the app import no tasks, and name theirs in Heeler(imports=",
        ),
    ],
)
def test_the_app_cannot_be_found_or_imported(shell: Shell, source: str, app: str, line: str) -> None:
    (shell.folder / "shop.py").write_text(source)
    (shell.folder / "other.py").write_text("from shop import app\n")
    done = shell.heeler("worker", "--app", app)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert line in done.err


def test_a_worker_is_started_on_memory(shell: Shell) -> None:
    done = shell.heeler("worker", HEELER_URL="memory://")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "use a URL like sqlite:///jobs.db" in done.err


def test_a_task_is_not_registered(app: Heeler) -> None:
    assert said(LookupError, lambda: app.tasks["ad"]) == (
        "no task 'ad'; known are add, anything; is the module that registers it imported?"
    )


def test_a_task_is_registered_twice(app: Heeler) -> None:
    assert "the task name 'add' is taken by" in said(ConfigurationError, lambda: app.task(len, name="add"))


def test_an_option_of_a_task_is_misspelt(app: Heeler) -> None:
    line = said(ConfigurationError, lambda: app.task(len, name="len", timeut=3))
    assert "unknown option timeut; known are" in line


def test_an_argument_cannot_be_sent(app: Heeler) -> None:
    line = said(InvalidArguments, lambda: app.tasks["anything"].enqueue(object(), 1))
    assert "register the type with app.types.register" in line


def test_an_argument_has_the_wrong_type_or_is_missing(app: Heeler) -> None:
    add = app.tasks["add"]
    assert said(InvalidArguments, lambda: add.enqueue("x", 1)) == "add: argument \"a\": expected int, got str ('x')"
    assert "missing a required argument: 'b'; it takes (a: int, b: int) -> int" in said(
        InvalidArguments, lambda: add.enqueue(1)
    )


def test_a_moment_has_no_time_zone(app: Heeler) -> None:
    line = said(ValueError, lambda: app.tasks["add"].using(run_after=datetime(2030, 1, 1)))
    assert "has no time zone" in line
    assert "datetime.now(UTC) + timedelta" in line


def test_a_result_is_waited_for_by_blocking_in_a_coroutine_task(app: Heeler) -> None:
    @app.task(name="outer")
    async def outer() -> int:
        return app.tasks["add"].enqueue(1, 2).get(timeout=30)  # type: ignore[no-any-return]

    @app.task(name="outer in a thread")
    def in_thread() -> int:
        return app.tasks["add"].enqueue(1, 2).get(timeout=30)  # type: ignore[no-any-return]

    with app.worker():
        with pytest.raises(TaskFailed) as caught:
            outer.enqueue().get(timeout=30)
        assert isinstance(caught.value.__cause__, HeelerError)
        assert "write await result.aget() instead" in caught.value.message
        assert in_thread.enqueue().get(timeout=30) == 3


def test_it_is_enqueued_after_the_close(app: Heeler) -> None:
    app.close()
    assert said(ConfigurationError, lambda: app.tasks["add"].enqueue(1, 2)).startswith("this app is closed; use a new")


def test_a_task_is_a_generator(app: Heeler) -> None:
    def numbers():
        yield 1

    line = said(ConfigurationError, lambda: app.task(numbers, name="numbers"))
    assert "return a list, or enqueue one job for each item" in line


def test_a_task_is_a_lambda_without_a_name(app: Heeler) -> None:
    assert 'give it one with task(name="…")' in said(ConfigurationError, lambda: app.task(lambda: 1))


def test_nobody_works_so_the_wait_is_over(app: Heeler) -> None:
    line = said(ResultTimeout, lambda: app.tasks["add"].enqueue(1, 2).get(timeout=0.05))
    assert line.endswith(
        "has not ended within 0.05 s; it goes on (if it does not start: does a worker take from its queue 'default'?)"
    )


def test_a_run_takes_longer_than_its_timeout(app: Heeler) -> None:
    @app.task(name="slow", timeout=0.05)
    async def slow() -> None:
        await asyncio.sleep(30)

    with app.worker():
        line = said(TaskFailed, lambda: slow.enqueue().get(timeout=30))
    assert line.endswith("the run took longer than its timeout of 0.05 s")


def test_a_result_is_not_there(app: Heeler) -> None:
    assert "it was never enqueued there, its result_ttl is over" in said(ResultNotFound, lambda: app.get_result("x"))


def test_a_result_has_expired() -> None:
    clock = ManualClock()
    with Heeler("memory://", clock=clock, result_ttl=10) as app:
        result = app.task(lambda: 1, name="one").enqueue()
        app.worker(burst=True).run()
        clock.advance(3600)
        line = said(ResultExpired, lambda: app.task(lambda: 1, name="two") and result.get(timeout=5))
    assert line.endswith("was kept for 10 s after its end and is gone")


def test_a_setting_is_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_CONCURENCY", "3")
    assert "did you mean HEELER_CONCURRENCY?" in said(ConfigurationError, lambda: Heeler("memory://"))


def test_a_middleware_is_given_as_a_class() -> None:
    line = said(ConfigurationError, lambda: Heeler("memory://", middleware=[ManualClock]))
    assert "pass an object, ManualClock(), not the class" in line
