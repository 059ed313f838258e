"""What becomes real together when a producer publishes, and the broker's answer for each envelope."""

from __future__ import annotations

import enum

import msgspec

from heeler.model.envelope import Envelope
from heeler.model.latch import Latch

__all__ = ["CallId", "Guard", "Publication", "PublishAnswer", "PublishResult"]


class CallId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names one call of a session, so that a repeat after a lost reply has no double effect and the same answer."""

    session: str
    number: int


class Guard(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The publication is real only if `cell` still holds `expected` (None: is absent); it then holds `next`."""

    cell: str
    expected: bytes | None
    next: bytes | None


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Envelopes and latches that become real together, in this order, or not at all."""

    envelopes: tuple[Envelope, ...] = ()
    latches: tuple[Latch, ...] = ()
    guard: Guard | None = None
    call: CallId | None = None


class PublishAnswer(enum.Enum):
    ACCEPTED = "ACCEPTED"
    EXISTS = "EXISTS"  # the same job under this id is there already, or was within its `keep`
    CONFLICT = "CONFLICT"  # another job has this id
    REPLACED = "REPLACED"  # it took the place of a waiting one
    REFUSED = "REFUSED"  # `reason` says why


class PublishResult(msgspec.Struct, frozen=True, gc=False):
    """The broker's answer for one envelope; `id` is that of the job that is there now."""

    answer: PublishAnswer
    id: str
    reason: str = ""
