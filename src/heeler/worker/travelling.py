"""What follows a job where nothing is stored: it came in the job's own envelope, and its gaps are filled here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from heeler.arguments import fill
from heeler.codecs import Codecs
from heeler.contracts import WireFormat
from heeler.dag.place import Place, decode_place, encode_place
from heeler.dag.travel import failed, succeeded
from heeler.model import Envelope, ErrorRecord, FailedRun, ResultRecord, TaskStatus
from heeler.worker.completing import arguments_of, failed_run

__all__ = ["Travelling"]


class Travelling:
    """Usable on any thread."""

    def __init__(self, codecs: Codecs, formats: Mapping[str, WireFormat], tasks: Mapping[str, Any]) -> None:
        self._codecs = codecs
        self._formats = formats
        self._tasks = tasks

    def after_success(self, envelope: Envelope, value: bytes | None, content_type: str) -> tuple[Envelope, ...]:
        """What follows a job that returned this. Raises what a codec raises."""
        following = succeeded(decode_place(envelope.place))
        if not following:
            return ()
        plain = None if value is None else self._codecs.get(content_type).decode(value)
        return tuple(self._filled(next_, place, plain) for next_, place in following)

    def after_failure(self, envelope: Envelope, error: ErrorRecord) -> tuple[Envelope, ...]:
        """What follows a job that failed for good."""
        following = failed(decode_place(envelope.place)) if envelope.place else []
        if not following:
            return ()
        args, kwargs = arguments_of(envelope, envelope.body, self._codecs, self._formats, self._tasks)
        record = ResultRecord(envelope=envelope, status=TaskStatus.FAILED, errors=(error,))
        run: FailedRun = failed_run(record, args, kwargs)
        return tuple(self._filled(next_, place, run) for next_, place in following)

    def _filled(self, envelope: Envelope, place: Place, value: Any) -> Envelope:
        if place.inputs:
            codec = self._codecs.get(envelope.content_type)
            plain = codec.decode(envelope.body)
            for item in place.inputs:
                fill(plain, item.way, value)
            envelope = msgspec.structs.replace(envelope, body=codec.encode(plain))
        mends = tuple((item.way, type(value).__name__) for item in place.inputs if isinstance(value, FailedRun))
        rest = msgspec.structs.replace(place, inputs=(), mends=mends)
        return msgspec.structs.replace(envelope, place=encode_place(rest))
