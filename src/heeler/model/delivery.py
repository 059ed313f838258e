"""A job on lease, and what a worker says of it to the broker: renewals and settlements."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from heeler.model.envelope import Envelope
from heeler.model.latch import Arrival
from heeler.model.publication import Publication
from heeler.model.result import ErrorRecord, ResultRecord, RunReport

__all__ = [
    "Action",
    "DeadLetter",
    "Delivery",
    "Receipt",
    "Renewal",
    "RenewalAnswer",
    "SettleAnswer",
    "SettleResult",
    "Settlement",
]


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Which lease of which job: `epoch` grows with each lease. `tag` is the broker's own (a delivery tag, a row id)."""

    id: str
    epoch: int
    tag: Any = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An envelope on lease. `leased_at` and `expires_at` are in the broker's time.

    `attempts` counts the runs that the code ended before, `crashes` the deaths this job caused. `suspect`: a lease
    of it was lost since its last counted end, so it is to run alone.
    """

    envelope: Envelope
    receipt: Receipt
    leased_at: float
    expires_at: float | None = None
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    note: bytes = b""


class Action(enum.Enum):
    """What becomes of a delivery."""

    ACK = "ACK"  # it is over: the job leaves the queue
    RETRY = "RETRY"  # it comes back after `delay`, behind what is ready then
    DEAD_LETTER = "DEAD_LETTER"  # it is over and kept aside with `reason`
    RELEASE = "RELEASE"  # given back unrun or uncounted: it keeps its place (after `delay`, if any)


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a delivery ends, and all that becomes true with it in one step.

    The counters, `suspect` and `note` are the values to store for the next lease, not differences, so a repeated
    settlement cannot count twice. `record` is None where nothing is to be stored. `follow_ups` and `arrivals` take
    effect only if the settlement is accepted.
    """

    delivery: Delivery
    action: Action
    delay: float = 0.0
    attempts: int = 0
    crashes: int = 0
    suspect: bool = False
    note: bytes = b""
    record: ResultRecord | None = None
    follow_ups: Publication | None = None
    arrivals: tuple[Arrival, ...] = ()
    reason: str = ""
    errors: tuple[ErrorRecord, ...] = ()  # of a dead letter


class SettleAnswer(enum.Enum):
    ACCEPTED = "ACCEPTED"
    LOST = "LOST"  # the lease was not ours any more: nothing happened
    INVALID = "INVALID"  # cannot be stored as it is; the worker settles it again as a dead letter


class SettleResult(msgspec.Struct, frozen=True, gc=False):
    answer: SettleAnswer
    reason: str = ""


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """Keeps a lease. `started` marks that the run begins alone or at most once: from now on a lost lease is a crash."""

    delivery: Delivery
    started: bool = False
    report: RunReport | None = None


class RenewalAnswer(msgspec.Struct, frozen=True):
    """The ids whose lease is lost, and those that somebody cancelled; all others were renewed."""

    lost: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that was given up, or bytes that could not be understood (`envelope` is None, `raw` has them)."""

    id: str
    queue: str
    reason: str
    died_at: float
    task: str = ""
    envelope: Envelope | None = None
    raw: bytes = b""
    errors: tuple[ErrorRecord, ...] = ()
    attempts: int = 0
    crashes: int = 0

    @property
    def queue_name(self) -> str:
        """The queue, under the name that jobs have it by."""
        return self.queue
