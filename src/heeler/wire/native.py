"""Heeler's own wire format: the body is the arguments alone, and what is usual is not written at all."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from heeler.contracts import WireFormat
from heeler.model import NATIVE_FORMAT, Backoff, Envelope, Message, Reports, Retry

__all__ = ["NativeFormat"]

_VERSION = 1


class _RetryOption(msgspec.Struct, frozen=True, array_like=True, gc=False):
    max_attempts: int | None
    delay: float
    backoff: Backoff
    max_delay: float
    jitter: bool
    on: tuple[str, ...]
    not_on: tuple[str, ...]


class _Options(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the producer asked of one run in place of the task's own options, in the order of version 1."""

    timeout: float | None
    soft_timeout: float | None
    retry: _RetryOption | None
    reports: Reports | None
    max_crashes: int | None
    bound: bool
    positional: int | None = None


_NONE = _Options(None, None, None, None, None, True)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Options)


class NativeFormat(WireFormat):
    """Options are empty where the task's own apply; else a version byte and a MessagePack array."""

    name = NATIVE_FORMAT

    def seal(self, message: Message, *, keeps_result: bool, reply_to: str | None = None) -> Envelope:
        usual = (
            message.bound
            and message.retry is None
            and message.timeout is None
            and message.soft_timeout is None
            and message.reports is None
            and message.max_crashes is None
            and message.positional is None
        )
        return Envelope(
            id=message.id,
            task=message.task,
            queue=message.queue_name,
            body=message.payload,
            content_type=message.content_type,
            options=b"" if usual else _write_options(message),
            headers=message.headers,
            priority=message.priority,
            enqueued_at=message.enqueued_at,
            delay=message.delay,
            run_at=message.run_at,
            expires_in=message.expires_in,
            expires_at=message.expires_at,
            keep=message.result_ttl,
            keeps_result=keeps_result,
            fingerprint=message.fingerprint,
            routing_key=message.routing_key,
            reply_to=reply_to,
        )

    def seal_like(self, envelope: Envelope) -> Callable[[str, bytes, float], Envelope]:
        replace = msgspec.structs.replace
        return lambda id, payload, at: replace(envelope, id=id, body=payload, enqueued_at=at)

    def open(self, envelope: Envelope) -> Message:
        if envelope.format != self.name:
            raise ValueError(f'wire format "{envelope.format}" is not "{self.name}"')
        options = _read_options(envelope.options) if envelope.options else _NONE
        return Message(
            id=envelope.id,
            task=envelope.task,
            queue_name=envelope.queue,
            payload=envelope.body,
            content_type=envelope.content_type,
            headers=envelope.headers,
            priority=envelope.priority,
            enqueued_at=envelope.enqueued_at,
            delay=envelope.delay,
            run_at=envelope.run_at,
            expires_in=envelope.expires_in,
            expires_at=envelope.expires_at,
            timeout=options.timeout,
            soft_timeout=options.soft_timeout,
            retry=_retry(options.retry) if options.retry is not None else None,
            reports=options.reports,
            ignore_result=not envelope.keeps_result,
            result_ttl=envelope.keep,
            max_crashes=options.max_crashes,
            bound=options.bound,
            positional=options.positional,
            fingerprint=envelope.fingerprint,
            routing_key=envelope.routing_key,
        )


def _write_options(message: Message) -> bytes:
    retry = message.retry
    options = _Options(
        timeout=message.timeout,
        soft_timeout=message.soft_timeout,
        retry=None
        if retry is None
        else _RetryOption(
            retry.max_attempts,
            retry.delay,
            retry.backoff,
            retry.max_delay,
            retry.jitter,
            retry.on,
            retry.not_on,
        ),
        reports=message.reports,
        max_crashes=message.max_crashes,
        bound=message.bound,
        positional=message.positional,
    )
    return bytes((_VERSION,)) + _encoder.encode(options)


def _read_options(data: bytes) -> _Options:
    if data[0] != _VERSION:
        raise ValueError(f"the envelope's options are of version {data[0]}, and this Heeler reads version {_VERSION}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the envelope's options cannot be read: {error}") from error


def _retry(option: _RetryOption) -> Retry:
    try:
        return Retry(
            option.max_attempts,
            option.delay,
            option.backoff,
            option.max_delay,
            option.jitter,
            option.on,
            option.not_on,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"the envelope's options cannot be read: {error}") from error
