"""What becomes real together when a producer publishes, and the broker's answer for each envelope."""

from __future__ import annotations

import enum

import msgspec

from heeler.model.envelope import Envelope
from heeler.model.latch import Latch

__all__ = [
    "CallId",
    "Guard",
    "Publication",
    "PublishAnswer",
    "PublishResult",
    "guard_moved",
    "guard_refused",
    "schedule_cell",
]

_SCHEDULE = "schedule:"


class CallId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names one call of a session, so that a repeat after a lost reply has no double effect and the same answer."""

    session: str
    number: int


class Guard(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The publication is real only if `cell` still holds `expected` (None: is absent); it then holds `next`.

    `due_at` is for cells of schedules: when the schedule is due next (None: not any more).
    """

    cell: str
    expected: bytes | None
    next: bytes | None
    due_at: float | None = None


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Envelopes and latches that become real together, in this order, or not at all. A guard alone is one, too."""

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
    """The broker's answer for one envelope; `id` is that of the job that is there now.

    `unroutable`: it was REFUSED because it reaches no queue.

    For a guard: ACCEPTED or REFUSED, and `id` is its cell.
    """

    answer: PublishAnswer
    id: str
    reason: str = ""
    unroutable: bool = False


def guard_moved(guard: Guard) -> PublishResult:
    """The last answer to a guarded publication that became real."""
    return PublishResult(PublishAnswer.ACCEPTED, guard.cell)


def guard_refused(publication: Publication, reason: str = "") -> list[PublishResult]:
    """The answers to a publication whose guard refused it, the guard's own last."""
    guard = publication.guard
    assert guard is not None
    reason = reason or f"the cell {guard.cell!r} does not hold what the publication expects"
    refused = PublishAnswer.REFUSED
    return [
        *(PublishResult(refused, one.id, reason) for one in publication.envelopes),
        PublishResult(refused, guard.cell, reason),
    ]


def schedule_cell(name: str) -> str:
    """The cell that holds the state of the schedule of that name."""
    return f"{_SCHEDULE}{name}"
