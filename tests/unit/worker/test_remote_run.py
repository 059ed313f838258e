"""How a run crosses into a pool child and back; `run_order` is called here as the child would."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import remote_tasks

from heeler import HeelerError, RetryLater
from heeler.codecs import JSON, MESSAGEPACK
from heeler.contracts import Call, Finished
from heeler.executors import ProcessExecutor
from heeler.model import Message, RunInfo
from heeler.task import Task
from heeler.worker.remote_messages import (
    CANCEL,
    RemoteRaised,
    RemoteRejected,
    RemoteReply,
    RemoteReport,
    RemoteRetryLater,
    RemoteReturned,
    RemoteSaved,
    RemoteUnreadable,
    order_for,
    parse_reply,
    parse_signal,
)
from heeler.worker.remote_run import ENTRY_POINT, run_order

WAIT = 20.0


class Channel:
    """The child's end of the pipe."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.notes: list[bytes] = []
        self.ends: list[Callable[[], object]] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def received(self) -> list[bytes]:
        notes, self.notes = self.notes, []
        return notes

    def at_end(self, callback: Callable[[], object]) -> None:
        self.ends.append(callback)


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    for end in channel.ends:
        end()


def order(
    task: Task[..., Any], *args: Any, codec: Any = MESSAGEPACK, info: RunInfo | None = None, **options: Any
) -> bytes:
    assert task.spec.parameters is not None
    message = Message(
        id="job-1",
        task=task.name,
        queue_name="default",
        payload=task.spec.parameters.encode(args, {}, codec),
        content_type=codec.content_type,
    )
    info = info or RunInfo(id="job-1", task=task.name, queue_name="default", attempt=2)
    return order_for(task.spec, message, info, **options)


def run(channel: Channel, task: Task[..., Any], *args: Any, **options: Any) -> RemoteReply:
    return parse_reply(run_order(order(task, *args, **options), channel))


def returned(reply: RemoteReply) -> Any:
    assert isinstance(reply, RemoteReturned), reply
    assert reply.value is not None
    return msgspec.msgpack.decode(reply.value)


def test_arguments_and_value_cross_in_their_declared_types(channel: Channel) -> None:
    reply = run(channel, remote_tasks.add, Decimal("0.10"), Decimal("0.20"))
    assert isinstance(reply, RemoteReturned)
    assert reply.value is not None
    assert remote_tasks.add.spec.returns.decode(reply.value, MESSAGEPACK) == Decimal("0.30")


def test_a_message_in_another_codec_is_answered_in_the_codec_of_the_task(channel: Channel) -> None:
    assert returned(run(channel, remote_tasks.add, Decimal(1), Decimal(2), codec=JSON)) == "3"


def test_a_returned_none_is_no_value(channel: Channel) -> None:
    assert run(channel, remote_tasks.nothing) == RemoteReturned(None)


def test_a_task_is_found_by_its_name_whatever_its_function_is_called(channel: Channel) -> None:
    assert returned(run(channel, remote_tasks.named)) == os.getpid()


def test_an_error_comes_back_as_a_record(channel: Channel) -> None:
    reply = run(channel, remote_tasks.fail, "nothing there")
    assert isinstance(reply, RemoteRaised)
    error = reply.error
    assert error.exception_class_path == "remote_tasks.Refused"
    assert error.attempt == 2
    assert "builtins.LookupError" in error.bases
    assert msgspec.msgpack.decode(error.arguments) == ["nothing there", 7]
    assert "in fail" in error.traceback
    assert "remote_run.py" not in error.traceback


def test_the_signals_of_a_task_are_replies_of_their_own(channel: Channel) -> None:
    reply = run(channel, remote_tasks.later, 2.5, False)
    assert isinstance(reply, RemoteRetryLater)
    assert (reply.after, reply.count) == (2.5, False)
    assert reply.error.message == str(RetryLater(2.5))
    reply = run(channel, remote_tasks.refuse)
    assert isinstance(reply, RemoteRejected)
    assert reply.reason == "no good"
    assert reply.error.exception_class_path == "heeler.errors.Rejected"
    assert "in refuse" in reply.error.traceback


def test_even_system_exit_ends_the_run_and_not_the_child(channel: Channel) -> None:
    reply = run(channel, remote_tasks.leave)
    assert isinstance(reply, RemoteRaised)
    assert reply.error.exception_class_path == "builtins.SystemExit"


def test_a_value_that_cannot_be_encoded_fails_the_run(channel: Channel) -> None:
    reply = run(channel, remote_tasks.unstorable)
    assert isinstance(reply, RemoteRaised)
    assert "remote_tasks.unstorable" in reply.error.message


@pytest.mark.parametrize("payload", [b"\xc1", msgspec.msgpack.encode({"c": 1})])
def test_arguments_that_do_not_fit_are_told_apart_from_errors_of_the_task(channel: Channel, payload: bytes) -> None:
    spec = remote_tasks.add.spec
    message = Message(
        id="job-1", task=spec.name, queue_name="default", payload=payload, content_type=MESSAGEPACK.content_type
    )
    info = RunInfo(id="job-1", task=spec.name, queue_name="default", attempt=1)
    reply = parse_reply(run_order(order_for(spec, message, info), channel))
    assert isinstance(reply, RemoteUnreadable)
    assert "remote_tasks.add" in reply.error.message


def test_an_unknown_content_type_is_unreadable(channel: Channel) -> None:
    message = Message(
        id="job-1", task="remote_tasks.nothing", queue_name="default", payload=b"", content_type="text/morse"
    )
    info = RunInfo(id="job-1", task="remote_tasks.nothing", queue_name="default", attempt=1)
    reply = parse_reply(run_order(order_for(remote_tasks.nothing.spec, message, info), channel))
    assert isinstance(reply, RemoteUnreadable)
    assert "text/morse" in reply.error.message


def test_a_task_that_its_module_does_not_register_in_the_child_is_said(channel: Channel) -> None:
    message = Message(
        id="job-1", task="lost", queue_name="default", payload=b"\x80", content_type=MESSAGEPACK.content_type
    )
    info = RunInfo(id="job-1", task="lost", queue_name="default", attempt=1)
    reply = parse_reply(run_order(order_for(remote_tasks.nothing.spec, message, info), channel))
    assert isinstance(reply, RemoteRaised)
    assert "importing remote_tasks does not register it" in reply.error.message


def test_coroutines_of_one_child_share_a_loop(channel: Channel) -> None:
    assert returned(run(channel, remote_tasks.loop_id)) == returned(run(channel, remote_tasks.loop_id))


@pytest.mark.parametrize("task", [remote_tasks.spin, remote_tasks.wait])
def test_a_soft_timeout_is_raised_inside_the_task(channel: Channel, task: Task[..., Any]) -> None:
    assert returned(run(channel, task, soft_timeout=0.01)) == "cleaned up"


def test_a_soft_timeout_that_is_not_caught_is_the_error_of_the_run(channel: Channel) -> None:
    reply = run(channel, remote_tasks.sleepy, soft_timeout=0.01)
    assert isinstance(reply, RemoteRaised)
    assert reply.error.exception_class_path == "heeler.errors.SoftTimeout"


def test_a_soft_timeout_leaves_no_alarm_behind(channel: Channel) -> None:
    before = signal.getsignal(signal.SIGALRM)
    run(channel, remote_tasks.nothing, soft_timeout=60)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_what_a_run_says_crosses_at_once_and_follow_ups_with_the_reply(channel: Channel) -> None:
    reply = run(channel, remote_tasks.speak, 42)
    assert returned(reply) == ["job-1", 2, False, {}, True, 42]
    assert [parse_signal(data) for data in channel.sent] == [
        RemoteReport(0.5, "half"),
        RemoteSaved(msgspec.msgpack.encode(42)),
    ]
    assert isinstance(reply, RemoteReturned)
    assert [envelope.task for envelope in reply.follow_ups] == ["remote_tasks.add"]


def test_what_an_earlier_run_saved_is_there_until_this_one_saves(channel: Channel) -> None:
    info = RunInfo(
        id="job-1",
        task=remote_tasks.save_again.name,
        queue_name="default",
        attempt=2,
        saved=MESSAGEPACK.encode({"rows": 1}),
    )
    reply = run(channel, remote_tasks.save_again, info=info)
    assert returned(reply) == [{"rows": 1}, {"rows": 2}]


def test_the_follow_ups_of_a_failed_run_are_dropped(channel: Channel) -> None:
    assert isinstance(run(channel, remote_tasks.speak_and_fail), RemoteRaised)


def test_a_cancel_from_the_worker_shows_in_the_context(channel: Channel) -> None:
    channel.notes = [CANCEL]
    assert returned(run(channel, remote_tasks.speak, 1))[2] is True


def test_after_the_run_its_context_is_closed(channel: Channel) -> None:
    run(channel, remote_tasks.keep)
    context = remote_tasks.kept.pop()
    for late in (context.progress, lambda: context.save(1), lambda: context.enqueue(remote_tasks.nothing.s())):
        with pytest.raises(HeelerError, match="is over"):
            late()
    assert channel.sent == []


def test_context_variables_do_not_leak_into_the_next_run(channel: Channel) -> None:
    assert [returned(run(channel, remote_tasks.leave_behind)) for _ in range(2)] == ["", ""]


def test_a_start_up_is_made_once_and_undone_on_the_same_loop(channel: Channel) -> None:
    remote_tasks.startups.clear()
    remote_tasks.shutdowns.clear()
    for _ in range(2):
        assert returned(run(channel, remote_tasks.use_pool)) == "open"
    assert remote_tasks.startups == ["once"]
    for end in channel.ends:
        end()
    channel.ends.clear()
    assert remote_tasks.shutdowns == ["same loop"]


def test_a_start_up_that_fails_fails_the_run(channel: Channel) -> None:
    reply = run(channel, remote_tasks.never_started)
    assert isinstance(reply, RemoteRaised)
    assert reply.error.message == "no database"


async def test_it_works_in_a_real_child() -> None:
    executor = ProcessExecutor(ENTRY_POINT)
    told: asyncio.Queue[Finished] = asyncio.Queue()
    signals: list[bytes] = []
    executor.on_done = lambda batch: [told.put_nowait(finished) for finished in batch]  # type: ignore[assignment]
    executor.on_signal = lambda id, data: signals.append(data)
    executor.start(1)
    executor.submit([Call(id="a", order=order(remote_tasks.speak, 5)), Call(id="b", order=order(remote_tasks.named))])
    async with asyncio.timeout(WAIT):
        first, second = await told.get(), await told.get()
    assert returned(parse_reply(first.value))[0] == "job-1"
    assert len(signals) == 2
    assert returned(parse_reply(second.value)) != os.getpid()
    await executor.close(WAIT)
