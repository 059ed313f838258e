"""What a job's envelope carries of its workflow: which results complete its arguments, and what travels with it."""

from __future__ import annotations

from typing import Literal

import msgspec

from heeler.model import RELAY_TASK, Envelope, Member

__all__ = [
    "KEPT_WHILE_UNFINISHED",
    "NO_PLACE",
    "FailurePolicy",
    "Input",
    "Place",
    "Relay",
    "RelayKind",
    "Source",
    "SourceKind",
    "Travel",
    "decode_place",
    "decode_relay",
    "encode_place",
    "encode_relay",
    "failure_policies",
    "relay_envelope",
]

FailurePolicy = Literal["fail_fast", "continue", "ignore"]
failure_policies: tuple[FailurePolicy, ...] = ("fail_fast", "continue", "ignore")

SourceKind = Literal["job", "all", "failed", "before"]


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a value comes from.

    "job": the result of that job. "all": the results of what was joined in that latch, whose data says what that is.
    "failed": what is known of the job that broke that latch. "before": the end of the job with which this one travels.
    `failure` is what stands for a result that is missing because its job failed.
    """

    kind: SourceKind
    id: str = ""
    failure: FailurePolicy = "fail_fast"


class Input(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A gap in the arguments: the way to it (a parameter, then keys and numbers), and what it is filled with."""

    way: tuple[str | int, ...]
    source: Source


class Travel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What follows without a store to keep it: encoded envelopes.

    `steps` are the rest of the chain, of which the first follows when this job has succeeded, with the others in its
    place. `then` follows as well, `catch` and `chain_catch` (which stays with the rest of the chain) when it fails.
    """

    steps: tuple[bytes, ...] = ()
    then: tuple[bytes, ...] = ()
    catch: tuple[bytes, ...] = ()
    chain_catch: tuple[bytes, ...] = ()


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job's place in its workflow. `exempt`: it runs even where its workflow is broken.

    `follows`: a latch lets it go. `mends` is where in the arguments there are failures that were filled in already, and
    of which class.
    """

    inputs: tuple[Input, ...] = ()
    exempt: bool = False
    travel: Travel | None = None
    mends: tuple[tuple[tuple[str | int, ...], str], ...] = ()
    follows: bool = False


NO_PLACE = Place()

KEPT_WHILE_UNFINISHED = 30 * 86400.0
"""Seconds that results are kept while their workflow has not succeeded: as long as dead letters, to be redriven."""

_RELAY_PRIORITY = 100

RelayKind = Literal["pass", "skip", "over", "broken", "watch"]


class Relay(msgspec.Struct, frozen=True, array_like=True):
    """What a worker does for a job of `RELAY_TASK`.

    "pass": it succeeds, and `jobs` follow. "skip": something before it failed, and its latches are told so; `latch` is
    the one that broke. "over" and "broken": the workflow `latch` has ended; all that is known of it is from now on kept
    for its own time or, if it is broken, for `keep` seconds. "watch": the workflow `latch` is broken if nobody has
    published of it for `keep` seconds while it is unfinished.
    """

    kind: RelayKind
    jobs: tuple[Envelope, ...] = ()
    latch: str = ""
    keep: float = 0.0


_encoder = msgspec.msgpack.Encoder()
_places = msgspec.msgpack.Decoder(Place)
_relays = msgspec.msgpack.Decoder(Relay)


def encode_place(place: Place) -> bytes:
    """Empty for a job of which nothing has to be said."""
    return b"" if place == NO_PLACE else _encoder.encode(place)


def decode_place(data: bytes) -> Place:
    """Raises msgspec.DecodeError for what is no place."""
    return _places.decode(data) if data else NO_PLACE


def encode_relay(relay: Relay) -> bytes:
    return _encoder.encode(relay)


def relay_envelope(
    id: str, relay: Relay, queue: str, scope: str, ends_at: tuple[Member, ...], enqueued_at: float
) -> Envelope:
    """The job of a relay."""
    return Envelope(
        id=id,
        task=RELAY_TASK,
        queue=queue,
        body=encode_relay(relay),
        content_type="application/msgpack",
        priority=_RELAY_PRIORITY,
        enqueued_at=enqueued_at,
        keep=KEPT_WHILE_UNFINISHED,
        keeps_result=False,
        scope=scope,
        ends_at=ends_at,
    )


def decode_relay(data: bytes) -> Relay:
    """Raises msgspec.DecodeError for what is no relay."""
    return _relays.decode(data)
