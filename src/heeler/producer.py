"""Turns a call into a message, seals it, and hands it to the broker: one by one, in bulk, from sync and async code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from heeler.arguments import encode_unbound, fingerprint, given_unbound
from heeler.clock import new_id
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import Middleware, TypedCodec, WireFormat
from heeler.errors import (
    ConfigurationError,
    EnqueueManyError,
    HeelerError,
    IdConflict,
    PayloadTooLarge,
    ResultNotFound,
    Unroutable,
)
from heeler.middleware import compose_enqueue
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
    ) -> None:
        self.connections = connections
        self.source = source
        self._listener = listener
        self._codecs = codecs
        self._wire = wire
        self._id_maker = id_maker
        self._clock = connections.clock
        self._around = compose_enqueue(middleware, self._seal)
        self._line = PublishLine(connections)
        self.after_publish: Callable[[Sequence[PublishResult]], None] | None = None

    # From a call to an envelope

    def message(self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides) -> Message:
        """The message of a call. Raises InvalidArguments, and ConfigurationError for an unknown codec."""
        options = spec.options
        codec: TypedCodec = spec.codec if ask.codec is None else self._codecs.add(ask.codec)
        parameters = spec.parameters
        positional: int | None = None
        if parameters is None:
            payload = encode_unbound(args, kwargs, codec, spec.name)
        else:
            payload = parameters.encode(args, kwargs, codec)
            if kwargs and parameters.given_by_name(kwargs):
                positional = len(args)
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

    def _id_of(self, spec: TaskSpec, ask: Overrides) -> tuple[str, bool]:
        """The job's id, and whether it was chosen, by the caller or by an `id_maker` of the user's."""
        if ask.id is not None:
            return ask.id, True
        maker = spec.id_maker or self._id_maker
        if maker is new_id:
            return maker(), False
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
        if len(envelope.body) > self.connections.broker.max_payload:
            raise PayloadTooLarge(
                f"{message.task}: the arguments take {len(envelope.body):,} bytes, more than the "
                f"{self.connections.broker.max_payload:,} that a message may have; store the data elsewhere and "
                f"pass a reference, or raise max_payload in the broker's URL"
            )
        return TaskResult(self.source, ResultRecord(envelope=envelope), address is not None, True)

    def prepare(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> Prepared:
        """The handle of a call and the envelope to send for it. Raises what a wrong call or a middleware raises."""
        message = self.message(spec, args, kwargs, ask)
        result = self._around(message)
        if not isinstance(result, TaskResult):
            raise ConfigurationError(
                f"enqueue of {spec.name}: a middleware's around_enqueue returned {type(result).__name__}; it must "
                f"return call_next(message), or a TaskResult to send nothing"
            )
        if not result._unsent:
            return Prepared(result, None)
        result._unsent = False
        return Prepared(result, result._record.envelope)

    # One by one

    def enqueue(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> TaskResult[Any]:
        """Send one job and return when the broker holds it."""
        broker = self.connections.opened_blocking()
        result, envelope = self.prepare(spec, args, kwargs, ask)
        if envelope is not None:
            answers = broker.publish_blocking(Publication(envelopes=(envelope,)))
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
            answer = await self._line.publish(envelope)
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
        for part in _parts(items):
            outcomes += self._send_part(part, item_of, ask, broker.publish_blocking)
        return _all_or_error(outcomes)

    async def aenqueue_many(
        self, items: Iterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> list[TaskResult[Any]]:
        """`enqueue_many` from async code."""
        outcomes: list[TaskResult[Any] | Exception] = []
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        for part in _parts(items):
            outcomes += await self._asend_part(part, item_of, ask)
        return _all_or_error(outcomes)

    def enqueue_iter(
        self, items: Iterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> Iterator[TaskResult[Any]]:
        """Send as the caller reads, in constant memory; what cannot be sent is told when all the rest is."""
        broker = self.connections.opened_blocking()
        refused: dict[int, Exception] = {}
        first = 0
        for part in _parts(items):
            outcomes = self._send_part(part, item_of, ask, broker.publish_blocking)
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
        self,
        part: list[Any],
        item_of: ItemReader,
        ask: Overrides,
        publish: Callable[[Publication], Sequence[PublishResult]],
    ) -> list[TaskResult[Any] | Exception]:
        outcomes, envelopes = self._prepare_part(part, item_of, ask)
        if envelopes:
            answers = publish(Publication(envelopes=tuple(envelopes.values())))
            _take_answers(outcomes, envelopes, answers)
            self._published(answers)
        return outcomes

    async def _asend_part(
        self, part: list[Any], item_of: ItemReader, ask: Overrides
    ) -> list[TaskResult[Any] | Exception]:
        outcomes, envelopes = self._prepare_part(part, item_of, ask)
        if envelopes:
            publication = Publication(envelopes=tuple(envelopes.values()))
            answers = await self.connections.io.arun(self.connections.broker.publish(publication))
            _take_answers(outcomes, envelopes, answers)
            await self._apublished(answers)
        return outcomes

    def _prepare_part(
        self, part: list[Any], item_of: ItemReader, ask: Overrides
    ) -> tuple[list[TaskResult[Any] | Exception], dict[int, Envelope]]:
        outcomes: list[TaskResult[Any] | Exception] = []
        envelopes: dict[int, Envelope] = {}
        prepare = self.prepare
        for position, item in enumerate(part):
            try:
                result, envelope = prepare(*item_of(item, ask))
            except Exception as error:
                outcomes.append(error)
                continue
            outcomes.append(result)
            if envelope is not None:
                envelopes[position] = envelope
        return outcomes, envelopes

    def publish(self, envelope: Envelope) -> None:
        """Send one sealed envelope."""
        answers = self.connections.opened_blocking().publish_blocking(Publication(envelopes=(envelope,)))
        _check(answers[0], envelope)
        self._published(answers)

    async def apublish(self, envelope: Envelope) -> None:
        """`publish` from async code."""
        answers = await self.connections.io.arun(self._publish(envelope))
        _check(answers[0], envelope)
        await self._apublished(answers)

    async def _publish(self, envelope: Envelope) -> list[PublishResult]:
        broker = await self.connections.opened()
        return await broker.publish(Publication(envelopes=(envelope,)))

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

    # After the broker has it

    def _published(self, answers: Sequence[PublishResult]) -> None:
        if self.after_publish is not None:
            self.after_publish(answers)

    async def _apublished(self, answers: Sequence[PublishResult]) -> None:
        if self.after_publish is not None:
            await asyncio.to_thread(self.after_publish, answers)


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
        result._addressed = False  # the job that is there may be another producer's


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


def _parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == BATCH:
            yield part
            part = []
    if part:
        yield part


async def _aparts(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[list[Any]]:
    if not isinstance(items, AsyncIterable):
        for part in _parts(items):
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
        if answer.reason == "unroutable":
            raise Unroutable(
                f"{envelope.task}: no queue is bound for routing key {envelope.routing_key or envelope.queue!r}"
            )
        raise HeelerError(f"{envelope.task} ({envelope.id}): the broker refused it: {answer.reason}")


def _moment_and_delay(value: MomentOrDelay | None, what: str) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    moment, delay = moment_or_delay(value, what)
    return (moment, None) if moment is not None else (None, delay)
