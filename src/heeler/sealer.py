"""Turns a call into a message, passes it through the middleware, and seals it: the handle, and the envelope to send."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from heeler.arguments import Gap, Way, encode_unbound, fingerprint, given_unbound, take_gaps
from heeler.clock import new_id, new_ids
from heeler.contracts import Middleware, TypedCodec, WireFormat
from heeler.errors import ConfigurationError, InvalidArguments, PayloadTooLarge
from heeler.expiry_watch import expires_at
from heeler.middleware import compose_enqueue
from heeler.model import Envelope, Message, ResultRecord
from heeler.overrides import NO_OVERRIDES, Overrides, checked_id
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import MomentOrDelay, TaskSpec, moment_or_delay

__all__ = ["ItemReader", "Prepared", "Sealer"]


class Prepared(NamedTuple):
    """A handle, and the envelope that is to be sent for it; None where a middleware answered by itself."""

    result: TaskResult[Any]
    envelope: Envelope | None


ItemReader = Callable[[Any, Overrides], tuple[TaskSpec, tuple[Any, ...], dict[str, Any], Overrides]]
"""Reads one item of an `enqueue_many`: a tuple, a dict or a Signature. Raises TypeError for anything else."""


class Sealer:
    """Makes the jobs of one app, and sends none. Thread-safe.

    A call of a task that has been called before with nothing but positional arguments takes a short way: what such
    jobs have in common is worked out once.
    """

    def __init__(
        self,
        source: ResultSource,
        *,
        wire: WireFormat,
        middleware: Sequence[Middleware],
        id_maker: Callable[[], str],
    ) -> None:
        self.source = source
        self._connections = source.connections
        self._listener = source.listener
        self._codecs = source.codecs
        self._clock = source.clock
        self._wire = wire
        self._id_maker = id_maker
        innermost = self._seal
        self._around = compose_enqueue(middleware, innermost)
        self._is_wrapped = self._around is not innermost
        self._usual: dict[TaskSpec, _Alike] = {}

    # One call

    def message(
        self,
        spec: TaskSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        ask: Overrides,
        *,
        payload: bytes | None = None,
        id: str = "",
    ) -> Message:
        """The message of a call. `payload` and `id` are those of a job that has a place in a workflow.

        Raises InvalidArguments, and ConfigurationError for an unknown codec.
        """
        options = spec.options
        codec = self._codec_for(spec, ask)
        parameters = spec.parameters
        positional: int | None = None
        if parameters is None:
            payload = encode_unbound(args, kwargs, codec, spec.name) if payload is None else payload
        else:
            payload = parameters.encode(args, kwargs, codec) if payload is None else payload
            if kwargs and parameters.given_by_name(kwargs):
                positional = len(args)
        digest = b""
        if not id:
            id, chosen = self._id_of(spec, ask)
            digest = self._fingerprint(spec, payload, codec) if chosen else b""
        if ask is NO_OVERRIDES:
            expires_at, expires_in = _moment_and_delay(options.expires, "expires")
            return Message(
                id=id,
                task=spec.name,
                queue_name=options.queue_name,
                payload=payload,
                content_type=codec.content_type,
                args=args,
                kwargs=kwargs,
                priority=options.priority,
                enqueued_at=self._clock.time(),
                expires_at=expires_at,
                expires_in=expires_in,
                reports=None if options.reports == "final" else options.reports,
                ignore_result=options.ignore_result,
                result_ttl=options.result_ttl,
                bound=parameters is not None,
                positional=positional,
                fingerprint=digest,
            )
        expires_at, expires_in = ask.expires_at, ask.expires_in
        if expires_at is None and expires_in is None:
            expires_at, expires_in = _moment_and_delay(options.expires, "expires")
        return Message(
            id=id,
            task=spec.name,
            queue_name=options.queue_name if ask.queue_name is None else ask.queue_name,
            payload=payload,
            content_type=codec.content_type,
            args=args,
            kwargs=kwargs,
            headers=ask.headers or {},
            priority=options.priority if ask.priority is None else ask.priority,
            enqueued_at=self._clock.time(),
            delay=ask.delay,
            run_at=ask.run_at,
            expires_at=expires_at,
            expires_in=expires_in,
            timeout=ask.timeout,
            soft_timeout=ask.soft_timeout,
            retry=ask.retry,
            reports=ask.reports or (None if options.reports == "final" else options.reports),
            ignore_result=options.ignore_result if ask.ignore_result is None else ask.ignore_result,
            result_ttl=options.result_ttl if ask.result_ttl is None else ask.result_ttl,
            bound=parameters is not None,
            positional=positional,
            fingerprint=digest,
            routing_key=ask.routing_key,
        )

    def _codec_for(self, spec: TaskSpec, ask: Overrides) -> TypedCodec:
        return spec.codec if ask.codec is None else self._codecs.add(ask.codec)

    @property
    def address(self) -> str | None:
        """The inbox of this process; None until somebody waited once."""
        return self._listener.address

    def new_id(self) -> tuple[str, bool]:
        """An id of the app's, and whether an `id_maker` of the user's chose it."""
        if self._id_maker is new_id:
            return new_id(), False
        return checked_id(self._id_maker(), "what id_maker returns"), True

    def _id_of(self, spec: TaskSpec, ask: Overrides) -> tuple[str, bool]:
        """The job's id, and whether it was chosen, by the caller or by an `id_maker` of the user's."""
        if ask.id is not None:
            return ask.id, True
        maker = spec.id_maker or self._id_maker
        if maker is new_id:
            return new_id(), False
        return checked_id(maker(), f"{spec.name}: what id_maker returns"), True

    def _fingerprint(self, spec: TaskSpec, payload: bytes, codec: TypedCodec) -> bytes:
        if spec.parameters is None:
            arguments = given_unbound(payload, codec, False)
        else:
            arguments = spec.parameters.given(payload, codec)
        return fingerprint(spec.name, arguments, payload, self._codecs.types)

    def _seal(self, message: Message) -> TaskResult[Any]:
        """The innermost layer of the middleware: the handle of the sealed message, not yet sent."""
        address = self._listener.address
        envelope = self._wire.seal(
            message,
            keeps_result=not message.ignore_result and self._connections.store is not None,
            reply_to=address,
        )
        self._check_size(envelope)
        result: TaskResult[Any] = TaskResult(
            self.source, ResultRecord(envelope=envelope), self._generation(envelope), True
        )
        if self._listener.is_only_source:
            self._listener.expect(result)
        return result

    def _generation(self, envelope: Envelope) -> int:
        """What the handle has to know of the listener; 0 where its envelope carries no address, and -1, which is never
        the present one, where its expiry may be told by nobody.
        """
        if envelope.reply_to is None:
            return 0
        return self._listener.generation if expires_at(envelope) is None else -1

    def _check_size(self, envelope: Envelope) -> None:
        most = self._connections.broker.max_payload
        if len(envelope.body) > most:
            raise PayloadTooLarge(
                f"{envelope.task}: the arguments take {len(envelope.body):,} bytes, more than the {most:,} that a "
                f"message may have; store the data elsewhere and pass a reference, or raise max_payload in the "
                f"broker's URL"
            )

    def prepare(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> Prepared:
        """The handle of a call and the envelope to send for it. Raises what a wrong call or a middleware raises."""
        is_usual = ask is NO_OVERRIDES and not kwargs
        if is_usual:
            usual = self._usual.get(spec)
            if usual is not None and usual.reply_to == self._listener.address:
                return usual.prepare(args, new_id(), self._clock.time())
        prepared = self._prepared(self.message(spec, args, kwargs, ask))
        if is_usual and prepared.envelope is not None:
            alike = self._alike(spec, ask, prepared.envelope)
            if alike is not None:
                self._usual[spec] = alike
        return prepared

    def _prepared(self, message: Message) -> Prepared:
        result = self._around(message)
        if not isinstance(result, TaskResult):
            raise ConfigurationError(
                f"enqueue of {message.task}: a middleware's around_enqueue returned {type(result).__name__}; it must "
                f"return call_next(message), or a TaskResult to send nothing"
            )
        if not result._unsent:
            return Prepared(result, None)
        result._unsent = False
        return Prepared(result, result._record.envelope)

    # For later

    def template(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> Envelope:
        """A call that is checked and sealed, for `prepare_like` to make jobs of. The same call, the same envelope.

        Middleware is not asked. Raises InvalidArguments, PayloadTooLarge, and ConfigurationError where the id is given.
        """
        if ask.id is not None:
            raise ConfigurationError(f"{spec.name}: what starts again and again cannot have the one id {ask.id!r}")
        unnamed = msgspec.structs.replace(ask, id="-")  # so that no `id_maker` is asked
        message = msgspec.structs.replace(self.message(spec, args, kwargs, unnamed), id="", fingerprint=b"")
        return self._sealed_for_later(message)

    def _sealed_for_later(self, message: Message) -> Envelope:
        message = msgspec.structs.replace(message, enqueued_at=0.0)
        envelope = self._wire.seal(message, keeps_result=not message.ignore_result)
        self._check_size(envelope)
        return envelope

    def prepare_like(self, template: Envelope, id: str, headers: dict[str, str]) -> Prepared:
        """As `prepare`, for a job like the template, with these headers besides. Raises what a middleware raises."""
        return self._prepared(self._message_like(template, id, headers))

    def member_template(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides, id: str
    ) -> tuple[Envelope, list[tuple[Way, Gap]]]:
        """The same for a job that has a place in a workflow; see `prepare_member`, for which `id` is its id."""
        payload: bytes | None = None
        gaps = _gaps_in(spec, args, kwargs)
        if gaps:
            payload, gaps = self._payload_with_gaps(spec, args, kwargs, ask)
        return self._sealed_for_later(self.message(spec, args, kwargs, ask, payload=payload, id=id)), gaps

    def prepare_member_like(self, template: Envelope, id: str, headers: dict[str, str]) -> Envelope:
        """As `prepare_like`. Raises what `prepare_member` raises."""
        if not self._is_wrapped:
            seal = self._wire.seal_like(template)
            if seal is not None:
                envelope = seal(id, template.body, self._clock.time())
                return msgspec.structs.replace(envelope, headers=template.headers | headers)
        return self._sealed_member(self._message_like(template, id, headers))

    def _message_like(self, template: Envelope, id: str, headers: dict[str, str]) -> Message:
        message = msgspec.structs.replace(
            self._wire.open(template), id=id, enqueued_at=self._clock.time(), headers=template.headers | headers
        )
        if self._is_wrapped:
            args, kwargs = self._given(message)
            message = msgspec.structs.replace(message, args=args, kwargs=kwargs)
        return message

    @property
    def asks_middleware(self) -> bool:
        """Whether user's code is called for each job that is made."""
        return self._is_wrapped

    def _given(self, message: Message) -> tuple[tuple[Any, ...], dict[str, Any]]:
        codec = self._codecs.get(message.content_type)
        spec = self.source.spec_of(message.task)
        if spec is None or spec.parameters is None:
            return given_unbound(message.payload, codec, message.bound)
        return spec.parameters.given(message.payload, codec, message.bound, message.positional)

    def prepare_member(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides, id: str
    ) -> tuple[Envelope, list[tuple[Way, Gap]]]:
        """The envelope of a job that has a place in a workflow, and the gaps in its arguments.

        Raises what `prepare` raises, and ConfigurationError where a middleware answers by itself.
        """
        gaps = _gaps_in(spec, args, kwargs)
        if not gaps and not kwargs and ask is NO_OVERRIDES:
            usual = self._usual.get(spec)
            if usual is not None and usual.reply_to == self._listener.address:
                prepared = usual.prepare(args, id, self._clock.time())
                assert prepared.envelope is not None
                return prepared.envelope, []
        payload: bytes | None = None
        if gaps:
            payload, gaps = self._payload_with_gaps(spec, args, kwargs, ask)
        envelope = self._sealed_member(self.message(spec, args, kwargs, ask, payload=payload, id=id))
        if not gaps and not kwargs and ask is NO_OVERRIDES:
            alike = self._alike(spec, ask, envelope)
            if alike is not None:
                self._usual[spec] = alike
        return envelope, gaps

    def _payload_with_gaps(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides
    ) -> tuple[bytes, list[tuple[Way, Gap]]]:
        """The arguments as far as they are known, and where they are not."""
        codec = self._codec_for(spec, ask)
        if spec.parameters is not None:
            return spec.parameters.encode_partly(args, kwargs, codec)
        gaps: list[tuple[Way, Gap]] = []
        plain = take_gaps([list(args), kwargs], (), gaps)
        return encode_unbound(tuple(plain[0]), plain[1], codec, spec.name), gaps

    def _sealed_member(self, message: Message) -> Envelope:
        envelope = self._prepared(message).envelope
        if envelope is None:
            raise ConfigurationError(
                f"a middleware answered in the place of {message.task}, which is part of a workflow: there it must "
                f"return call_next(message), because others wait for this job"
            )
        return envelope

    # Many calls

    def prepare_many(
        self, part: list[Any], item_of: ItemReader, ask: Overrides
    ) -> tuple[list[TaskResult[Any] | Exception], dict[int, Envelope]]:
        outcomes: list[TaskResult[Any] | Exception] = []
        envelopes: dict[int, Envelope] = {}
        alike: _Alike | None = None
        ids: Iterator[str] = iter(())
        now = self._clock.time()
        for position, item in enumerate(part):
            try:
                spec, args, kwargs, options = item_of(item, ask)
                if alike is None or spec is not alike.spec or options is not alike.options or kwargs:
                    result, envelope = self.prepare(spec, args, kwargs, options)
                    if envelope is not None and not kwargs:
                        alike = self._alike(spec, options, envelope)
                        ids = iter(new_ids(len(part) - position - 1))
                else:
                    result, envelope = alike.prepare(args, next(ids), now)
            except Exception as error:
                outcomes.append(error)
                continue
            outcomes.append(result)
            if envelope is not None:
                envelopes[position] = envelope
        return outcomes, envelopes

    def _alike(self, spec: TaskSpec, options: Overrides, envelope: Envelope) -> _Alike | None:
        """Jobs like that of `envelope`; None where each has to be made by itself."""
        is_id_chosen = options.id is not None or (spec.id_maker or self._id_maker) is not new_id
        if self._is_wrapped or spec.parameters is None or is_id_chosen:
            return None
        seal = self._wire.seal_like(envelope)
        codec = self._codecs.get(envelope.content_type)
        return None if seal is None else _Alike(self, spec, options, codec, seal, envelope)


class _Alike:
    """Jobs of one task and with the same options: what they have in common is worked out once for all."""

    __slots__ = ("_check_size", "_codec", "_encode", "_generation", "_seal", "_source", "options", "reply_to", "spec")

    def __init__(
        self,
        sealer: Sealer,
        spec: TaskSpec,
        options: Overrides,
        codec: TypedCodec,
        seal: Callable[[str, bytes, float], Envelope],
        envelope: Envelope,
    ) -> None:
        assert spec.parameters is not None
        self.spec = spec
        self.options = options
        self._encode = spec.parameters.encode
        self._codec = codec
        self._seal = seal
        self._check_size = sealer._check_size
        self._source = sealer.source
        self.reply_to = envelope.reply_to
        self._generation = sealer._generation

    def prepare(self, args: tuple[Any, ...], id: str, at: float) -> Prepared:
        """`Sealer.prepare` for another of them, enqueued at a time."""
        envelope = self._seal(id, self._encode(args, {}, self._codec), at)
        self._check_size(envelope)
        result: TaskResult[Any] = TaskResult(self._source, ResultRecord(envelope=envelope), self._generation(envelope))
        if self._source.listener.is_only_source:
            self._source.listener.expect(result)
        return Prepared(result, envelope)


def _gaps_in(spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Way, Gap]]:
    """The gaps in arguments; the ways to them begin within the argument."""
    gaps: list[tuple[Way, Gap]] = []
    try:
        for value in (*args, *kwargs.values()):
            take_gaps(value, (), gaps)
    except RecursionError:
        raise InvalidArguments(f"{spec.name}: an argument is nested too deeply to be sent") from None
    return gaps


def _moment_and_delay(value: MomentOrDelay | None, what: str) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    moment, delay = moment_or_delay(value, what)
    return (moment, None) if moment is not None else (None, delay)
