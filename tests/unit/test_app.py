"""The app: settings, registering tasks, named workers."""

import asyncio
import functools
import inspect
import logging
import sys
from datetime import UTC, datetime, timedelta

import pytest

from heeler import ConfigurationError, Heeler, Queue, Retry, TaskContext
from heeler.contracts import Broker


def test_nothing_is_opened_before_first_use(tmp_path):
    path = tmp_path / "jobs.db"

    with Heeler(f"sqlite:///{path}") as app:

        @app.task(name="add")
        def add(a: int, b: int) -> int:
            return a + b

        assert not path.exists()
        assert not app.connections.io.started
        add.enqueue(1, 2)
        assert path.exists()


def test_the_url_comes_from_the_environment_when_none_is_given(monkeypatch):
    monkeypatch.setenv("HEELER_URL", "memory://")

    assert Heeler().connections.shown_url == "memory://"


def test_without_any_url_it_is_a_sqlite_file_in_the_working_directory(monkeypatch):
    monkeypatch.delenv("HEELER_URL", raising=False)

    assert Heeler().connections.shown_url == "sqlite:///heeler.db"


def test_who_asks_whether_a_task_is_a_coroutine_function_gets_the_truth():
    app = Heeler("memory://")

    async def fetch() -> None: ...

    def resize() -> None: ...

    is_coroutine_function = inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
    assert is_coroutine_function(app.task(name="fetch")(fetch))
    assert not is_coroutine_function(app.task(name="resize")(resize))


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'mysql'.*memory://, .*sqlite://"):
        Heeler("mysql://localhost")


def test_an_unknown_url_option_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"synchronos.*synchronous"):
        Heeler("sqlite:///x.db?synchronos=full")


def test_passwords_are_hidden_wherever_the_url_is_shown():
    with pytest.raises(ConfigurationError) as caught:
        Heeler("mysql://user:s3cret@localhost/x")

    assert "s3cret" not in str(caught.value)


def test_url_and_broker_together_are_refused():
    with pytest.raises(ConfigurationError, match="not as both"):
        Heeler("memory://", broker="memory://")


def test_a_broker_object_is_taken_as_it_is(app):
    other = Heeler(broker=app.connections.broker)

    assert isinstance(other.connections.broker, Broker)
    assert other.connections.broker is app.connections.broker


def test_results_none_stores_nothing(app):
    with Heeler("memory://", results="none://") as bare:

        @bare.task(name="noop")
        def noop() -> None: ...

        result = noop.enqueue()

        with pytest.raises(ConfigurationError, match="stores no results"):
            bare.get_result(result.id)


def test_a_task_is_called_module_and_qualname_by_default(app):
    assert app.task(named_at_top_level).name == f"{__name__}.named_at_top_level"


def named_at_top_level() -> None: ...


def test_a_nested_function_without_a_name_is_an_error_that_says_how_to_name_it(app):
    def nested() -> None: ...

    with pytest.raises(ConfigurationError, match=r"nested function.*task\(name="):
        app.task(nested)
    with pytest.raises(ConfigurationError, match=r"lambda.*task\(name="):
        app.task(lambda: None)


def test_a_taken_name_is_an_error_naming_both(app):
    app.task(name="same")(named_at_top_level)

    with pytest.raises(ConfigurationError, match=r"'same' is taken by .*named_at_top_level.*another_one"):
        app.task(name="same")(another_one)


def another_one() -> None: ...


def test_the_same_function_again_replaces_its_task(app):
    first = app.task(named_at_top_level)
    second = app.task(named_at_top_level)

    assert app.tasks[first.name] is second


def test_tasks_are_found_by_a_unique_last_part(app):
    task = app.task(named_at_top_level)
    app.task(name="a.twice")(named_at_top_level)
    app.task(name="b.twice")(another_one)

    assert app.tasks["named_at_top_level"] is task
    with pytest.raises(KeyError, match="end of several"):
        app.tasks["twice"]
    with pytest.raises(KeyError, match="no task 'nobody'"):
        app.tasks["nobody"]


def test_decorated_functions_stay_callable(app):
    @app.task(name="add")
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    assert add(1) == 3
    assert add.__doc__ == "Adds."
    assert add.__name__ == "add"


async def test_decorated_coroutines_stay_callable(app):
    @app.task(name="double")
    async def double(a: int) -> int:
        return a * 2

    assert await double(4) == 8
    assert await double.acall(4) == 8


def test_call_runs_here_with_a_context(app):
    seen = []

    @app.task(name="inspect", takes_context=True)
    def inspect(context: TaskContext, word: str) -> str:
        context.progress(0.5)
        context.save(1)
        seen.append(context.attempt)
        return f"{context.name} {word}"

    assert inspect.call("x") == "inspect x"
    assert seen == [1]


def test_options_of_the_app_are_defaults_of_its_tasks():
    app = Heeler("memory://", default_queue="main", retry=Retry(7), timeout=timedelta(minutes=1), result_ttl=60)

    @app.task(name="plain")
    def plain() -> None: ...

    @app.task(name="own", queue_name="other", timeout=3)
    def own() -> None: ...

    assert (plain.options.queue_name, plain.options.retry.max_attempts) == ("main", 7)
    assert (plain.options.timeout, plain.options.result_ttl) == (60.0, 60.0)
    assert (own.options.queue_name, own.options.timeout) == ("other", 3.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 101}, "priority must be a whole number from -100 to 100"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": -1}, "timeout must be zero or more"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"executor": "fork"}, '"thread", "process"'),
        ({"reports": "some"}, '"final" or "all"'),
        ({"max_crashes": -1}, "max_crashes must be 0 or more"),
        ({"retry": 3}, "retry must be a Retry"),
        ({"queue_name": ""}, "queue_name must be a name"),
        ({"expires": datetime(2026, 1, 1)}, "no time zone"),
        ({"retries": 3}, "unknown option retries; known are"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_where_it_is_given(app, options, words):
    with pytest.raises((ConfigurationError, ValueError), match=words):
        app.task(name="bad", **options)(named_at_top_level)


def test_a_generator_task_is_refused(app):
    def produce():
        yield 1

    with pytest.raises(ConfigurationError, match="generator"):
        app.task(name="produce")(produce)


def test_a_process_task_that_no_child_can_import_is_refused(app):
    def nested() -> None: ...

    with pytest.raises(ConfigurationError, match="no child process can import"):
        app.task(name="nested", executor="process")(nested)


def test_a_naive_datetime_is_refused_with_the_reason(app):
    task = app.task(named_at_top_level)

    with pytest.raises(ValueError, match="no time zone"):
        task.using(run_after=datetime(2030, 1, 1)).enqueue()


def test_an_aware_datetime_is_absolute_and_a_delay_relative(app):
    task = app.task(named_at_top_level)
    moment = datetime(2030, 1, 1, tzinfo=UTC)

    assert task.using(run_after=moment).enqueue().run_after == moment
    later = task.using(run_after=timedelta(hours=1)).enqueue()
    assert later.run_after == later.enqueued_at + timedelta(hours=1)


def test_an_unknown_option_of_using_is_refused(app):
    task = app.task(named_at_top_level)

    with pytest.raises(TypeError):
        task.using(prio=3)
    with pytest.raises(TypeError, match="it takes queue_name"):
        task.s().using(prio=3)


def test_worker_names_are_unique_and_free_again_after_the_end(app):
    with app.worker(name="one"):
        assert app.workers["one"].name == "one"
        with pytest.raises(ConfigurationError, match="'one' already"):
            app.worker(name="one")
    app.worker(name="one")


def test_no_queues_means_the_default_the_declared_and_those_of_tasks():
    app = Heeler("memory://", queues=[Queue("declared"), "plain"])
    app.task(name="images", queue_name="images")(named_at_top_level)

    assert [share.queue for share in app._shares(None)] == ["default", "declared", "plain", "images"]
    assert [(s.queue, s.weight) for s in app._shares({"a": 3, "b": 1})] == [("a", 3), ("b", 1)]
    with pytest.raises(ConfigurationError, match="weight"):
        app._shares({"a": 0})
    with pytest.raises(ConfigurationError, match="takes a list"):
        app._shares("a")


def test_your_own_logger_is_used():
    logger = logging.getLogger("mine")

    assert Heeler("memory://", logger=logger).connections.logger is logger


def test_a_closed_app_says_so(app):
    task = app.task(named_at_top_level)
    app.close()
    app.close()

    with pytest.raises(ConfigurationError, match="closed"):
        task.enqueue()


def test_an_async_wrapper_of_a_plain_function_is_a_coroutine_task(app):
    def plain(n: int) -> int:
        return n + 1

    @functools.wraps(plain)
    async def wrapper(n: int) -> int:
        return plain(n)

    task = app.task(name="wrapped")(wrapper)
    with app.worker():
        assert task.enqueue(1).get(timeout=5) == 2


@pytest.mark.parametrize("annotation", [TaskContext | None, "Optional[TaskContext]", "heeler.TaskContext | None"])
def test_a_parameter_that_may_be_a_context_gets_it(app, annotation):
    def who(word: str, context=None) -> str:
        return f"{word} {context.id}"

    who.__annotations__["context"] = annotation
    task = app.task(name="who")(who)
    with app.worker():
        result = task.enqueue("I am")
        assert result.get(timeout=5) == f"I am {result.id}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"retry": 3}, "Heeler: retry must be a Retry"),
        ({"timeout": -1}, "Heeler: timeout must be zero or more seconds"),
        ({"timeout": "1"}, "Heeler: timeout must be seconds or a timedelta"),
        ({"result_ttl": None}, "Heeler: result_ttl"),
        ({"lease": 0}, "Heeler: lease"),
        ({"imports": "pkg"}, r"Heeler: imports takes a list, for example \['pkg'\]"),
        ({"queues": "images"}, "Heeler: queues takes a list"),
        ({"queues": [3]}, "a queue must be a name, got 3"),
        ({"middleware": object()}, "Heeler: middleware takes a list"),
        ({"default_queue": ""}, "Heeler: default_queue must be a name"),
        ({"namespace": 3}, "Heeler: namespace must be a name"),
        ({"id_maker": "uuid"}, "Heeler: id_maker must be callable"),
        (
            {"results": "reddis://"},
            "unknown result store scheme 'reddis' .did you mean .redis.*; known are .*sqlite://.* none://",
        ),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_at_once(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        Heeler("memory://", **settings)


def test_an_empty_url_is_not_taken_for_none(monkeypatch):
    monkeypatch.setenv("HEELER_URL", "memory://")

    with pytest.raises(ConfigurationError, match="not a URL"):
        Heeler("")


def test_a_declared_task_makes_its_ids(app):
    assert app.declare("elsewhere", id_maker=lambda: "mine").enqueue().id == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queues": []}, "queues is empty"),
        ({"queues": {}}, "queues is empty"),
        ({"tasks": []}, "tasks is empty"),
        ({"max_jobs_per_child": 0}, "max_jobs_per_child must be 1 or more"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
    ],
)
def test_a_worker_that_could_do_nothing_is_refused(app, options, words):
    with pytest.raises(ConfigurationError, match=words):
        app.worker(**options)
