"""A publication as the arguments of a script, and the answers of the script as those of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.scripts import Script, script
from heeler.brokers.redis.stored import content_of
from heeler.model import (
    CallId,
    Envelope,
    Latch,
    Publication,
    PublishAnswer,
    PublishResult,
    guard_moved,
    guard_refused,
)

__all__ = [
    "Places",
    "Publishing",
    "ScriptCall",
    "call_arguments",
    "move_arguments",
    "publication_arguments",
    "publish_results",
]

ScriptCall = tuple[Script, list[Argument]]

_MOST_PLACES = 1000
_AT_ONCE = 2000  # jobs, as lua/given.lua has it
_REFUSED, _EXISTS, _CONFLICT = PublishAnswer.REFUSED, PublishAnswer.EXISTS, PublishAnswer.CONFLICT


class Places:
    """The texts by which scripts read priority, queue and task; one is made for each kind of job, not for each job."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], bytes] = {}

    def of(self, envelope: Envelope) -> bytes:
        key = (envelope.priority, envelope.queue, envelope.task)
        place = self._known.get(key)
        if place is None:
            if len(self._known) >= _MOST_PLACES:
                self._known.clear()
            queue = envelope.queue.encode()
            place = b"%d %d " % (envelope.priority, len(queue)) + queue + envelope.task.encode()
            self._known[key] = place
        return place


def call_arguments(call: CallId | None) -> list[Argument]:
    return [call.session, call.number] if call is not None else ["", ""]


class Publishing:
    """A publication as calls of scripts: which is to be tried first, and which carries it out in any case."""

    __slots__ = ("_call", "_max_payload", "_places", "_publication", "first")

    def __init__(self, publication: Publication, call: CallId, places: Places, max_payload: int) -> None:
        self._publication = publication
        self._call = call
        self._places = places
        self._max_payload = max_payload
        self.first = self._plain() or self.again()

    def _plain(self) -> ScriptCall | None:
        """The fast script, which knows new jobs only that may start at once; None if it would not do."""
        publication = self._publication
        if publication.guard is not None or publication.latches or publication.call is not None:
            return None
        arguments = [*call_arguments(self._call), 0]
        jobs = 0
        for envelope in publication.envelopes:
            if envelope.fingerprint or _more(envelope):
                return None
            if len(envelope.body) <= self._max_payload:
                arguments += (envelope.id, self._places.of(envelope), content_of(envelope))
                jobs += 1
        arguments[2] = jobs
        if not 0 < jobs <= _AT_ONCE:
            return None
        return script("publish"), arguments

    def again(self) -> ScriptCall:
        """The script for everything, which also knows a repetition."""
        arguments = publication_arguments(self._publication, self._places, self._max_payload)
        return script("publish_all"), [*call_arguments(self._call), *arguments]


def publication_arguments(publication: Publication, places: Places, max_payload: int) -> list[Argument]:
    """What `publish_taken` of lua/latches.lua reads."""
    arguments: list[Argument] = []
    guard = publication.guard
    if guard is None:
        arguments.append("")
    else:
        arguments += ["1", guard.cell, *move_arguments(guard.expected, guard.next, guard.due_at)]
    _add_jobs(arguments, publication.envelopes, places, max_payload)
    arguments.append(len(publication.latches))
    for latch in publication.latches:
        _add_latch(arguments, latch, places, max_payload)
    return arguments


def move_arguments(expected: bytes | None, following: bytes | None, due_at: float | None) -> list[Argument]:
    """What `move_cell` of lua/cells.lua reads."""
    return [*_optional(expected), *_optional(following), "" if due_at is None else repr(due_at)]


def _optional(value: bytes | None) -> tuple[Argument, Argument]:
    return ("", "") if value is None else ("1", value)


def _add_jobs(arguments: list[Argument], envelopes: Iterable[Envelope], places: Places, max_payload: int) -> None:
    """Bodies that are too large are left out."""
    count = len(arguments)
    arguments.append(0)
    jobs = 0
    for envelope in envelopes:
        if len(envelope.body) <= max_payload:
            arguments += (envelope.id, places.of(envelope), _more(envelope), content_of(envelope))
            jobs += 1
    arguments[count] = jobs


def _more(envelope: Envelope) -> bytes:
    """Times and history, where the envelope has any."""
    has_history = (
        envelope.epoch != 1 or envelope.attempts or envelope.crashes or envelope.suspect or bool(envelope.note)
    )
    if (
        not has_history
        and envelope.delay <= 0.0
        and envelope.run_at is None
        and envelope.expires_in is None
        and envelope.expires_at is None
    ):
        return b""
    times = [
        envelope.delay if envelope.delay > 0.0 else None,
        envelope.run_at,
        envelope.expires_in,
        envelope.expires_at,
    ]
    text = " ".join("-" if time is None else repr(time) for time in times)
    history = "- - - -"
    if has_history:
        history = f"{envelope.epoch - 1} {envelope.attempts} {envelope.crashes} {int(envelope.suspect)}"
    return f"{text} {history} ".encode() + envelope.note


def _add_latch(arguments: list[Argument], latch: Latch, places: Places, max_payload: int) -> None:
    arguments += [
        latch.id,
        latch.rule.value,
        "" if latch.total is None else latch.total,
        latch.keep,
        latch.scope or "",
        latch.data,
        latch.reply_to or "",
    ]
    for envelope in (latch.envelope, latch.on_break):
        _add_jobs(arguments, () if envelope is None else (envelope,), places, max_payload)


def publish_results(publication: Publication, refused: Sequence[bytes], max_payload: int) -> list[PublishResult]:
    """The answers of the contract, from what the script says of those that were not accepted."""
    if refused and refused[0] == b"R":
        return guard_refused(publication)
    results = _job_results(publication, refused, max_payload)
    if publication.guard is not None:
        results.append(guard_moved(publication.guard))
    return results


def _job_results(publication: Publication, refused: Sequence[bytes], max_payload: int) -> list[PublishResult]:
    if not refused and all(len(envelope.body) <= max_payload for envelope in publication.envelopes):
        return [PublishResult(PublishAnswer.ACCEPTED, envelope.id) for envelope in publication.envelopes]
    said = {
        int(refused[n]): (refused[n + 1], refused[n + 2].decode(errors="replace")) for n in range(0, len(refused), 3)
    }
    results = []
    sent = 0
    for envelope in publication.envelopes:
        size = len(envelope.body)
        if size > max_payload:
            reason = f"the message has {size} bytes, the broker takes {max_payload}"
            results.append(PublishResult(_REFUSED, envelope.id, reason))
            continue
        sent += 1
        if sent not in said:
            results.append(PublishResult(PublishAnswer.ACCEPTED, envelope.id))
            continue
        letter, task = said[sent]
        if letter == b"E":
            results.append(PublishResult(_EXISTS, envelope.id))
        else:
            other = "" if task != envelope.task else " with other arguments"
            reason = f"the id {envelope.id!r} is taken by a job of {task}{other}"
            results.append(PublishResult(_CONFLICT, envelope.id, reason))
    return results
