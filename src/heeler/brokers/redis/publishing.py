"""A publication as the arguments of a script, and the answers of the script as those of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.stored import content_of
from heeler.model import CallId, Envelope, Latch, Publication, PublishAnswer, PublishResult

__all__ = [
    "Places",
    "call_arguments",
    "is_plain",
    "job_arguments",
    "publication_arguments",
    "publish_results",
    "why_too_large",
]

_MOST_PLACES = 1000
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


def is_plain(publication: Publication) -> bool:
    """Whether the script without guards and latches will do."""
    return publication.guard is None and not publication.latches


def call_arguments(call: CallId | None) -> list[Argument]:
    return [call.session, call.number] if call is not None else ["", ""]


def job_arguments(publication: Publication, places: Places, max_payload: int) -> list[Argument]:
    """What `take_jobs` of lua/publishing.lua reads; bodies that are too large are left out."""
    arguments: list[Argument] = []
    _add_jobs(arguments, publication.envelopes, places, max_payload)
    return arguments


def publication_arguments(publication: Publication, places: Places, max_payload: int) -> list[Argument]:
    """What `publish_taken` of lua/latches.lua reads."""
    arguments: list[Argument] = []
    guard = publication.guard
    if guard is None:
        arguments.append("")
    else:
        arguments += ["1", guard.cell, *_optional(guard.expected), *_optional(guard.next)]
    _add_jobs(arguments, publication.envelopes, places, max_payload)
    arguments.append(len(publication.latches))
    for latch in publication.latches:
        _add_latch(arguments, latch, places, max_payload)
    return arguments


def _optional(value: bytes | None) -> tuple[Argument, Argument]:
    return ("", "") if value is None else ("1", value)


def _add_jobs(arguments: list[Argument], envelopes: Iterable[Envelope], places: Places, max_payload: int) -> None:
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
    arguments += [latch.id, latch.rule.value, "" if latch.total is None else latch.total, latch.keep]
    for envelope in (latch.envelope, latch.on_break):
        _add_jobs(arguments, () if envelope is None else (envelope,), places, max_payload)


def publish_results(publication: Publication, refused: Sequence[bytes], max_payload: int) -> list[PublishResult]:
    """One answer for each envelope, from what the script says of those that were not accepted."""
    if refused and refused[0] == b"R":
        assert publication.guard is not None
        reason = f"the cell {publication.guard.cell!r} does not hold what the publication expects"
        return [PublishResult(_REFUSED, envelope.id, reason) for envelope in publication.envelopes]
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


def why_too_large(publication: Publication, max_payload: int) -> str:
    """Why a publication that follows cannot be stored; empty if it can."""
    envelopes = list(publication.envelopes)
    for latch in publication.latches:
        envelopes += [envelope for envelope in (latch.envelope, latch.on_break) if envelope is not None]
    for envelope in envelopes:
        if len(envelope.body) > max_payload:
            return (
                f"the message {envelope.id} that follows has {len(envelope.body)} bytes, the broker takes {max_payload}"
            )
    return ""
