"""Latches: an envelope that is let go when enough of its numbered members have ended. Joins are made of them.

A latch is OPEN until its rule holds (RELEASED) or no longer can (BROKEN). RELEASED is final. A BROKEN one is open
again when the members that broke it are OK after all, or live again (REVIVED).

Latches lie in one another: `scope` names the one around. What lies in a latch that is broken or cancelled is stopped,
until one of its members lives again, there or in a latch within.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from heeler.model.envelope import Envelope

__all__ = [
    "TICK",
    "Arrival",
    "ArrivalKind",
    "Latch",
    "LatchRecord",
    "LatchRule",
    "LatchState",
    "all_ok",
    "arrivals_of",
    "judge",
]

TICK = -1
"""The number of members that have no place: their ends are counted, and decide nothing."""


class LatchRule(enum.StrEnum):
    """When a latch lets its envelope go."""

    ALL_OK = "ALL_OK"  # every member OK; the first that is not breaks it
    ANY_OK = "ANY_OK"  # the first OK; broken when all ended and none was
    ALL_ENDED = "ALL_ENDED"  # every member ended, however; never broken


class LatchState(enum.StrEnum):
    OPEN = "OPEN"
    RELEASED = "RELEASED"  # final
    BROKEN = "BROKEN"  # a later OK in place of a member's FAILED may reopen it


class ArrivalKind(enum.StrEnum):
    OK = "OK"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    REVIVED = "REVIVED"  # it had FAILED or was SKIPPED, and lives again: as if it had never arrived


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A member of a latch has ended: the job with the id `job`.

    A repeated arrival changes nothing; a later OK replaces a FAILED or SKIPPED. Ticks are counted each time.
    """

    latch: str
    member: int
    kind: ArrivalKind
    job: str = ""


class Latch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`envelope` is published when `rule` holds over `total` members, `on_break` when it no longer can (once).

    `total` is None while a stream still adds members; publishing the latch again with a total closes it (its `data` is
    then the new one), publishing an open one again otherwise only tells that its publisher lives, and a closed one
    nothing. `keep` is how many seconds it is remembered after its end. Whoever watches its id, and the inbox
    `reply_to`, are told when its state changes.
    """

    id: str
    rule: LatchRule
    total: int | None
    envelope: Envelope | None = None
    on_break: Envelope | None = None
    scope: str | None = None  # the latch in which it lies
    data: bytes = b""  # what its readers want to know; opaque here
    reply_to: str | None = None
    keep: float = 86400.0


class LatchRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a latch. `ok` and `not_ok` count members, `ticks` those without a place.

    `broken_by` is the job whose end broke it, `touched_at` when it was published last (the broker's time).
    `stopped`: it is broken and no member has been revived since; `cancelled`: it was broken by a cancel; each also
    where that is so of a latch in which it lies.
    """

    id: str
    rule: LatchRule
    total: int | None
    state: LatchState = LatchState.OPEN
    ok: int = 0
    not_ok: int = 0
    ticks: int = 0
    scope: str | None = None
    broken_by: str = ""
    stopped: bool = False
    cancelled: bool = False
    touched_at: float = 0.0
    data: bytes = b""


def judge(rule: LatchRule, total: int | None, ok: int, not_ok: int) -> LatchState:
    """The state of a latch that is not released yet, from how many members arrived OK and how many otherwise."""
    if rule is LatchRule.ANY_OK:
        if ok:
            return LatchState.RELEASED
        return LatchState.BROKEN if total is not None and not_ok >= total else LatchState.OPEN
    if rule is LatchRule.ALL_OK:
        if not_ok:
            return LatchState.BROKEN
        return LatchState.RELEASED if total is not None and ok >= total else LatchState.OPEN
    return LatchState.RELEASED if total is not None and ok + not_ok >= total else LatchState.OPEN


def arrivals_of(envelope: Envelope, kind: ArrivalKind) -> tuple[Arrival, ...]:
    """What the latches of a job are told when it ends like this, or is revived."""
    if kind is ArrivalKind.OK:  # the usual end, and there are jobs by the thousand that end so
        return tuple(
            [Arrival(member.latch, member.number, kind, envelope.id) for member in envelope.ends_at if member.tells_ok]
        )
    return tuple(
        Arrival(
            member.latch,
            member.number,
            ArrivalKind.OK if member.tolerant and kind is not ArrivalKind.REVIVED else kind,
            envelope.id,
        )
        for member in envelope.ends_at
    )


def all_ok(arrivals: Sequence[Arrival]) -> bool:
    """Whether the order in which these are told, among others like them, means nothing."""
    return not [True for arrival in arrivals if arrival.kind is not ArrivalKind.OK]
