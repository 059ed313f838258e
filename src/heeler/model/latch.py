"""Latches: an envelope that is let go when enough of its numbered members have ended. Joins are made of them."""

from __future__ import annotations

import enum

import msgspec

from heeler.model.envelope import Envelope

__all__ = ["Arrival", "ArrivalKind", "Latch", "LatchRule", "LatchState", "judge"]


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


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A member of a latch has ended. A repeated arrival changes nothing; a later OK replaces a FAILED or SKIPPED."""

    latch: str
    member: int
    kind: ArrivalKind


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """`envelope` is published when `rule` holds over `total` members, `on_break` when it no longer can.

    `total` is None while a stream still adds members; publishing the latch again with a total closes it, and
    publishing a known latch otherwise changes nothing. `keep` is how many seconds it is remembered after its end.
    """

    id: str
    rule: LatchRule
    total: int | None
    envelope: Envelope | None = None
    on_break: Envelope | None = None
    scope: str | None = None
    keep: float = 86400.0


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
