"""Hands jobs to the broker: one by one, in bulk, as they are read, under a guard; from sync and async code."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from heeler.contracts import Broker, Middleware
from heeler.errors import (
    EnqueueManyError,
    HeelerError,
    IdConflict,
    ResultNotFound,
    Unroutable,
)
from heeler.middleware import WatchedSending, hooks_called
from heeler.model import (
    Envelope,
    Publication,
    PublishAnswer,
    PublishResult,
)
from heeler.overrides import NO_OVERRIDES, Overrides
from heeler.publish_line import PublishLine
from heeler.sealer import ItemReader, Sealer
from heeler.task_result import TaskResult, wait_all
from heeler.task_spec import TaskSpec

__all__ = ["Producer"]

BATCH = 500  # envelopes in one publication of `enqueue_many` and `enqueue_iter`
PART = 8 * BATCH  # items that `enqueue_many` reads before it sends them
LAZY_PART = 2 * BATCH  # the same of `enqueue_iter`


class Producer:
    """Sends jobs for one app. Thread-safe; all sync callers share the broker's blocking connection."""

    def __init__(self, sealer: Sealer, middleware: Sequence[Middleware]) -> None:
        self.sealer = sealer
        self.source = sealer.source
        self.connections = connections = sealer.source.connections
        self._teller = sealer.source.teller
        self._clock = connections.clock
        self._on_sent = hooks_called("on_sent", middleware)
        self._line = PublishLine(connections)
        self.after_publish: Callable[[Sequence[PublishResult]], None] | None = None

    # With a guard

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

    # One by one

    def enqueue(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> TaskResult[Any]:
        """Send one job and return when the broker holds it."""
        broker = self.connections.opened_blocking()
        result, envelope = self.sealer.prepare(spec, args, kwargs, ask)
        if envelope is not None:
            publication = Publication(envelopes=(envelope,))
            with self._watched(publication) as sending:
                answers = broker.publish_blocking(publication)
                sending.answered(answers)
            _take_answer(result, answers[0])
            self._published(answers, (result,))
        return result

    async def aenqueue(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Overrides = NO_OVERRIDES
    ) -> TaskResult[Any]:
        """`enqueue` from async code; concurrent calls share publications, and one caller's fate is its own."""
        if not self.connections.is_open:
            await self.connections.io.arun(self.connections.opened())
        result, envelope = self.sealer.prepare(spec, args, kwargs, ask)
        if envelope is not None:
            with self._watched(Publication(envelopes=(envelope,))) as sending:
                answer = await self._line.publish(envelope)
                sending.answered([answer])
            _take_answer(result, answer)
            await self._apublished([answer], (result,))
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
                prepared, envelopes = self.sealer.prepare_many(part[start : start + BATCH], item_of, ask)
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
                self._published(answers, map(outcomes.__getitem__, positions))
        except BaseException as error:
            for _, sending in sent:
                sending.failed(error)
            raise
        return outcomes

    async def _asend_part(
        self, part: list[Any], item_of: ItemReader, ask: Overrides
    ) -> list[TaskResult[Any] | Exception]:
        outcomes, envelopes = self.sealer.prepare_many(part, item_of, ask)
        if envelopes:
            publication = Publication(envelopes=tuple(envelopes.values()))
            with self._watched(publication) as sending:
                answers = await self.connections.io.arun(self.connections.broker.publish(publication))
                sending.answered(answers)
            _take_answers(outcomes, envelopes, answers)
            await self._apublished(answers, map(outcomes.__getitem__, envelopes))
        return outcomes

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

    def _published(self, answers: Sequence[PublishResult], sent: Iterable[object] = ()) -> None:
        if self.after_publish is not None:
            self.after_publish(answers)
            self.connections.io.run(wait_all(_handles(sent), 0))  # the handles show what has become of the jobs

    async def _apublished(self, answers: Sequence[PublishResult], sent: Iterable[object] = ()) -> None:
        if self.after_publish is not None:
            await asyncio.to_thread(self.after_publish, answers)
            await self.connections.io.arun(wait_all(_handles(sent), 0))


class _Unwatched:
    """What stands around a sending that nobody wants to be told of."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def answered(self, answers: Sequence[PublishResult]) -> None: ...

    def failed(self, error: BaseException) -> None: ...


_UNWATCHED = _Unwatched()


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


def _handles(outcomes: Iterable[object]) -> list[TaskResult[Any]]:
    return [result for result in outcomes if isinstance(result, TaskResult)]


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
