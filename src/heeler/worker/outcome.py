"""How a run ended, as values: what the runner finds out and `decide` turns into a settlement."""

from __future__ import annotations

import msgspec

from heeler.model import Envelope, ErrorRecord

__all__ = [
    "Cancelled",
    "Crashed",
    "Expired",
    "Outcome",
    "PassedOn",
    "Raised",
    "RejectedByTask",
    "Released",
    "RetryRequested",
    "Returned",
    "Skipped",
    "Unfinished",
    "Unknown",
    "Unreadable",
]


class Returned(msgspec.Struct, frozen=True, gc=False):
    """The function returned; `value` is encoded, None for a returned None."""

    value: bytes | None


class Raised(msgspec.Struct, frozen=True, gc=False):
    """The attempt failed: an exception, a timeout, a result that cannot be encoded, a middleware's own error."""

    error: ErrorRecord


class RetryRequested(msgspec.Struct, frozen=True, gc=False):
    """The task raised `RetryLater`."""

    after: float
    count: bool
    error: ErrorRecord


class RejectedByTask(msgspec.Struct, frozen=True, gc=False):
    """The task raised `Reject`."""

    error: ErrorRecord


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """Somebody cancelled the job, before it started or while it ran."""


class Released(msgspec.Struct, frozen=True, gc=False):
    """Given back: not started, or ended by a shutdown. Nobody is charged."""

    delay: float = 0.0


class Expired(msgspec.Struct, frozen=True, gc=False):
    """Its `expires` had passed before it could start."""


class Crashed(msgspec.Struct, frozen=True, gc=False):
    """Its child process died (`how` says in which way), or its crashes had used up the limit before it started."""

    how: str
    counted: bool = False  # the broker counted it already, when the lease of the dead worker ran out


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """It can never run as it is: unknown format or content type, undecodable, or arguments that do not fit."""

    error: ErrorRecord


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """No task of its name is here; `elsewhere`: a live worker has it. `known` are the names this worker has."""

    known: tuple[str, ...]
    elsewhere: bool


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """Something in its workflow failed before it could start."""


class PassedOn(msgspec.Struct, frozen=True):
    """A relay did its part: these jobs follow. `skipped_by`: what it stands for was not run, because of that job."""

    jobs: tuple[Envelope, ...]
    skipped_by: str | None = None


class Unfinished(msgspec.Struct, frozen=True, gc=False):
    """A workflow has not been sent to its end. `look_again` is in how many seconds to look; None: it never will be.

    `given_up`: it will be broken when this is looked at again; first it is written down why.
    """

    look_again: float | None
    given_up: bool = False


Outcome = (
    Returned
    | Raised
    | RetryRequested
    | RejectedByTask
    | Cancelled
    | Released
    | Expired
    | Crashed
    | Unreadable
    | Unknown
    | Skipped
    | PassedOn
    | Unfinished
)
