import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from heeler.contracts import Middleware
from heeler.errors import ConfigurationError
from heeler.middleware import all_ready, check_middleware, compose_enqueue, compose_run, report_error


def send(message: Any) -> Any:
    return ("sent", message)


async def run(context: Any) -> Any:
    return ("ran", context)


class Tracing(Middleware):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def around_enqueue(self, message: Any, call_next: Any) -> Any:
        self.log.append(f"{self.name} in")
        result = call_next(f"{message}{self.name}")
        self.log.append(f"{self.name} out")
        return result

    async def around_run(self, context: Any, call_next: Any) -> Any:
        self.log.append(f"{self.name} in")
        result = await call_next(f"{context}{self.name}")
        self.log.append(f"{self.name} out")
        return result


class Idle(Middleware):
    pass


def test_without_hooks_the_innermost_is_called_directly() -> None:
    entries = [Idle(), Middleware(), SimpleNamespace(ready=lambda worker: True)]
    assert compose_enqueue(entries, send) is send
    assert compose_run(entries, run) is run
    assert compose_enqueue([], send) is send


async def test_the_first_middleware_is_the_outermost() -> None:
    log: list[str] = []
    entries = [Tracing("a", log), Idle(), Tracing("b", log)]
    assert compose_enqueue(entries, send)("m") == ("sent", "mab")
    assert log == ["a in", "b in", "b out", "a out"]
    log.clear()
    assert await compose_run(entries, run)("c") == ("ran", "cab")
    assert log == ["a in", "b in", "b out", "a out"]


async def test_call_next_without_an_argument_passes_the_same_on() -> None:
    async def around_run(context: Any, call_next: Any) -> Any:
        return await call_next()

    entry = SimpleNamespace(around_enqueue=lambda message, call_next: call_next(), around_run=around_run)
    assert compose_enqueue([entry], send)("m") == ("sent", "m")
    assert await compose_run([entry], run)("c") == ("ran", "c")


async def test_a_hook_may_stop_and_answer_itself() -> None:
    async def around_run(context: Any, call_next: Any) -> Any:
        return "cached"

    entry = SimpleNamespace(around_enqueue=lambda message, call_next: None, around_run=around_run)
    inner = Tracing("x", log := [])
    assert compose_enqueue([entry, inner], send)("m") is None
    assert await compose_run([entry, inner], run)("c") == "cached"
    assert log == []


async def test_a_hook_may_call_next_more_than_once() -> None:
    failures = [ValueError("first"), None]

    async def flaky(context: Any) -> Any:
        if error := failures.pop(0):
            raise error
        return "second"

    class Again(Middleware):
        async def around_run(self, context: Any, call_next: Any) -> Any:
            try:
                return await call_next()
            except ValueError:
                return await call_next()

    assert await compose_run([Again()], flaky)("c") == "second"


class Broken(Middleware):
    def around_enqueue(self, message: Any, call_next: Any) -> Any:
        raise LookupError("no tenant")

    async def around_run(self, context: Any, call_next: Any) -> Any:
        await call_next(context)
        raise LookupError("no tenant")


async def test_an_error_of_a_hooks_own_is_raised_as_it_is_and_names_the_hook() -> None:
    log: list[str] = []
    entries = [Tracing("outer", log), Broken(), Tracing("inner", log)]
    with pytest.raises(LookupError, match="no tenant") as caught:
        compose_enqueue(entries, send)("m")
    assert caught.value.__notes__ == ["raised by the middleware hook Broken.around_enqueue"]
    with pytest.raises(LookupError, match="no tenant") as caught:
        await compose_run(entries, run)("c")
    assert caught.value.__notes__ == ["raised by the middleware hook Broken.around_run"]


async def test_an_error_from_within_passes_through_all_hooks_unmarked() -> None:
    entries = [Tracing("a", []), Tracing("b", [])]

    def failing_send(message: Any) -> Any:
        raise ValueError("broker")

    async def failing_run(context: Any) -> Any:
        raise ValueError("task")

    with pytest.raises(ValueError, match="broker") as caught:
        compose_enqueue(entries, failing_send)("m")
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(ValueError, match="task") as caught:
        await compose_run(entries, failing_run)("c")
    assert not hasattr(caught.value, "__notes__")


async def test_an_error_that_replaces_one_from_within_names_the_hook() -> None:
    class Translating(Middleware):
        async def around_run(self, context: Any, call_next: Any) -> Any:
            try:
                return await call_next()
            except ValueError as error:
                raise KeyError("translated") from error

    async def failing(context: Any) -> Any:
        raise ValueError("task")

    with pytest.raises(KeyError) as caught:
        await compose_run([Translating()], failing)("c")
    assert caught.value.__notes__ == ["raised by the middleware hook Translating.around_run"]
    assert isinstance(caught.value.__cause__, ValueError)


async def test_runs_side_by_side_do_not_mix_up_their_errors() -> None:
    async def failing(context: Any) -> Any:
        await asyncio.sleep(0)
        raise context

    composed = compose_run([Tracing("a", []), Passing()], failing)
    errors = [ValueError(str(number)) for number in range(3)]
    caught = await asyncio.gather(*(composed(error) for error in errors), return_exceptions=True)
    assert all(not hasattr(error, "__notes__") for error in caught)


class Passing(Middleware):
    async def around_run(self, context: Any, call_next: Any) -> Any:
        return await call_next()


class Listening(Middleware):
    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def on_error(self, exc: BaseException, where: str) -> None:
        self.told.append((exc, where))


class Deaf(Middleware):
    def on_error(self, exc: BaseException, where: str) -> None:
        raise RuntimeError("deaf")

    def ready(self, worker: Any) -> bool:
        raise RuntimeError("lame")


def test_every_on_error_hook_is_told_even_if_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    fault = OSError("gone")
    with caplog.at_level(logging.ERROR, "heeler.middleware"):
        report_error([Listening(told), Deaf(), Idle(), SimpleNamespace(), Listening(told)], fault, "fetcher")
    assert told == [(fault, "fetcher")] * 2
    assert "Deaf.on_error failed while it was told of a fault in fetcher" in caplog.text
    assert "RuntimeError: deaf" in caplog.text


def test_the_worker_fetches_only_if_all_are_ready() -> None:
    asked: list[Any] = []
    yes = SimpleNamespace(ready=lambda worker: asked.append(worker) or True)
    no = SimpleNamespace(ready=lambda worker: False)
    assert all_ready([], "w") is True
    assert all_ready([yes, Idle(), yes], "w") is True
    assert asked == ["w", "w"]
    assert all_ready([yes, no], "w") is False


def test_a_ready_hook_that_fails_is_logged_and_counts_as_a_no(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "heeler.middleware"):
        assert all_ready([Deaf()], "w") is False
    assert "Deaf.ready failed" in caplog.text


def test_what_cannot_be_a_middleware_is_a_configuration_error() -> None:
    check_middleware([Idle(), Tracing("a", []), SimpleNamespace(on_error=print)])
    with pytest.raises(ConfigurationError, match=r"pass an object, Idle\(\), not the class Idle"):
        check_middleware([Idle])
    with pytest.raises(ConfigurationError, match="has none of the hooks around_enqueue, around_run, in_child, on_sent"):
        check_middleware([object()])

    class Async:
        async def around_enqueue(self, message: Any, call_next: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match="Async: around_enqueue must be a plain function"):
        check_middleware([Async()])
    with pytest.raises(ConfigurationError):
        compose_enqueue([Idle], send)
    with pytest.raises(ConfigurationError):
        compose_run([Idle], run)
