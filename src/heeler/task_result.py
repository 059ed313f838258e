"""The user's handle on a job: what became of it, waiting for its end, following it, cancelling it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from heeler.arguments import given_unbound
from heeler.clock import Clock
from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import CancelAnswer, WireFormat
from heeler.error_records import rebuild_error
from heeler.errors import (
    HeelerError,
    ResultExpired,
    ResultLost,
    ResultNotFound,
    ResultTimeout,
    Skipped,
    TaskCancelled,
    TaskFailed,
)
from heeler.event_teller import EventTeller
from heeler.io_thread import closed_meanwhile
from heeler.model import Command, ErrorRecord, Event, Message, Notice, ResultRecord, TaskStatus, class_path
from heeler.report import Report, moment, report_of_notice, report_of_record, steps_between
from heeler.result_listener import ResultListener
from heeler.task_spec import TaskSpec

__all__ = ["ResultSource", "TaskResult", "wait_all"]

R = TypeVar("R")

CANCEL_ANSWERED_WITHIN = 1.0  # seconds that `cancel` waits to see how a running job ends


@dataclass(slots=True, eq=False)
class ResultSource:
    """Where handles read: shared by all handles of an app in this process."""

    connections: Connections
    listener: ResultListener
    codecs: Codecs
    formats: dict[str, WireFormat]
    clock: Clock
    teller: EventTeller
    spec_of: Callable[[str], TaskSpec | None]


class TaskResult(Generic[R]):
    """A job that was enqueued. Attributes show what was known at the last `refresh`, `get` or `join`.

    Waiting is pushed from the store, never a loop of sleeps. Each method that waits or does I/O has an async twin
    with the prefix `a`.
    """

    __slots__ = ("__weakref__", "_addressed", "_record", "_source", "_unsent", "id")

    def __init__(self, source: ResultSource, record: ResultRecord, addressed: int = 0, unsent: bool = False) -> None:
        self.id = record.envelope.id
        self._source = source
        self._record = record
        self._addressed = addressed  # the listener's generation if the envelope carries our inbox, else 0
        self._unsent = unsent  # sealed, and still to be handed to the broker

    def __repr__(self) -> str:
        return f"<TaskResult {self.name} {self.id} {self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # What is known

    @property
    def name(self) -> str:
        """The name of the task."""
        return self._record.envelope.task

    @property
    def status(self) -> TaskStatus:
        return self._record.status

    @property
    def is_finished(self) -> bool:
        return self._record.status.is_finished

    @property
    def queue_name(self) -> str:
        return self._record.envelope.queue

    @property
    def priority(self) -> int:
        return self._record.envelope.priority

    @property
    def headers(self) -> dict[str, str]:
        return dict(self._record.envelope.headers)

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, as far as this process can read them."""
        return self._arguments()[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._arguments()[1]

    @property
    def enqueued_at(self) -> datetime:
        return datetime.fromtimestamp(self._record.envelope.enqueued_at, UTC)

    @property
    def run_after(self) -> datetime | None:
        """Before when it may not start; for a delay, as the producer's clock had it."""
        envelope = self._record.envelope
        if envelope.run_at is not None:
            return moment(envelope.run_at)
        return moment(envelope.enqueued_at + envelope.delay) if envelope.delay else None

    @property
    def next_at(self) -> datetime | None:
        """When a READY job is due that waits for its time: a delay or a retry. None: it may start now."""
        return moment(self._record.next_at)

    @property
    def started_at(self) -> datetime | None:
        """When its first run began."""
        return moment(self._record.started_at)

    @property
    def last_attempted_at(self) -> datetime | None:
        """When its latest run began."""
        return moment(self._record.last_attempted_at)

    @property
    def finished_at(self) -> datetime | None:
        return moment(self._record.finished_at)

    @property
    def attempts(self) -> int:
        """How many runs have been counted."""
        return self._record.attempts

    @property
    def max_attempts(self) -> int | None:
        """How many runs it may have; None without a limit."""
        if self._record.status is TaskStatus.READY and self._record.attempts == 0:
            message = self._message()
            if message is not None and message.retry is not None:
                return message.retry.max_attempts
            spec = self._source.spec_of(self.name)
            return spec.options.retry.max_attempts if spec is not None else 1
        return self._record.max_attempts

    @property
    def errors(self) -> list[ErrorRecord]:
        """The errors of its runs, oldest first."""
        return list(self._record.errors)

    @property
    def last_error(self) -> ErrorRecord | None:
        return self._record.errors[-1] if self._record.errors else None

    @property
    def worker_ids(self) -> list[str]:
        """The workers that ran it, in order."""
        return list(self._record.worker_ids)

    @property
    def fraction(self) -> float | None:
        """How far it said last that it is, from 0 to 1."""
        return self._record.fraction

    @property
    def message(self) -> str | None:
        """What it said last of its progress."""
        return self._record.message

    @property
    def saved(self) -> Any:
        """What the task saved last with `context.save`; None if nothing."""
        record = self._record
        if record.saved is None:
            return None
        return self._plain(record.saved, record.content_type or record.envelope.content_type)

    @property
    def return_value(self) -> R:
        """The result of a SUCCESSFUL job. Raises ValueError if it has not ended (as last known) or failed."""
        status = self._record.status
        if status is TaskStatus.SUCCESSFUL:
            return self._value()
        if status.is_finished:
            raise ValueError(f"task {self.name} ({self.id}) ended {status}: it has no return value")
        raise ValueError(f"task {self.name} ({self.id}) has not finished yet")

    def _message(self) -> Message | None:
        envelope = self._record.envelope
        wire = self._source.formats.get(envelope.format)
        try:
            return None if wire is None else wire.open(envelope)
        except ValueError:
            return None

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        message = self._message()
        if message is None:
            return (), {}
        codec = self._source.codecs.get(message.content_type)
        spec = self._source.spec_of(self.name)
        if spec is not None and spec.parameters is not None:
            return spec.parameters.given(message.payload, codec, message.bound, message.positional)
        return given_unbound(message.payload, codec, message.bound)

    def _plain(self, data: bytes, content_type: str) -> Any:
        return self._source.codecs.get(content_type).decode(data)

    def _value(self) -> R:
        record = self._record
        if record.value is None:
            return None  # type: ignore[return-value]
        spec = self._source.spec_of(self.name)
        try:
            codec = self._source.codecs.get(record.content_type)
            return spec.returns.decode(record.value, codec) if spec is not None else codec.decode(record.value)  # type: ignore[no-any-return]
        except Exception as error:
            raise ResultLost(
                f"the result of {self.name} ({self.id}) is stored but cannot be decoded here: {error}"
            ) from error

    # Reading and waiting

    def refresh(self) -> None:
        """Read the job's record again. Raises ResultNotFound or BrokerUnavailable."""
        self._source.connections.io.run(self._refresh())

    async def arefresh(self) -> None:
        """`refresh` from async code."""
        await self._source.connections.io.arun(self._refresh())

    async def _refresh(self) -> None:
        await self._source.connections.opened()
        self._take((await self._source.connections.needed_store().get([self.id]))[0])

    def _take(self, record: ResultRecord | None) -> None:
        if record is None:
            raise self._missing()
        self._record = record

    def _missing(self) -> HeelerError:
        """Why there is no record of the job."""
        if self._source.connections.store is None:
            return self._source.connections.no_store()
        envelope = self._record.envelope
        what = f"the result of {self.name} ({self.id})"
        if not envelope.keeps_result:
            return ResultNotFound(f"{what} is not kept: the job was enqueued with ignore_result")
        if self._source.clock.time() - envelope.enqueued_at > envelope.keep:
            return ResultExpired(f"{what} was kept for {envelope.keep:g} s after its end and is gone")
        return ResultNotFound(f"{what} is not in the store (any more): it was forgotten, or the store was emptied")

    def get(self, timeout: float | None = None) -> R:
        """Wait for the end and return the task's value.

        `timeout` is in seconds; None waits for ever. Raises TaskFailed (with the task's exception as `__cause__`
        where it can be rebuilt), TaskCancelled, ResultTimeout, ResultNotFound, ResultExpired, ResultLost or
        BrokerUnavailable.
        """
        self.join(timeout)
        return self._outcome()

    async def aget(self, timeout: float | None = None) -> R:
        """`get` from async code."""
        await self.ajoin(timeout)
        return self._outcome()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, however it is.

        Raises ResultTimeout after `timeout` seconds, ResultNotFound or ResultExpired where there is nothing to wait
        for.
        """
        if self.is_finished:
            return
        _refuse_to_block_a_coroutine_task(self)
        left = timeout
        if self._addressed and self._record.envelope.keeps_result and (timeout is None or timeout > 0):
            record, left = self._source.listener.wait_blocking(self.id, self._addressed, timeout)
            if record is not None:
                self._take(record)
                return
        given_up = self._source.connections.io.run(wait_all([self], left))
        if isinstance(given_up.get(self.id), ResultTimeout):
            raise _too_late(self, timeout)
        self._raise_if_given_up(given_up)

    async def ajoin(self, timeout: float | None = None) -> None:
        """`join` from async code."""
        if not self.is_finished:
            self._raise_if_given_up(await self._source.connections.io.arun(wait_all([self], timeout)))

    def _raise_if_given_up(self, given_up: dict[str, HeelerError]) -> None:
        if self.id in given_up:
            raise given_up[self.id]

    def _outcome(self) -> R:
        record = self._record
        if record.status is TaskStatus.SUCCESSFUL:
            return self._value()
        error = self.last_error
        if record.status is TaskStatus.CANCELLED:
            if error is not None and error.exception_class_path == class_path(Skipped):
                raise Skipped(error.message)
            raise TaskCancelled(error.message if error is not None else f"{self.name} ({self.id}) was cancelled")
        if error is None:
            raise ResultLost(f"{self.name} ({self.id}) ended {record.status}, but no error was recorded")
        failed = TaskFailed(
            error.exception_class_path,
            error.message,
            error.traceback,
            record.attempts,
            task=self.name,
            id=self.id,
        )
        raise failed from rebuild_error(error)

    def reports(self, timeout: float | None = None) -> Iterator[Report]:
        """Follow the job: what is known now, then each step as it is pushed, until it has ended.

        With the task's option `reports="all"` also the steps that went by too fast to be pushed.
        Raises ResultTimeout when nothing came for `timeout` seconds, ResultNotFound for an unknown job.
        """
        arrived: queue.SimpleQueue[Report | BaseException | None] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                async for report in self._reports():
                    arrived.put(report)
                arrived.put(None)
            except asyncio.CancelledError:
                arrived.put(closed_meanwhile())
            except Exception as error:
                arrived.put(error)

        pumping = self._source.connections.io.submit(pump())
        try:
            while True:
                try:
                    item = arrived.get(timeout=timeout)
                except queue.Empty:
                    raise _too_late(self, timeout) from None
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pumping.cancel()

    async def areports(self, timeout: float | None = None) -> AsyncIterator[Report]:
        """`reports` from async code."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Report | BaseException | None] = asyncio.Queue()

        def hand_over(item: Report | BaseException | None) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, item)

        async def pump() -> None:
            try:
                async for report in self._reports():
                    hand_over(report)
                hand_over(None)
            except asyncio.CancelledError:
                hand_over(closed_meanwhile())
            except Exception as error:
                hand_over(error)

        pumping = self._source.connections.io.submit(pump())
        try:
            while True:
                try:
                    item = await asyncio.wait_for(arrived.get(), timeout)
                except TimeoutError:
                    raise _too_late(self, timeout) from None
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pumping.cancel()

    async def _reports(self) -> AsyncIterator[Report]:
        last = Report("sent", self.enqueued_at)
        yield last
        everything = self._wants_all_reports()
        async for news in self._source.listener.notices(self.id, addressed=self._addressed):
            record = news.record if isinstance(news, Notice) else news
            if record is None and isinstance(news, Notice) and news.status is TaskStatus.RUNNING:
                report: Report | None = report_of_notice(news, self._source.clock.time())
            else:
                if record is None:  # of a retry, say, the push tells less than the record
                    record = (await self._source.connections.needed_store().get([self.id]))[0]
                self._take(record)
                report = report_of_record(self._record)
                if report is not None and everything:
                    for missed in steps_between(last, report, self._record):
                        yield missed
            if report is not None and report != last:
                last = report
                yield report
            if self.is_finished:
                return

    def _wants_all_reports(self) -> bool:
        message, spec = self._message(), self._source.spec_of(self.name)
        asked = None if message is None else message.reports
        return (asked or (None if spec is None else spec.options.reports)) == "all"

    def add_done_callback(self, callback: Callable[[TaskResult[R]], Any]) -> None:
        """Call `callback(result)` in a thread of its own when the job has ended; at once if it has.

        Its own exception is logged. If the wait itself fails, the callback is not called and the failure is logged.
        """

        async def wait() -> None:
            try:
                if not self.is_finished:
                    self._raise_if_given_up(await wait_all([self], None))
                await asyncio.to_thread(callback, self)
            except Exception:
                self._source.connections.logger.exception("done callback of %s (%s)", self.name, self.id)

        if self._source.connections.io.here():
            self._source.connections.io.spawn(wait())
        else:
            self._source.connections.io.submit(wait())

    # Acting

    def cancel(self) -> bool:
        """Cancel the job: a waiting one ends now, a running one is told to stop and given a second to end.

        True if it ended as cancelled, or is still ending; False if it ended otherwise. The record of its end decides
        a race, so all callers get the same answer. Raises ResultNotFound for an unknown job.
        """
        return self._source.connections.io.run(self._cancel())

    async def acancel(self) -> bool:
        """`cancel` from async code."""
        return await self._source.connections.io.arun(self._cancel())

    async def _cancel(self) -> bool:
        broker = await self._source.connections.opened()
        answer = (await self._source.connections.needed_store().cancel([self.id]))[0]
        if answer is CancelAnswer.NOT_FOUND:
            raise self._missing()
        if answer is CancelAnswer.REQUESTED:
            if broker.control is not None:
                await broker.control.send(Command(kind="cancel", ids=(self.id,)))
            await wait_all([self], CANCEL_ANSWERED_WITHIN)
            return not self.is_finished or self.status is TaskStatus.CANCELLED
        cancelled = answer is CancelAnswer.CANCELLED
        if cancelled and self._source.teller.may_be_followed:
            event = Event("job.cancelled", self._source.clock.time(), self.queue_name, self.name, self.id)
            self._source.teller.tell([event])
        return cancelled

    def forget(self) -> None:
        """Drop the record of the ended job; without effect on a job that has not ended."""
        self._source.connections.io.run(self._forget())

    async def aforget(self) -> None:
        """`forget` from async code."""
        await self._source.connections.io.arun(self._forget())

    async def _forget(self) -> None:
        await self._source.connections.opened()
        await self._source.connections.needed_store().forget([self.id])


is_inside_task: Callable[[], bool] = lambda: False  # noqa: E731 - set by `task_context`, above this


def _refuse_to_block_a_coroutine_task(result: TaskResult[Any]) -> None:
    """In a coroutine task a blocking wait stops the loop of all that run there, perhaps of the very job waited for."""
    if not is_inside_task():
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # a plain function, in a thread or child of its own
    raise HeelerError(
        f"get() or join() of {result.name} ({result.id}) was called in a coroutine task, where it would block the "
        f"worker's event loop; write await result.aget() instead"
    )


def _too_late(result: TaskResult[Any], timeout: float | None) -> ResultTimeout:
    return ResultTimeout(
        f"{result.name} ({result.id}) has not ended within {round(timeout or 0, 2):g} s; it goes on (if it does not "
        f"start: does a worker take from its queue {result.queue_name!r}?)"
    )


async def wait_all(
    results: Sequence[TaskResult[Any]], timeout: float | None, *, until_failure: bool = False
) -> dict[str, HeelerError]:
    """Wait on the I/O thread for all of them; their records are filled in as they end.

    The answer says by id why the wait for a job was given up. With `until_failure` the wait is over when one job has
    ended in another way than with success, or was given up.
    """
    waiting: dict[str, list[TaskResult[Any]]] = {}
    given_up: dict[str, HeelerError] = {}
    for result in results:
        if result.is_finished:
            continue
        if result._record.envelope.keeps_result:
            waiting.setdefault(result.id, []).append(result)
        else:
            given_up[result.id] = result._missing()
    if not waiting or (given_up and until_failure):
        return given_up
    ids = list(waiting)
    ended: dict[str, ResultRecord | None] = {}
    late = False
    if timeout is not None and timeout <= 0:
        late = True
        connections = results[0]._source.connections
        await connections.opened()
        if not results[0]._source.listener.is_only_source:
            records = await connections.needed_store().get(ids)
            pairs = zip(ids, records, strict=True)
            ended |= {id: record for id, record in pairs if record is None or record.status.is_finished}
    else:
        addressed = {id: min(result._addressed for result in same) for id, same in waiting.items()}
        addressed = {id: generation for id, generation in addressed.items() if generation}
        try:
            async with asyncio.timeout(timeout):
                await results[0]._source.listener.finished(ids, ended, addressed=addressed, until_failure=until_failure)
        except TimeoutError:
            late = True
    for id, same in waiting.items():
        record = ended.get(id)
        if record is not None:
            for result in same:
                result._take(record)
        elif id in ended:
            given_up[id] = same[0]._missing()
        elif late:
            given_up[id] = _too_late(same[0], timeout)
    return given_up
