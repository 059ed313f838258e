"""The store behind a broker that has none: it remembers jobs whose messages travel elsewhere.

Store and message server share no transaction, so what belongs together is done in ordered steps, each of which may
be repeated (`brokers/ordered/`): *first* the store takes down, in one transaction of its own, what has become true and
what has to be sent because of it (`Unsent`); then that is sent, the message acknowledged, and at last the errand
cleared. Whoever dies in between leaves either a message that is delivered again (`begin` then finds what has to be
sent) or an errand that `unsent` finds.

What the store knows of a job: its envelope, its expiry, and which epoch the message carries that is out now; the epoch
of its last run; while that run is renewed, its lease, its mark and its reports; its record; whether it is to be
cancelled. A job it knows nothing of (its time is over, the store was emptied) is taken as its message says.

**Epochs.** A run is (id, epoch). The first message carries epoch 1, each copy (retry, give-back, redrive) a higher one
than the run before. A first delivery is only looked up: nothing is written, the run has the epoch that its message
carries. A redelivered one gets the next higher epoch, written down; from then on the run before is lost: only who
names the last epoch of a job that is not over may renew or end a run, and the end of a run is an end of that
epoch, too.

All coroutines run on the process's I/O thread. Times are the store's own clock. What cannot be reached is
`BrokerUnavailable`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from heeler.contracts.plain_broker import Outgoing
from heeler.contracts.result_store import CancelAnswer
from heeler.model import DeadLetter, Envelope, Notice, PublishResult, SettleAnswer

if TYPE_CHECKING:
    from heeler.contracts.control_channel import ControlChannel
    from heeler.contracts.result_store import Inbox
    from heeler.contracts.schedule_store import ScheduleStore
    from heeler.model import (
        CallId,
        JobFilter,
        LatchRecord,
        Publication,
        Renewal,
        RenewalAnswer,
        ResultRecord,
        Settlement,
    )

__all__ = ["Applied", "BeginAnswer", "Begun", "Cancelled", "Candidate", "OrderedStore", "Reserved", "Unsent"]


class Unsent(msgspec.Struct, frozen=True, gc=False):
    """What has to be sent because of something that is true in the store already; remembered until `clear(key)`.

    `messages` have the delay that is left now. `notices` are for inboxes, by address, where the store has no push of
    its own. May have nothing to send: then it stands for the end of a message.
    """

    key: str
    messages: tuple[Outgoing, ...] = ()
    letter: DeadLetter | None = None
    notices: tuple[tuple[str, Notice], ...] = ()


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """The answers to a publication, as `Broker.publish` gives them, and what is to be sent (None: nothing)."""

    results: list[PublishResult]
    unsent: Unsent | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A message that came, and might be run."""

    envelope: Envelope
    redelivered: bool


class BeginAnswer(enum.Enum):
    RUN = "RUN"
    ENDED = "ENDED"  # its run was ended or the job is over: send what is unsent, acknowledge
    HELD = "HELD"  # its lease is somebody's still: ask again after `wait` seconds
    PAUSED = "PAUSED"  # its queue is paused: nothing was looked at or written


class Begun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is to be done with a candidate. For RUN: the facts of its lease, which begins at `at`."""

    answer: BeginAnswer
    at: float = 0.0
    epoch: int = 1
    crashes: int = 0
    suspect: bool = False
    expires_at: float | None = None
    unsent: Unsent | None = None  # of ENDED, always: to be cleared as acknowledged
    wait: float = 0.0  # of HELD


class Applied(msgspec.Struct, frozen=True, gc=False):
    """The answer to a settlement (ACCEPTED or LOST); ACCEPTED ones have something to send, or at least to clear."""

    answer: SettleAnswer
    unsent: Unsent | None = None


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request to cancel, and what is to be sent because the job is over (None: nothing)."""

    answer: CancelAnswer
    unsent: Unsent | None = None


class OrderedStore(ABC):
    """A store for jobs of a plain broker: each verb is one atomic step on a batch.

    `shared`: other processes see the same; `durable`: it survives a restart. `control` is a control channel of its
    own, or None. `schedules` is a store of schedules whose cells are those that the guards of `reserve` move, or None.
    `max_result` is how many bytes a record's values may have.
    """

    shared: bool = True
    durable: bool = True
    control: ControlChannel | None = None
    schedules: ScheduleStore | None = None
    max_result: int = 16 << 20

    @abstractmethod
    async def open(self) -> None:
        """Connect; called once before any other verb, again after `close`, and in a forked child."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back; harmless twice."""

    # Publishing

    @abstractmethod
    async def reserve(self, publication: Publication) -> Reserved:
        """Take down a publication: its guard is moved or refuses, then each envelope and latch is taken down.

        Of a guarded one the last answer is the guard's own.

        An id that is not known is ACCEPTED and to be sent, one that is known EXISTS or CONFLICT, by fingerprint and
        task; known is a job that has not ended, one whose record is kept, and a caller-given id for `keep` seconds
        after the end. Envelopes that latches without members let go are sent as well. Where the epoch of
        an id that is free again is known still, the envelope is sent with a higher one.

        Repeated with the same `call`: the same answers, and what is still not cleared to be sent.
        """

    @abstractmethod
    async def refuse(self, ids: Sequence[str]) -> None:
        """The broker cannot deliver these that were just reserved: forget them."""

    @abstractmethod
    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        """Take down that dead letters start anew: READY, counters at zero, no delay, a higher epoch, a new expiry.

        Their latches are told REVIVED. None for those whose id is alive. The letters have envelopes.
        """

    # Running

    @abstractmethod
    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        """What is to be done with messages that came; the one question of each fetch.

        PAUSED, if the queue is. ENDED, if the job is over or a later message of it is out; with what is unsent of the
        runs of this message. RUN as the message says, but with the known expiry, for a first delivery of a job that
        nobody has begun or renewed.

        For all others: HELD, if the last run's lease is renewed and not over. ENDED, if the job is to be
        cancelled: it is so now, with what that lets go as unsent. Else RUN under a new epoch that is held for `lease`
        seconds: a suspect, with one more in `crashes` if the last run had the mark `started`.
        """

    @abstractmethod
    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        """As `Broker.extend`: keep runs that are not lost, with their deliveries' crashes, and take in reports."""

    @abstractmethod
    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        """End runs that are not lost, each with all that follows, in one step.

        ACK and DEAD_LETTER end the job: the record is stored for `keep` seconds, a dead letter is to be sent
        (`letter_of`). RETRY and RELEASE send the copy (`copy_of`), READY with its record; a job that is to be
        cancelled ends instead. Follow-ups are taken down as by `reserve` (a refused guard drops them), then
        arrivals; what they let go is sent, too. Who waits is told.

        The end of a message is remembered until it is cleared, and then as long as the record, but at least two
        minutes, because an acknowledgement may still get lost. Repeated with the same `call`: the same answers, with
        what is still not cleared.
        """

    @abstractmethod
    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        """End jobs as CANCELLED that no worker has, with `reason` as their error (a purge; an unroutable follow-up).

        None for those that are over already, or known with a higher epoch than the envelope's.
        """

    # Sending

    @abstractmethod
    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        """These have been sent. `acknowledged`: and the message that brought it about will not come again.

        What is sent but not acknowledged is remembered for a month (beyond the time a message is delayed), so that
        the message is known for ended when it comes.
        """

    @abstractmethod
    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        """What is left to send after so many seconds, oldest first; it is not answered again for as long.

        A message whose job is over by now, or has a later one, is left out.
        """

    # Looking and cancelling, as in `ResultStore`

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        """READY (with `next_at`) from `reserve` on, RUNNING while a report holds, the end for `keep` seconds."""

    @abstractmethod
    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        """As `ResultStore.list_records`: of all jobs that were taken down here, waiting or not."""

    @abstractmethod
    async def inbox(self) -> Inbox: ...

    @abstractmethod
    async def forget(self, ids: Sequence[str]) -> int: ...

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        """Mark jobs whose run has a lease that is not over; end all others, and tell their latches SKIPPED.

        A run that nobody has renewed yet has no lease here: its job is over, and what its worker says of it is lost.
        """

    @abstractmethod
    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]: ...

    @abstractmethod
    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        """As in `ResultStore`; and what is to be sent because of that (None: nothing)."""

    @abstractmethod
    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None: ...

    # Queues

    @abstractmethod
    async def pause(self, queue: str) -> None: ...

    @abstractmethod
    async def resume(self, queue: str) -> None: ...

    @abstractmethod
    async def paused(self) -> frozenset[str]:
        """The names of all paused queues."""
