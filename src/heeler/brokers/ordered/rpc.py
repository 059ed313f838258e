"""Results as replies (`results="rpc://"`): what becomes of a job is sent to the process that enqueued it.

Nothing is stored. The reply is one of the ordered steps: sent and confirmed after what follows from the run, and before
its message is acknowledged. So who waits may be told twice, but is not forgotten when a worker dies in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.brokers.ordered.no_store import NoStore
from heeler.brokers.ordered.unstored import UnstoredBroker
from heeler.contracts import (
    Applied,
    CancelAnswer,
    Inbox,
    PlainBroker,
    ReplyBox,
    ResultStore,
    Unsent,
)
from heeler.errors import ConfigurationError
from heeler.model import (
    Envelope,
    JobFilter,
    LatchRecord,
    Notice,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    SettleAnswer,
    Settlement,
    TaskStatus,
    cancelled_record,
)

__all__ = ["RpcBroker"]

_decode = msgspec.msgpack.Decoder(list[Notice]).decode


class RpcBroker(UnstoredBroker):
    """An `UnstoredBroker` whose producers hear how their jobs end."""

    def __init__(self, plain: PlainBroker) -> None:
        super().__init__(plain, ReplyingStore(plain))
        self.store = RpcResults(plain)

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        answer = await super().extend(renewals, lease)
        reports = [
            (
                renewal.delivery.envelope.reply_to,
                Notice(id=renewal.delivery.envelope.id, status=TaskStatus.RUNNING, report=renewal.report),
            )
            for renewal in renewals
            if renewal.report is not None
            and renewal.delivery.envelope.reply_to is not None
            and renewal.delivery.receipt.id not in answer.lost
        ]
        if reports:
            await self._sender.tell(reports)
        return answer


class ReplyingStore(NoStore):
    """No store, but one that knows whom to tell."""

    def __init__(self, plain: PlainBroker) -> None:
        super().__init__(plain.clock)
        self.max_result = plain.max_payload  # it travels as a message does

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        now = self._clock.time()
        return [
            Unsent("", notices=_told(envelope, cancelled_record(ResultRecord(envelope=envelope), reason, now)))
            for envelope in envelopes
        ]

    def _apply(self, settlement: Settlement, now: float) -> Applied:
        applied = super()._apply(settlement, now)
        record = settlement.record
        if applied.answer is not SettleAnswer.ACCEPTED or applied.unsent is None or record is None:
            return applied
        notices = _told(settlement.delivery.envelope, record)
        return Applied(applied.answer, msgspec.structs.replace(applied.unsent, notices=notices))


class RpcResults(ResultStore):
    """The inbox of this process, and a clear word to who wants more."""

    readable = False

    def __init__(self, plain: PlainBroker) -> None:
        self._plain = plain

    async def inbox(self) -> Inbox:
        return RpcInbox(await self._plain.reply_box())

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        raise _not_stored("cannot be read by its id, nor by another process; keep the handle that `enqueue` returns")

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        raise _not_stored("cannot be listed")

    async def revive(self, ids: Sequence[str]) -> int:
        raise _not_stored("cannot be started anew by its id; redrive its dead letter")

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        raise _not_stored("is part of no workflow")

    async def break_latches(self, ids: Sequence[str], *, by: str = "", cancelled: bool = False) -> list[bool]:
        raise _not_stored("is part of no workflow")

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        raise _not_stored("has no record whose time could be set")

    async def forget(self, ids: Sequence[str]) -> int:
        raise _not_stored("need not be forgotten")

    async def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        raise _not_stored("cannot be cancelled")


class RpcInbox(Inbox):
    """Notices of the jobs whose envelopes carry its address."""

    def __init__(self, box: ReplyBox) -> None:
        self._box = box
        self.address = box.address

    async def watch(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        raise _not_stored("can be waited for only in the process that enqueued it, with the handle of its `enqueue`")

    async def unwatch(self, ids: Sequence[str]) -> None:
        """Nobody is watched."""

    async def receive(self) -> list[Notice]:
        return [notice for body in await self._box.receive() for notice in _decode(body)]

    async def close(self) -> None:
        await self._box.close()


def _told(envelope: Envelope, record: ResultRecord) -> tuple[tuple[str, Notice], ...]:
    """The notice of a record for the inbox of its job's producer, who has the arguments already."""
    if envelope.reply_to is None or not envelope.keeps_result:
        return ()
    known = Envelope(id=envelope.id, task=envelope.task, queue=envelope.queue, body=b"", content_type="")
    record = msgspec.structs.replace(record, envelope=known)
    return ((envelope.reply_to, Notice(id=envelope.id, status=record.status, record=record, next_at=record.next_at)),)


def _not_stored(what: str) -> ConfigurationError:
    return ConfigurationError(
        f'a job {what}: results="rpc://" sends results to the process that enqueued the job and stores nothing; give '
        "`results` the URL of a store, such as redis:// or sqlite:///"
    )
