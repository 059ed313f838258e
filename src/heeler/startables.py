"""What a schedule may start, packed so that every process can start it, whether or not it knows the tasks.

This is the one place that knows the kinds of it. Each is made into envelopes and latches under a given id when its time
has come; middleware is asked then, as for any other job.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import msgspec

from heeler.errors import ConfigurationError
from heeler.model import Envelope, Latch, Member
from heeler.producer import Producer
from heeler.task_result import TaskResult
from heeler.workflow import Signature

__all__ = ["Start", "Startables"]

_TASK = "task"


class Start(NamedTuple):
    """What is to be published, and the handle on it. Nothing is where a middleware wants it so."""

    result: TaskResult[Any]
    envelopes: tuple[Envelope, ...] = ()
    latches: tuple[Latch, ...] = ()


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    content: bytes


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


class Startables:
    """Packs and starts through the producer of an app."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def pack(self, what: Any) -> bytes:
        """The bytes that a store keeps. Raises InvalidArguments, and ConfigurationError for what cannot be started."""
        if isinstance(what, Signature):
            return _encode(_Packed(_TASK, _encode(self._producer.template(*what.call))))
        raise ConfigurationError(
            f"a schedule starts a task: give a signature such as task.s(1, 2), got {type(what).__name__}"
        )

    def describe(self, what: Any) -> str:
        """The same for people: the call as one would write it."""
        return repr(what).replace(".s(", "(", 1) if isinstance(what, Signature) else repr(what)

    async def start(self, packed: bytes, id: str, headers: dict[str, str], ends_at: tuple[Member, ...] = ()) -> Start:
        """What to publish so that it runs under this id, and tells these latches when it has ended.

        Raises ValueError for bytes that cannot be read here, and what a middleware raises.
        """
        if self._producer.asks_middleware:  # user's code, which must not hold up the I/O thread
            return await asyncio.to_thread(self._start, packed, id, headers, ends_at)
        return self._start(packed, id, headers, ends_at)

    def _start(self, packed: bytes, id: str, headers: dict[str, str], ends_at: tuple[Member, ...]) -> Start:
        try:
            read = _decode(packed)
            if read.kind != _TASK:
                raise ValueError(f"this Heeler cannot start a {read.kind}; upgrade it")
            template = _decode_envelope(read.content)
        except msgspec.DecodeError as error:
            raise ValueError(f"what it starts cannot be read: {error}") from error
        result, envelope = self._producer.prepare_like(template, id, headers)
        if envelope is None:
            return Start(result)
        if ends_at:
            envelope = msgspec.structs.replace(envelope, ends_at=(*envelope.ends_at, *ends_at))
        return Start(result, (envelope,))
