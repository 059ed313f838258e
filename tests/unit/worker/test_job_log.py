"""What the log says of runs."""

import asyncio
import logging

import pool_tasks
import pytest

from heeler import Heeler, Reject, Retry, RetryLater


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """(level, task, what is said of it without its name and id) of each line about a run."""
    caplog.set_level(logging.DEBUG, "heeler")

    class Lines(list[tuple[str, str, str]]):
        def read(self) -> list[tuple[str, str, str]]:
            return [
                (record.levelname, record.task_name, record.getMessage().split(" ", 2)[2])
                for record in caplog.records
                if record.name == "heeler.worker" and record.funcName == "ended"
            ]

    return Lines()


def test_a_failure_is_a_warning_while_there_are_attempts_left_then_an_error_with_its_traceback(
    app: Heeler, lines, caplog: pytest.LogCaptureFixture
):
    @app.task(name="bad", retry=Retry(2, delay=0.01, jitter=False))
    def bad() -> None:
        raise ValueError("no such picture")

    result = bad.enqueue()
    app.worker(burst=True).run()
    with app.worker():
        result.join(10)
    assert lines.read() == [
        ("WARNING", "bad", "failed, again in 0.0 s: ValueError: no such picture"),
        ("ERROR", "bad", "failed after 2 attempts: ValueError: no such picture"),
    ]
    [warning, error] = [record for record in caplog.records if record.funcName == "ended"]
    assert (error.task_id, error.task_attempt) == (result.id, 2)
    assert error.getMessage().startswith(f"bad {result.id} ")
    assert error.exc_text.startswith("Traceback")
    assert warning.exc_text is None


def test_all_else_is_said_at_debug_only(app: Heeler, lines):
    attempts: list[int] = []

    @app.task(name="good")
    def good() -> None: ...

    @app.task(name="again")
    def again() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise RetryLater(0, count=False)

    @app.task(name="rejects")
    def rejects() -> None:
        raise Reject("never")

    @app.task(name="late", expires=0)
    def late() -> None: ...

    results = [task.enqueue() for task in (good, again, rejects, late)]
    with app.worker():
        for result in results:
            result.join(10)
    assert sorted(lines.read()) == [
        ("DEBUG", "again", "asked to be run again"),
        ("DEBUG", "again", "succeeded"),
        ("DEBUG", "good", "succeeded"),
        ("DEBUG", "late", "expired before it could start"),
        ("ERROR", "rejects", "failed after 1 attempt: heeler.errors.Rejected: never"),
    ]


def test_at_info_a_success_says_nothing(app: Heeler, lines, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "heeler")

    @app.task(name="good")
    async def good() -> None:
        await asyncio.sleep(0)

    with app.worker():
        good.enqueue().get(10)
    assert lines.read() == []


def test_what_is_logged_while_the_arguments_are_decoded_is_that_task_s(app: Heeler, caplog: pytest.LogCaptureFixture):
    class Token(str):
        __slots__ = ()

    def read(text: str) -> Token:
        logging.getLogger("own").warning("reading %s", text)
        return Token(text)

    app.types.register(Token, encode=str, decode=read)

    @app.task(name="take", on_success=lambda context, value: None)
    def take(token: Token) -> str:
        return token

    result = take.enqueue(Token("x"))
    caplog.clear()
    with app.worker():
        assert result.get(10) == "x"
    [record] = [record for record in caplog.records if record.name == "own"]
    assert (record.task_id, record.task_name, record.task_attempt) == (result.id, "take", 1)


def test_the_death_of_a_child_is_said(lines, caplog: pytest.LogCaptureFixture):
    with pool_tasks.app.worker():
        pool_tasks.die.enqueue().join(60)
    pool_tasks.app.dead_letters.purge()
    said = lines.read()
    assert said[0] == ("WARNING", "pool_tasks.die", "failed, again at once: its process died (signal 9)")
    assert said[-1][0] == "ERROR"
    assert "WorkerCrashed" in said[-1][2]
