"""Completes the arguments of jobs that wait for the results of others: reads these in batches, and puts them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from heeler.arguments import Mend, Way, fill, given_unbound
from heeler.codecs import Codecs
from heeler.contracts import ResultStore, WireFormat
from heeler.dag.place import Place, Source, decode_place
from heeler.dag.shape import decode_shape
from heeler.dag.values import Lost, drive, error_text, leaves_of, read_value
from heeler.errors import ResultLost
from heeler.model import Envelope, FailedRun, Failure, ResultRecord, TaskStatus

__all__ = ["Completed", "Completer", "failed_run", "mends_in"]

_AT_ONCE = 500  # jobs of which one call reads the records
_ALL = ":all"


class Completed(NamedTuple):
    """The body with its gaps filled, and where it has failures that are to be made objects."""

    body: bytes
    mends: tuple[Mend, ...] = ()


class Completer:
    """Lives on the I/O thread. `spec_of` knows tasks by their name, as far as they are here."""

    def __init__(
        self, store: ResultStore, codecs: Codecs, formats: Mapping[str, WireFormat], tasks: Mapping[str, Any]
    ) -> None:
        self._store = store
        self._codecs = codecs
        self._formats = formats
        self._tasks = tasks

    async def read_ahead(self, places: Iterable[Place]) -> dict[str, ResultRecord | None]:
        """What is known of all single jobs that these places need, in few calls."""
        ids = list(
            dict.fromkeys(item.source.id for place in places for item in place.inputs if item.source.kind == "job")
        )
        found: dict[str, ResultRecord | None] = {}
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            found.update(zip(part, await self._store.get(part), strict=True))
        return found

    async def complete(self, envelope: Envelope, place: Place, known: Mapping[str, ResultRecord | None]) -> Completed:
        """The job's body with its gaps filled.

        Raises ResultLost where a result is not there any more, LookupError for an unknown content type, and what a
        codec raises.
        """
        if not place.inputs:
            return Completed(envelope.body)
        codec = self._codecs.get(envelope.content_type)
        plain = codec.decode(envelope.body)
        mends: list[Mend] = []
        for item in place.inputs:
            value = await self._value(item.source, known)
            fill(plain, item.way, value)
            mends += mends_in(value, item.way)
        return Completed(codec.encode(plain), tuple(mends))

    async def _value(self, source: Source, known: Mapping[str, ResultRecord | None]) -> Any:
        builder = _PlainBuilder(self._codecs)
        if source.kind == "failed":
            return await self._failed_run(source.id)
        if source.kind == "all":
            return await self._joined(source, builder)
        record = known[source.id] if source.id in known else (await self._store.get([source.id]))[0]
        if record is not None and record.status is TaskStatus.SUCCESSFUL:
            return builder.value(record)
        return _instead(Lost(source.id, record.envelope.task if record is not None else "", record), source, builder)

    async def _joined(self, source: Source, builder: _PlainBuilder) -> Any:
        [latch] = await self._store.latches([source.id])
        if latch is None:
            raise _gone(source.id)
        shape = decode_shape(latch.data)
        path = source.id.removesuffix(_ALL)
        value = await drive(read_value(shape, path, builder), leaves_of(shape, path), self._store.get)
        return _instead(value, source, builder) if isinstance(value, Lost) else value

    async def _failed_run(self, latch_id: str) -> FailedRun:
        [latch] = await self._store.latches([latch_id], with_data=False)
        culprit = latch.broken_by if latch is not None else ""
        [record] = await self._store.get([culprit]) if culprit else [None]
        if record is None:
            return FailedRun(id=culprit, task="", error="nothing is known (any more) of the job that failed")
        return failed_run(record, *await self._arguments(record.envelope))

    async def _arguments(self, envelope: Envelope) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a job was called with, as plain values, as far as that can be known."""
        body = envelope.body
        try:
            place = decode_place(envelope.place)
            body = (await self.complete(envelope, place, {})).body
        except (ResultLost, LookupError, msgspec.DecodeError):
            pass  # what it was called with is gone; the gaps are shown as None
        return arguments_of(envelope, body, self._codecs, self._formats, self._tasks)


def failed_run(record: ResultRecord, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FailedRun:
    """What a `catch` job is told of a job."""
    envelope = record.envelope
    error = record.errors[-1] if record.errors else None
    return FailedRun(
        id=envelope.id,
        task=envelope.task,
        error=error_text(Lost(envelope.id, envelope.task, record)),
        traceback=error.traceback if error is not None else "",
        args=args,
        kwargs=kwargs,
    )


def arguments_of(
    envelope: Envelope, body: bytes, codecs: Codecs, formats: Mapping[str, WireFormat], tasks: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in a body as plain values, those that can be by position."""
    try:
        message = formats[envelope.format].open(envelope)
        codec = codecs.get(envelope.content_type)
    except (ValueError, LookupError):
        return (), {}
    args, kwargs = given_unbound(body, codec, message.bound)
    task = tasks.get(envelope.task)
    parameters = None if task is None else task.spec.parameters
    if not message.bound or parameters is None:
        return args, kwargs
    return parameters.by_position(kwargs)  # type: ignore[no-any-return]


def mends_in(value: Any, way: Way) -> Iterator[Mend]:
    """Where in a value there are failures."""
    if isinstance(value, (Failure, FailedRun)):
        yield way, type(value).__name__
    elif type(value) is dict:
        for key, item in value.items():
            yield from mends_in(item, (*way, key))
    elif type(value) is list:
        for number, item in enumerate(value):
            if type(item) in (list, dict, Failure):
                yield from mends_in(item, (*way, number))


class _PlainBuilder:
    """Values as codecs read them."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs

    def value(self, record: ResultRecord) -> Any:
        return None if record.value is None else self._codecs.get(record.content_type).decode(record.value)

    def array(self, items: list[Any]) -> Any:
        return items

    def mapping(self, items: dict[str, Any]) -> Any:
        return items

    def failure(self, lost: Lost) -> Any:
        return Failure(id=lost.id, task=lost.task, error=error_text(lost))


def _instead(lost: Lost, source: Source, builder: _PlainBuilder) -> Any:
    """What stands for a result that is missing."""
    if source.failure == "ignore":
        return None
    if source.failure == "continue":
        return builder.failure(lost)
    if lost.record is not None and lost.record.errors:
        raise ResultLost(
            f"the result of {lost.task} ({lost.id}) was to be an argument, but it failed: {error_text(lost)}"
        )
    raise _gone(lost.id)


def _gone(id: str) -> ResultLost:
    return ResultLost(
        f"the result of {id} was to be an argument, and it is not in the store (any more): it was forgotten, or its "
        f"time is over"
    )
