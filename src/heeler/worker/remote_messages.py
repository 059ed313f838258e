"""What crosses between a worker and a pool child about one run: the order, the news meanwhile, and the reply."""

from __future__ import annotations

import msgspec

from heeler.arguments import Mend
from heeler.model import Envelope, ErrorRecord, Latch, Message, RunInfo
from heeler.task_spec import TaskSpec

__all__ = [
    "CANCEL",
    "Order",
    "RemoteRaised",
    "RemoteRejected",
    "RemoteReply",
    "RemoteReport",
    "RemoteRetryLater",
    "RemoteReturned",
    "RemoteSaved",
    "RemoteSignal",
    "RemoteUnreadable",
    "encode",
    "order_for",
    "parse_order",
    "parse_reply",
    "parse_signal",
]

CANCEL = b"cancel"  # worker → child, by `Executor.signal`: `context.cancelled` is true from now on


class Order(msgspec.Struct, frozen=True, array_like=True):
    """A run that a child is to make. The arguments cross as they came: only the child decodes them.

    Importing `defined_in` registers the task there.
    """

    info: RunInfo
    payload: bytes
    content_type: str
    bound: bool
    defined_in: str
    soft_timeout: float | None = None
    mends: tuple[Mend, ...] = ()


class RemoteReturned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """The function returned `value`, encoded by the task's codec; None for a returned None."""

    value: bytes | None
    follow_ups: tuple[Envelope, ...] = ()
    follow_latches: tuple[Latch, ...] = ()


class RemoteRaised(msgspec.Struct, frozen=True, array_like=True, tag="raised"):
    """The attempt failed."""

    error: ErrorRecord


class RemoteRetryLater(msgspec.Struct, frozen=True, array_like=True, tag="retry"):
    """The task raised `RetryLater`."""

    after: float
    count: bool
    error: ErrorRecord


class RemoteRejected(msgspec.Struct, frozen=True, array_like=True, tag="reject"):
    """The task raised `Reject`."""

    reason: str
    error: ErrorRecord


class RemoteUnreadable(msgspec.Struct, frozen=True, array_like=True, tag="unreadable"):
    """The function was not called: the arguments cannot be decoded, or do not fit it."""

    error: ErrorRecord


RemoteReply = RemoteReturned | RemoteRaised | RemoteRetryLater | RemoteRejected | RemoteUnreadable


class RemoteReport(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """The task called `context.progress`."""

    fraction: float | None
    message: str | None


class RemoteSaved(msgspec.Struct, frozen=True, array_like=True, tag="saved"):
    """The task called `context.save`; encoded like a return value."""

    value: bytes


RemoteSignal = RemoteReport | RemoteSaved

encode = msgspec.msgpack.Encoder().encode
_orders = msgspec.msgpack.Decoder(Order)
_replies: msgspec.msgpack.Decoder[RemoteReply] = msgspec.msgpack.Decoder(RemoteReply)
_signals: msgspec.msgpack.Decoder[RemoteSignal] = msgspec.msgpack.Decoder(RemoteSignal)


def order_for(
    spec: TaskSpec,
    message: Message,
    info: RunInfo,
    *,
    soft_timeout: float | None = None,
    mends: tuple[Mend, ...] = (),
) -> bytes:
    """The `Call.order` of a run of a task that a child can import (`spec.importable`)."""
    assert spec.defined_in is not None
    return encode(
        Order(
            info=info,
            payload=message.payload,
            content_type=message.content_type,
            bound=message.bound,
            defined_in=spec.defined_in,
            soft_timeout=soft_timeout,
            mends=mends,
        )
    )


def parse_order(data: bytes) -> Order:
    return _orders.decode(data)


def parse_reply(data: bytes) -> RemoteReply:
    """How the run ended, from `Finished.value`."""
    return _replies.decode(data)


def parse_signal(data: bytes) -> RemoteSignal:
    """What the run said meanwhile, from `Executor.on_signal`."""
    return _signals.decode(data)
