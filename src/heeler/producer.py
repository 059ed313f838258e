"""Turns a call into a message, seals it, and hands it to the broker: one by one, in bulk, from sync and async code."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from heeler.arguments import encode_unbound
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import Middleware, TypedCodec, WireFormat
from heeler.errors import (
    BrokerUnavailable,
    ConfigurationError,
    EnqueueManyError,
    HeelerError,
    IdConflict,
    PayloadTooLarge,
    ResultNotFound,
    Unroutable,
)
from heeler.io_thread import Handoff
from heeler.middleware import compose_enqueue
from heeler.model import (
    Envelope,
    Message,
    Publication,
    PublishAnswer,
    PublishResult,
    Reports,
    ResultRecord,
    Retry,
    seconds_of,
)
from heeler.result_listener import ResultListener
from heeler.task_result import ResultSource, TaskResult
from heeler.task_spec import MomentOrDelay, TaskSpec, moment_or_delay

__all__ = ["Overrides", "Prepared", "Producer"]

BATCH = 500  # envelopes in one publication of `enqueue_many` and `enqueue_iter`


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What `using(…)` asks for; None (False) leaves the task's own option."""

    queue_name: str | None = None
    priority: int | None = None
    run_after: MomentOrDelay | None = None
    expires: MomentOrDelay | None = None
    timeout: float | timedelta | None = None
    soft_timeout: float | timedelta | None = None
    retry: Retry | None = None
    headers: dict[str, str] | None = None
    id: str | None = None
    ignore_result: bool | None = None
    result_ttl: float | timedelta | None = None
    codec: Any = None
    reports: Reports | None = None
    routing_key: str | None = None


NO_OVERRIDES = Overrides()


class Prepared(NamedTuple):
    """A handle, and the envelope that is to be sent for it; None where a middleware answered by itself."""

    result: TaskResult[Any]
    envelope: Envelope | None


@dataclass(slots=True, eq=False)
class _Waiting:
    """An `aenqueue` that waits for the broker's answer to its envelope."""

    envelope: Envelope
    loop: asyncio.AbstractEventLoop
    answered: asyncio.Future[PublishResult]


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
        self._handoff: Handoff[_Waiting] | None = None
        self._handoff_loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[_Waiting] = deque()
        self._sending = False
        self.after_publish: Callable[[Sequence[PublishResult]], None] | None = None

    # From a call to an envelope

    def message(self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides) -> Message:
        """The message of a call. Raises InvalidArguments, or ValueError and TypeError for wrong options."""
        options = spec.options
        codec: TypedCodec = spec.codec if ask.codec is None else self._codecs.add(ask.codec)
        if spec.parameters is not None:
            payload, bound = spec.parameters.encode(args, kwargs, codec), True
        else:
            payload, bound = encode_unbound(args, kwargs, codec), False
        id_maker = spec.id_maker or self._id_maker
        if ask is NO_OVERRIDES:
            expires_at, expires_in = _moment_and_delay(options.expires, "expires")
            return Message(
                id=id_maker(),
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
                bound=bound,
            )
        run_at, delay = (None, 0.0) if ask.run_after is None else moment_or_delay(ask.run_after, "run_after")
        expires_at, expires_in = _moment_and_delay(options.expires if ask.expires is None else ask.expires, "expires")
        priority = options.priority if ask.priority is None else _checked_priority(ask.priority)
        return Message(
            id=id_maker() if ask.id is None else _checked_id(ask.id),
            task=spec.name,
            queue_name=options.queue_name if ask.queue_name is None else ask.queue_name,
            payload=payload,
            content_type=codec.content_type,
            args=args,
            kwargs=kwargs,
            headers={} if ask.headers is None else _checked_headers(ask.headers),
            priority=priority,
            enqueued_at=self._clock.time(),
            delay=delay,
            run_at=run_at,
            expires_at=expires_at,
            expires_in=expires_in,
            timeout=None if ask.timeout is None else seconds_of(ask.timeout, "timeout"),
            soft_timeout=None if ask.soft_timeout is None else seconds_of(ask.soft_timeout, "soft_timeout"),
            retry=ask.retry,
            reports=ask.reports or (None if options.reports == "final" else options.reports),
            ignore_result=options.ignore_result if ask.ignore_result is None else ask.ignore_result,
            result_ttl=options.result_ttl if ask.result_ttl is None else seconds_of(ask.result_ttl, "result_ttl"),
            bound=bound,
            id_given=ask.id is not None,
            routing_key=ask.routing_key,
        )

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
            _check(answers[0], envelope)
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
            loop = asyncio.get_running_loop()
            waiting = _Waiting(envelope, loop, loop.create_future())
            self._crossing().put(waiting)
            answer = await waiting.answered
            _check(answer, envelope)
            await self._apublished([answer])
        return result

    def _crossing(self) -> Handoff[_Waiting]:
        loop = self.connections.io.loop
        if self._handoff is None or self._handoff_loop is not loop:
            self._queue = deque()
            self._sending = False
            self._handoff = Handoff(loop, self._take)
            self._handoff_loop = loop
        return self._handoff

    def _take(self, arrived: list[_Waiting]) -> None:
        """On the I/O thread: what arrives while a publication is under way goes into the next one."""
        self._queue.extend(arrived)
        if not self._sending:
            self._sending = True
            self.connections.io.spawn(self._send_queued(), name="heeler-publish")

    async def _send_queued(self) -> None:
        waiting_line = self._queue
        try:
            while waiting_line:
                batch = [waiting_line.popleft() for _ in range(min(len(waiting_line), BATCH))]
                batch = [waiting for waiting in batch if not waiting.answered.cancelled()]
                if batch:
                    _answer(batch, await self._publish_each([waiting.envelope for waiting in batch]))
        finally:
            self._sending = False

    async def _publish_each(self, envelopes: list[Envelope]) -> list[PublishResult | BaseException]:
        """One publication for all; if it is refused as a whole for what one of them is, each gets its own."""
        try:
            broker = await self.connections.opened()
            return list(await broker.publish(Publication(envelopes=tuple(envelopes))))
        except (BrokerUnavailable, ConfigurationError) as error:
            return [error] * len(envelopes)
        except Exception as error:
            if len(envelopes) == 1:
                return [error]
            return [(await self._publish_each([envelope]))[0] for envelope in envelopes]

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
        """Send as the caller reads, in constant memory. A bad item raises its error when its turn comes."""
        broker = self.connections.opened_blocking()
        for part in _parts(items):
            yield from _each_or_error(self._send_part(part, item_of, ask, broker.publish_blocking))

    async def aenqueue_iter(
        self, items: Iterable[Any] | AsyncIterable[Any], item_of: ItemReader, ask: Overrides = NO_OVERRIDES
    ) -> AsyncIterator[TaskResult[Any]]:
        """`enqueue_iter` from async code; also takes an async iterable."""
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        part: list[Any] = []
        if isinstance(items, AsyncIterable):
            async for item in items:
                part.append(item)
                if len(part) == BATCH:
                    for result in _each_or_error(await self._asend_part(part, item_of, ask)):
                        yield result
                    part = []
            parts: Iterable[list[Any]] = [part] if part else []
        else:
            parts = _parts(items)
        for part in parts:
            for result in _each_or_error(await self._asend_part(part, item_of, ask)):
                yield result

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


def _answer(batch: list[_Waiting], answers: Sequence[PublishResult | BaseException]) -> None:
    """Wake the callers, with one crossing for each loop among them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, PublishResult | BaseException]]] = {}
    for waiting, answer in zip(batch, answers, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting, answer))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_answers, pairs)


def _set_answers(pairs: list[tuple[_Waiting, PublishResult | BaseException]]) -> None:
    for waiting, answer in pairs:
        if waiting.answered.done():
            continue
        if isinstance(answer, BaseException):
            waiting.answered.set_exception(answer)
        else:
            waiting.answered.set_result(answer)


def _take_answers(
    outcomes: list[TaskResult[Any] | Exception], envelopes: dict[int, Envelope], answers: Sequence[PublishResult]
) -> None:
    for (position, envelope), answer in zip(envelopes.items(), answers, strict=True):
        if answer.answer is not PublishAnswer.ACCEPTED:
            try:
                _check(answer, envelope)
            except HeelerError as error:
                outcomes[position] = error


def _all_or_error(outcomes: list[TaskResult[Any] | Exception]) -> list[TaskResult[Any]]:
    errors = {n: outcome for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    results = [None if isinstance(outcome, Exception) else outcome for outcome in outcomes]
    if errors:
        raise EnqueueManyError(results, errors)
    return [result for result in results if result is not None]


def _each_or_error(outcomes: list[TaskResult[Any] | Exception]) -> Iterator[TaskResult[Any]]:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
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


def _checked_priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or not -100 <= priority <= 100:
        raise ValueError(f"priority goes from -100 to 100, got {priority!r}")
    return priority


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or not id or len(id) > 255:
        raise ValueError(f"id must be a text of 1 to 255 characters, got {id!r}")
    return id


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers map text to text, got {name!r}: {value!r}")
    return dict(headers)
