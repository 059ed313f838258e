"""The sealed message: all that a broker ever sees of a job."""

from __future__ import annotations

import msgspec

__all__ = ["NATIVE_FORMAT", "RELAY_TASK", "Envelope", "Member"]

NATIVE_FORMAT = "heeler/1"
RELAY_TASK = "heeler.workflow"  # its jobs hold workflows together; no function runs for them


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A numbered place in a latch. Numbers begin at 0 and have no large gaps; -1 is no place: it is only counted.

    With `tells_ok` False only an end that is not OK is told there; with `tolerant` that counts as OK.
    """

    latch: str
    number: int
    tells_ok: bool = True
    tolerant: bool = False


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One requested run, sealed: the body is bytes, and only what brokers and stores act on stands outside it.

    Relative times stay relative until a broker takes the envelope and adds them to its own clock.
    """

    id: str
    task: str
    queue: str
    body: bytes  # the encoded arguments
    content_type: str  # of the body; says which codec reads it
    options: bytes = b""  # what the producer asked of this one run (the wire format's own encoding); opaque here
    format: str = NATIVE_FORMAT  # the wire format that reads body and options
    headers: dict[str, str] = {}
    priority: int = 0  # -100 … 100, larger sooner
    enqueued_at: float = 0.0  # the producer's clock; for people
    delay: float = 0.0  # seconds after publication before it may start
    run_at: float | None = None  # absolute time before which it may not start
    expires_in: float | None = None  # seconds after publication after which it may not start
    expires_at: float | None = None  # absolute time after which it may not start
    keep: float = 86400.0  # seconds that the result, or a caller-given id, is kept after the end
    keeps_result: bool = True  # False: no result record is written (`ignore_result`)
    fingerprint: bytes = b""  # with a caller-given id: a digest of task and arguments, to tell "same" from "conflict"
    routing_key: str | None = None
    reply_to: str | None = None  # the inbox of the producer's process
    scope: str | None = None  # the latch that stops it when it breaks or is cancelled: its workflow, or a part of one
    ends_at: tuple[Member, ...] = ()  # the latches to tell of its end; SKIPPED, if it is dropped unrun
    place: bytes = b""  # how its arguments are completed and what follows in its workflow; opaque here
    # Where a retry is a copy (brokers without a row of their own for each job), the copy carries its history:
    epoch: int = 1
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    note: bytes = b""
