"""A compiled workflow without an id: kept by who starts it again and again, and made real under a new id each time.

All ids of a workflow begin with its own (see `dag.shape`), so it is compiled once under a mark, and whoever starts it
puts an id in the place of the mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from heeler.dag.compile import BYTES_AT_ONCE
from heeler.dag.place import Relay, decode_place, decode_relay, encode_place, encode_relay, relay_envelope
from heeler.dag.shape import FAN, Record, decode_record, encode_record, relayed
from heeler.model import RELAY_TASK, Envelope, Latch, LatchRule, Member

__all__ = ["MARK", "Rendered", "SealLike", "Template", "render"]

MARK = "*"
"""Stands in a template for the id of the workflow."""

SealLike = Callable[[Envelope, str], Envelope]
"""Makes a job like that of an envelope under an id."""

_KEPT_AFTER_ITS_START = 86400.0  # seconds; for latches that only let the first jobs go


class Template(msgspec.Struct, frozen=True, array_like=True):
    """What is published of a workflow, in one step. `jobs` is how many jobs it has, callbacks apart."""

    envelopes: tuple[Envelope, ...]
    latches: tuple[Latch, ...]
    jobs: int


class Rendered(NamedTuple):
    """A workflow under its own id: what is published, and what is known of it as a whole."""

    envelopes: tuple[Envelope, ...]
    latches: tuple[Latch, ...]
    record: Record


def render(
    template: Template,
    id: str,
    seal: SealLike,
    at: float,
    *,
    ends_at: tuple[Member, ...] = (),
    held_back: bool = False,
) -> Rendered:
    """The workflow `id`, enqueued at the time `at`. The latches `ends_at` are told when it has ended, however.

    With `held_back` there is one envelope at most: when it is published, the workflow starts.
    """
    rendering = _Rendering(id, seal, at, ends_at)
    latches = tuple(rendering.latch(latch) for latch in template.latches)
    envelopes = tuple(rendering.envelope(envelope) for envelope in template.envelopes)
    if held_back and len(envelopes) > 1:
        first, letting_go = _held_back(envelopes, id, at)
        envelopes, latches = (first,), (*latches, *letting_go)
    return Rendered(envelopes, latches, rendering.record)


class _Rendering:
    def __init__(self, id: str, seal: SealLike, at: float, ends_at: tuple[Member, ...]) -> None:
        self._id = id
        self._seal = seal
        self._at = at
        self._ends_at = ends_at
        self.record: Record

    def latch(self, latch: Latch) -> Latch:
        data = latch.data
        release, on_break = self._maybe(latch.envelope), self._maybe(latch.on_break)
        if latch.id == MARK:
            self.record = msgspec.structs.replace(decode_record(data), enqueued_at=self._at)
            data = encode_record(self.record)
            release, on_break = self._ending(release), self._ending(on_break)
        return msgspec.structs.replace(
            latch,
            id=self._name(latch.id),
            envelope=release,
            on_break=on_break,
            scope=None if latch.scope is None else self._name(latch.scope),
            data=data,
        )

    def envelope(self, envelope: Envelope) -> Envelope:
        id = self._name(envelope.id)
        scope = None if envelope.scope is None else self._name(envelope.scope)
        ends_at = tuple(msgspec.structs.replace(one, latch=self._name(one.latch)) for one in envelope.ends_at)
        if envelope.task == RELAY_TASK:
            return msgspec.structs.replace(
                envelope,
                id=id,
                scope=scope,
                ends_at=ends_at,
                body=self._relay(envelope.body),
                enqueued_at=self._at,
            )
        return msgspec.structs.replace(
            self._seal(envelope, id),
            scope=scope,
            ends_at=ends_at,
            place=self._place(envelope.place),
            keep=envelope.keep,
            keeps_result=True,
            reply_to=None,
        )

    def _maybe(self, envelope: Envelope | None) -> Envelope | None:
        return None if envelope is None else self.envelope(envelope)

    def _ending(self, relay: Envelope | None) -> Envelope | None:
        """The last relay of the workflow, which tells of its end."""
        if relay is None or not self._ends_at:
            return relay
        return msgspec.structs.replace(relay, ends_at=(*relay.ends_at, *self._ends_at))

    def _relay(self, body: bytes) -> bytes:
        relay = decode_relay(body)
        jobs = tuple(self.envelope(job) for job in relay.jobs)
        return encode_relay(msgspec.structs.replace(relay, jobs=jobs, latch=self._name(relay.latch)))

    def _place(self, data: bytes) -> bytes:
        place = decode_place(data)
        inputs = tuple(
            msgspec.structs.replace(one, source=msgspec.structs.replace(one.source, id=self._name(one.source.id)))
            for one in place.inputs
        )
        return encode_place(msgspec.structs.replace(place, inputs=inputs))

    def _name(self, text: str) -> str:
        return self._id + text.removeprefix(MARK) if text.startswith(MARK) else text


def _held_back(envelopes: Sequence[Envelope], id: str, at: float) -> tuple[Envelope, list[Latch]]:
    """A relay that lets the first of these jobs go, and latches that let the others go, a part of them each."""
    name = f"{id}:start"
    parts = list(_parts(envelopes))
    relays = []
    for number, part in enumerate(parts):
        following = (Member(relayed(name, number + 1), 0),) if number + 1 < len(parts) else ()
        relay = Relay("pass", part)
        relays.append(relay_envelope(relayed(name, number), relay, part[0].queue, id, following, at))
    latches = [
        Latch(
            id=relay.id,
            rule=LatchRule.ALL_OK,
            total=1,
            envelope=relay,
            scope=id,
            keep=_KEPT_AFTER_ITS_START,
        )
        for relay in relays[1:]
    ]
    return relays[0], latches


def _parts(envelopes: Sequence[Envelope]) -> Iterator[tuple[Envelope, ...]]:
    """So few that one step can let them go."""
    part: list[Envelope] = []
    size = 0
    for envelope in envelopes:
        weight = len(envelope.body) + len(envelope.place)
        if part and (len(part) == FAN or size + weight > BYTES_AT_ONCE):
            yield tuple(part)
            part, size = [], 0
        part.append(envelope)
        size += weight
    yield tuple(part)
