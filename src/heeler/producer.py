"""Turns a call into a message, seals it, and hands it to the broker: one by one, in bulk, from sync and async code."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from heeler.arguments import Gap, Way, encode_unbound, fingerprint, given_unbound, take_gaps
from heeler.clock import new_id, new_ids
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import Broker, Middleware, TypedCodec, WireFormat
from heeler.errors import (
    ConfigurationError,
    EnqueueManyError,
    HeelerError,
    IdConflict,
    PayloadTooLarge,
    ResultNotFound,
    Unroutable,
)
from heeler.event_teller import EventTeller
from heeler.expiry_watch import expires_at
from heeler.middleware import WatchedSending, compose_enqueue, hooks_called
from heeler.model import (
    Envelope,
    Message,
    Publication,
    PublishAnswer,
    PublishResult,
    ResultRecord,
)
from heeler.overrides import NO_OVERRIDES, Overrides, checked_id
from heeler.publish_line import PublishLine
from heeler.result_listener import ResultListener
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import MomentOrDelay, TaskSpec, moment_or_delay

__all__ = ["Prepared", "Producer"]

BATCH = 500  # envelopes in one publication of `enqueue_many` and `enqueue_iter`
PART = 8 * BATCH  # items that `enqueue_many` reads before it sends them
LAZY_PART = 2 * BATCH  # the same of `enqueue_iter`


class Prepared(NamedTuple):
    """A handle, and the envelope that is to be sent for it; None where a middleware answered by itself."""

    result: TaskResult[Any]
    envelope: Envelope | None


class Producer:
    """Sends jobs for one app. Thread-safe; all sync callers share the broker's blocking connection."""

    def __init__(
        self,
        connections: Connections,
        listener: ResultListener,
        source: ResultSource,
        *,
        codecs: Codecs,
        wire: WireFormat,
        middleware: Sequence[Middleware],
        id_maker: Callable[[], str],
        teller: EventTeller,
    ) -> None:
        self.connections = connections
        self._teller = teller
        self.source = source
        self._listener = listener
        self._codecs = codecs
        self._wire = wire
        self._id_maker = id_maker
        self._clock = connections.clock
        innermost = self._seal
        self._around = compose_enqueue(middleware, innermost)
        self._is_wrapped = self._around is not innermost
        self._on_sent = hooks_called("on_sent", middleware)
        self._line = PublishLine(connections)
        self._usual: dict[TaskSpec, _Alike] = {}
        self.after_publish: Callable[[Sequence[PublishResult]], None] | None = None

    # From a call to an envelope

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
            keeps_result=not message.ignore_result and self.connections.store is not None,
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
        most = self.connections.broker.max_payload
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
        message = msgspec.structs.replace(
            self._wire.open(template), id=id, enqueued_at=self._clock.time(), headers=template.headers | headers
        )
        if self._is_wrapped:
            args, kwargs = self._given(message)
            message = msgspec.structs.replace(message, args=args, kwargs=kwargs)
        return self._prepared(message)

    def member_template(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides, id: str
    ) -> tuple[Envelope, list[tuple[Way, Gap]]]:
        """The same for a job that has a place in a workflow; see `prepare_member`, for which `id` is its id."""
        payload: bytes | None = None
        gaps = _gaps_in(args, kwargs)
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
        message = msgspec.structs.replace(
            self._wire.open(template), id=id, enqueued_at=self._clock.time(), headers=template.headers | headers
        )
        if self._is_wrapped:
            args, kwargs = self._given(message)
            message = msgspec.structs.replace(message, args=args, kwargs=kwargs)
        return self._sealed_member(message)

    @property
    def asks_middleware(self) -> bool:
        """Whether user's code is called for each job that is made."""
        return self._is_wrapped

    async def send_guarded(self, publication: Publication) -> list[PublishResult]:
        """Publish what has a guard, on the I/O thread. `on_sent` hooks hear of it unless the guard refuses it."""
        broker = await self.connections.opened()
        sending = self._watched(publication)
        try:
            answers = await broker.publish(publication)
        except BaseException as error:
            sending.failed(error)
            raise
        if answers[-1].answer is PublishAnswer.ACCEPTED and publication.envelopes:
            sending.answered(answers[:-1])
        return answers

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
        gaps = _gaps_in(args, kwargs)
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

    # One by one

    def enqueue(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> TaskResult[Any]:
        """Send one job and return when the broker holds it."""
        broker = self.connections.opened_blocking()
        result, envelope = self.prepare(spec, args, kwargs, ask)
        if envelope is not None:
            publication = Publication(envelopes=(envelope,))
            with self._watched(publication) as sending:
                answers = broker.publish_blocking(publication)
                sending.answered(answers)
            _take_answer(result, answers[0])
            self._published(answers)
        return result

    async def aenqueue(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> TaskResult[Any]:
        """`enqueue` from async code; concurrent calls share publications, and one caller's fate is its own."""
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        result, envelope = self.prepare(spec, args, kwargs, ask)
        if envelope is not None:
            with self._watched(Publication(envelopes=(envelope,))) as sending:
                answer = await self._line.publish(envelope)
                sending.answered([answer])
            _take_answer(result, answer)
            await self._apublished([answer])
        return result

    # In bulk

    def enqueue_many(
        self, items: Iterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> list[TaskResult[Any]]:
        """Send all; what cannot be sent is told by EnqueueManyError after the rest is sent."""
        broker = self.connections.opened_blocking()
        outcomes: list[TaskResult[Any] | Exception] = []
        for part in _parts(items, PART):
            outcomes += self._send_part(part, item_of, ask, broker)
        return _all_or_error(outcomes)

    async def aenqueue_many(
        self, items: Iterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> list[TaskResult[Any]]:
        """`enqueue_many` from async code."""
        outcomes: list[TaskResult[Any] | Exception] = []
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        for part in _parts(items, BATCH):
            outcomes += await self._asend_part(part, item_of, ask)
        return _all_or_error(outcomes)

    def enqueue_iter(
        self, items: Iterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> Iterator[TaskResult[Any]]:
        """Send as the caller reads, in constant memory; what cannot be sent is told when all the rest is."""
        broker = self.connections.opened_blocking()
        refused: dict[int, Exception] = {}
        first = 0
        for part in _parts(items, LAZY_PART):
            outcomes = self._send_part(part, item_of, ask, broker)
            yield from _sent(outcomes, first, refused)
            first += len(part)
        if refused:
            raise EnqueueManyError([], refused)

    async def aenqueue_iter(
        self, items: Iterable[Any] | AsyncIterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> AsyncIterator[TaskResult[Any]]:
        """`enqueue_iter` from async code; also takes an async iterable."""
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        refused: dict[int, Exception] = {}
        first = 0
        async for part in _aparts(items):
            for result in _sent(await self._asend_part(part, item_of, ask), first, refused):
                yield result
            first += len(part)
        if refused:
            raise EnqueueManyError([], refused)

    def _send_part(
        self, part: list[Any], item_of: ItemReader, ask: Overrides, broker: Broker
    ) -> list[TaskResult[Any] | Exception]:
        outcomes: list[TaskResult[Any] | Exception] = []
        # Where in `outcomes` the jobs of each publication are, and who is told of it.
        sent: deque[tuple[list[int], WatchedSending | _Unwatched]] = deque()

        def publications() -> Iterator[Publication]:
            for start in range(0, len(part), BATCH):
                prepared, envelopes = self._prepare_part(part[start : start + BATCH], item_of, ask)
                outcomes.extend(prepared)
                if envelopes:
                    publication = Publication(envelopes=tuple(envelopes.values()))
                    positions = [start + position for position in envelopes]
                    sent.append((positions, self._watched(publication)))
                    yield publication

        try:
            for answers in broker.publish_each_blocking(publications()):
                positions, sending = sent.popleft()
                sending.answered(answers)
                _take_answers(outcomes, positions, answers)
                self._published(answers)
        except BaseException as error:
            for _, sending in sent:
                sending.failed(error)
            raise
        return outcomes

    async def _asend_part(
        self, part: list[Any], item_of: ItemReader, ask: Overrides
    ) -> list[TaskResult[Any] | Exception]:
        outcomes, envelopes = self._prepare_part(part, item_of, ask)
        if envelopes:
            publication = Publication(envelopes=tuple(envelopes.values()))
            with self._watched(publication) as sending:
                answers = await self.connections.io.arun(self.connections.broker.publish(publication))
                sending.answered(answers)
            _take_answers(outcomes, envelopes, answers)
            await self._apublished(answers)
        return outcomes

    def _prepare_part(
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

    def publish(self, envelope: Envelope) -> None:
        """Send one sealed envelope."""
        publication = Publication(envelopes=(envelope,))
        with self._watched(publication) as sending:
            answers = self.connections.opened_blocking().publish_blocking(publication)
            sending.answered(answers)
        _check(answers[0], envelope)
        self._published(answers)

    async def apublish(self, envelope: Envelope) -> None:
        """`publish` from async code."""
        publication = Publication(envelopes=(envelope,))
        with self._watched(publication) as sending:
            answers = await self.connections.io.arun(self._publish(publication))
            sending.answered(answers)
        _check(answers[0], envelope)
        await self._apublished(answers)

    def publish_each(self, publications: Iterator[Publication]) -> None:
        """Make publications real, one after the other, as they are made."""
        broker = self.connections.opened_blocking()
        sent: deque[tuple[Publication, WatchedSending | _Unwatched]] = deque()

        def watched() -> Iterator[Publication]:
            for publication in publications:
                sent.append((publication, self._watched(publication)))
                yield publication

        try:
            for answers in broker.publish_each_blocking(watched()):
                self._take_publication(*sent.popleft(), answers)
                self._published(answers)
        except BaseException as error:
            for _, sending in sent:
                sending.failed(error)
            raise

    async def apublish_each(self, publications: Iterator[Publication]) -> None:
        """`publish_each` from async code."""
        for publication in publications:
            with self._watched(publication) as sending:
                answers = await self.connections.io.arun(self.connections.broker.publish(publication))
                self._take_publication(publication, sending, answers)
            await self._apublished(answers)

    def _take_publication(
        self, publication: Publication, sending: WatchedSending | _Unwatched, answers: Sequence[PublishResult]
    ) -> None:
        sending.answered(answers)
        for answer, envelope in zip(answers, publication.envelopes, strict=True):
            if answer.answer is not PublishAnswer.ACCEPTED:
                _check(answer, envelope)

    async def _publish(self, publication: Publication) -> list[PublishResult]:
        broker = await self.connections.opened()
        return await broker.publish(publication)

    # Handles of jobs that others enqueued

    def find_result(self, id: str, task: str | None = None) -> TaskResult[Any]:
        """The handle of a known job, of this task if one is named. Raises ResultNotFound."""
        return self.connections.io.run(self._find(id, task))

    async def afind_result(self, id: str, task: str | None = None) -> TaskResult[Any]:
        """`find_result` from async code."""
        return await self.connections.io.arun(self._find(id, task))

    async def _find(self, id: str, task: str | None) -> TaskResult[Any]:
        await self.connections.opened()
        record = (await self.connections.needed_store().get([id]))[0]
        if record is None:
            raise ResultNotFound(
                f"no job {id!r} in {self.connections.shown_url}: it was never enqueued there, its result_ttl is over, "
                f"or it was enqueued with ignore_result and has ended"
            )
        if task is not None and record.envelope.task != task:
            raise ResultNotFound(f"job {id!r} is one of {record.envelope.task}, not of {task}")
        return TaskResult(self.source, record)

    # Around the sending, and after the broker has it

    def tell(self, entry: Any) -> None:
        """Call this middleware's `on_sent`, too, from now on."""
        self._on_sent = [*self._on_sent, *hooks_called("on_sent", [entry])]

    def _watched(self, publication: Publication) -> WatchedSending | _Unwatched:
        if self._teller.may_be_followed:
            return WatchedSending([*self._on_sent, self._teller.sent], self._clock, publication)
        return WatchedSending(self._on_sent, self._clock, publication) if self._on_sent else _UNWATCHED

    def _published(self, answers: Sequence[PublishResult]) -> None:
        if self.after_publish is not None:
            self.after_publish(answers)

    async def _apublished(self, answers: Sequence[PublishResult]) -> None:
        if self.after_publish is not None:
            await asyncio.to_thread(self.after_publish, answers)


def _gaps_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Way, Gap]]:
    """The gaps in arguments; the ways to them begin within the argument."""
    gaps: list[tuple[Way, Gap]] = []
    for value in (*args, *kwargs.values()):
        take_gaps(value, (), gaps)
    return gaps


class _Alike:
    """Jobs of one task and with the same options: what they have in common is worked out once for all."""

    __slots__ = ("_check_size", "_codec", "_encode", "_generation", "_seal", "_source", "options", "reply_to", "spec")

    def __init__(
        self,
        producer: Producer,
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
        self._check_size = producer._check_size
        self._source = producer.source
        self.reply_to = envelope.reply_to
        self._generation = producer._generation

    def prepare(self, args: tuple[Any, ...], id: str, at: float) -> Prepared:
        """`Producer.prepare` for another of them, enqueued at a time."""
        envelope = self._seal(id, self._encode(args, {}, self._codec), at)
        self._check_size(envelope)
        result: TaskResult[Any] = TaskResult(self._source, ResultRecord(envelope=envelope), self._generation(envelope))
        if self._source.listener.is_only_source:
            self._source.listener.expect(result)
        return Prepared(result, envelope)


class _Unwatched:
    """What stands around a sending that nobody wants to be told of."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def answered(self, answers: Sequence[PublishResult]) -> None: ...

    def failed(self, error: BaseException) -> None: ...


_UNWATCHED = _Unwatched()

ItemReader = Callable[[Any, Overrides], tuple[TaskSpec, tuple[Any, ...], dict[str, Any], Overrides]]
"""Reads one item of an `enqueue_many`: a tuple, a dict or a Signature. Raises TypeError for anything else."""


def _take_answers(
    outcomes: list[TaskResult[Any] | Exception], positions: Iterable[int], answers: Sequence[PublishResult]
) -> None:
    for position, answer in zip(positions, answers, strict=True):
        result = outcomes[position]
        if answer.answer is not PublishAnswer.ACCEPTED and isinstance(result, TaskResult):
            try:
                _take_answer(result, answer)
            except HeelerError as error:
                outcomes[position] = error


def _take_answer(result: TaskResult[Any], answer: PublishResult) -> None:
    """Raise what the broker's answer means to the caller."""
    if answer.answer is PublishAnswer.ACCEPTED:
        return
    _check(answer, result._record.envelope)
    if answer.answer is PublishAnswer.EXISTS:
        result._addressed = 0  # the job that is there may be another producer's


def _all_or_error(outcomes: list[TaskResult[Any] | Exception]) -> list[TaskResult[Any]]:
    errors = {n: outcome for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    results = [None if isinstance(outcome, Exception) else outcome for outcome in outcomes]
    if errors:
        raise EnqueueManyError(results, errors)
    return [result for result in results if result is not None]


def _sent(
    outcomes: list[TaskResult[Any] | Exception], first: int, refused: dict[int, Exception]
) -> Iterator[TaskResult[Any]]:
    """The handles of what was sent; the errors of the other items go into `refused`, counted from `first`."""
    for index, outcome in enumerate(outcomes, first):
        if isinstance(outcome, Exception):
            refused[index] = outcome
        else:
            yield outcome


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part


async def _aparts(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[list[Any]]:
    if not isinstance(items, AsyncIterable):
        for part in _parts(items, BATCH):
            yield part
        return
    arrived: list[Any] = []
    async for item in items:
        arrived.append(item)
        if len(arrived) == BATCH:
            yield arrived
            arrived = []
    if arrived:
        yield arrived


def _check(answer: PublishResult, envelope: Envelope) -> None:
    """Raise what the broker's answer means to the caller."""
    kind = answer.answer
    if kind is PublishAnswer.CONFLICT:
        raise IdConflict(
            f"{envelope.task}: the id {envelope.id!r} belongs to a job of another task or with other arguments; "
            f"choose another id, or leave it out"
        )
    if kind is PublishAnswer.REFUSED:
        if answer.unroutable:
            raise Unroutable(f"{envelope.task} ({envelope.id}): {answer.reason}")
        raise HeelerError(f"{envelope.task} ({envelope.id}): the broker refused it: {answer.reason}")


def _moment_and_delay(value: MomentOrDelay | None, what: str) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    moment, delay = moment_or_delay(value, what)
    return (moment, None) if moment is not None else (None, delay)
