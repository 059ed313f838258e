"""A run in a pool child: from the order's bytes to the reply's. `run_order` is the pool's entry point.

What crosses is in `remote_messages`; this is the side of the child.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import logging
from collections.abc import Awaitable
from typing import Any

from heeler.clock import SystemClock
from heeler.contracts import CallChannel, TypedCodec
from heeler.error_records import record_error
from heeler.errors import ConfigurationError, HeelerError, InvalidArguments, Reject, Rejected, RetryLater
from heeler.hooks import Hooks, State
from heeler.model import Envelope, ErrorRecord, Latch, Message, Publication
from heeler.registry import find_task
from heeler.task import Task
from heeler.task_context import TaskContext, running_context
from heeler.task_spec import TaskHome, TaskSpec
from heeler.worker.log_records import tag_records
from heeler.worker.remote_messages import (
    CANCEL,
    Order,
    RemoteRaised,
    RemoteRejected,
    RemoteReply,
    RemoteRetryLater,
    RemoteReturned,
    RemoteSaved,
    RemoteUnreadable,
    encode,
    order_for,
    parse_order,
    parse_reply,
    parse_signal,
)
from heeler.worker.report_throttle import ReportThrottle
from heeler.worker.soft_interrupt import run_coroutine, soft_alarm

__all__ = ["CANCEL", "ENTRY_POINT", "order_for", "parse_reply", "parse_signal", "run_order"]

ENTRY_POINT = "heeler.worker.remote_run:run_order"


class _Child:
    """What lasts from one call to the next: the event loop of coroutine tasks, and what startup hooks have made."""

    def __init__(self, channel: CallChannel) -> None:
        self.runner = asyncio.Runner()
        tag_records()
        self._states: dict[Hooks, State] = {}
        channel.at_end(self.close)

    def state(self, hooks: Hooks) -> State:
        """What the startup hooks made, once. Raises what a hook raises: then the next call tries again."""
        if hooks not in self._states:
            state = State()
            self.runner.run(hooks.run_startup(state))
            self._states[hooks] = state
        return self._states[hooks]

    def close(self) -> None:
        global _child
        _child = None
        with self.runner:
            for hooks, state in reversed(self._states.items()):
                self.runner.run(hooks.run_shutdown(state, logging.getLogger("heeler.worker")))


_child: _Child | None = None


class _RunChannel:
    """How the context of a run in this child reaches the worker; refuses everything after the run's end."""

    def __init__(self, channel: CallChannel, order: Order, spec: TaskSpec) -> None:
        self._channel = channel
        self._order = order
        self._spec = spec
        self._saved = order.info.saved
        self._reports = ReportThrottle(lambda report: channel.send(encode(report)))
        self._cancelled = False
        self._over = False
        self._follow_ups: list[Envelope] = []
        self._follow_latches: list[Latch] = []

    @property
    def cancelled(self) -> bool:
        if not self._cancelled and not self._over:
            self._cancelled = CANCEL in self._channel.received()
        return self._cancelled

    @property
    def saved(self) -> Any:
        return None if self._saved is None else self._spec.codec.decode(self._saved)

    def report(self, fraction: float | None, message: str | None) -> None:
        self._check_open()
        self._reports.report(fraction, message)

    def save(self, value: Any) -> None:
        self._check_open()
        self._saved = self._spec.returns.encode(value, self._spec.codec, "saved")
        self._channel.send(encode(RemoteSaved(self._saved)))

    def follow_up(self, publication: Publication) -> None:
        self._check_open()
        self._follow_ups += publication.envelopes
        self._follow_latches += publication.latches

    def close(self) -> tuple[tuple[Envelope, ...], tuple[Latch, ...]]:
        """The run is over; what is to follow if it succeeded."""
        self._over = True
        self._reports.flush()
        return tuple(self._follow_ups), tuple(self._follow_latches)

    def _check_open(self) -> None:
        if self._over:
            raise HeelerError(
                f"the run of {self._order.info.task} ({self._order.info.id}) is over: its context is closed"
            )


def run_order(order: bytes, channel: CallChannel) -> bytes:
    """Make one run; whatever happens in it is a reply."""
    global _child
    if _child is None:
        _child = _Child(channel)
    asked = parse_order(order)
    reply = contextvars.copy_context().run(_run, _child, asked, channel)
    return encode(reply)


def _run(child: _Child, order: Order, channel: CallChannel) -> RemoteReply:
    try:
        task = _find(order)
        spec = task.spec
        home = spec.home or TaskHome()
        state = child.state(home.hooks)
    except BaseException as error:
        return RemoteRaised(_record(error, order))
    try:
        run_channel = _RunChannel(channel, order, spec)
        context = TaskContext(order.info, run_channel, state)
        args, kwargs = spec.prepare_call(_message(order), _codec(order, spec, home), context, order.mends)
    except (InvalidArguments, LookupError) as error:
        return RemoteUnreadable(_record(error, order))
    running_context.set(context)
    try:
        for hook in home.in_child:
            hook(context)
        value = _call(child.runner, spec, args, kwargs, order.soft_timeout)
        encoded = None if value is None else spec.returns.encode(value, spec.codec)
        follow_ups, follow_latches = run_channel.close()
        return RemoteReturned(value=encoded, follow_ups=follow_ups, follow_latches=follow_latches)
    except RetryLater as signal:
        return RemoteRetryLater(signal.after, signal.count, _record(signal, order))
    except Reject as signal:
        return RemoteRejected(
            signal.reason, _record(Rejected(signal.reason).with_traceback(signal.__traceback__), order)
        )
    except BaseException as error:
        return RemoteRaised(_record(error, order))
    finally:
        run_channel.close()


def _find(order: Order) -> Task[Any, Any]:
    task = find_task(order.info.task)
    if task is None:
        importlib.import_module(order.defined_in)
        task = find_task(order.info.task)
    if task is None:
        raise ConfigurationError(
            f"task {order.info.task!r} runs in child processes, but importing {order.defined_in} does not register it "
            f'there; register it at the top level of that module, outside of `if __name__ == "__main__"`'
        )
    return task


def _message(order: Order) -> Message:
    return Message(
        id=order.info.id,
        task=order.info.task,
        queue_name=order.info.queue_name,
        payload=order.payload,
        content_type=order.content_type,
        bound=order.bound,
    )


def _codec(order: Order, spec: TaskSpec, home: TaskHome) -> TypedCodec:
    """That of the arguments; values go back in the task's own."""
    if order.content_type == spec.codec.content_type:
        return spec.codec
    return home.codecs.get(order.content_type)


def _call(
    runner: asyncio.Runner, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], soft_timeout: float | None
) -> Any:
    assert spec.function is not None
    if spec.is_coroutine:
        return runner.run(
            run_coroutine(spec.function(*args, **kwargs), soft_timeout), context=contextvars.copy_context()
        )
    with soft_alarm(soft_timeout):
        value = spec.function(*args, **kwargs)
    if inspect.isawaitable(value):  # a plain function that returns a coroutine, a partial of one, …
        value = runner.run(_awaited(value), context=contextvars.copy_context())
    return value


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _record(error: BaseException, order: Order) -> ErrorRecord:
    return record_error(error, order.info.attempt, SystemClock.time())
