"""Redis or Valkey as the store of a broker that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from heeler.brokers.redis import from_url
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.inbox import RedisInbox
from heeler.brokers.redis.listing import list_records
from heeler.brokers.redis.ordered_applying import Applying
from heeler.brokers.redis.ordered_jobs import as_given, carried_record, messages_of, sent_as, unsent_of
from heeler.brokers.redis.publishing import Places, call_arguments, publication_arguments, publish_results
from heeler.brokers.redis.reading import RecordReader, latch_records
from heeler.brokers.redis.renewing import report_arguments
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import content_of
from heeler.clock import Clock, new_id
from heeler.contracts import (
    Applied,
    BeginAnswer,
    Begun,
    CancelAnswer,
    Cancelled,
    Candidate,
    Inbox,
    OrderedStore,
    Outgoing,
    Reserved,
    Unsent,
)
from heeler.io_thread import IoThread
from heeler.model import (
    CallId,
    DeadLetter,
    Envelope,
    JobFilter,
    LatchRecord,
    Publication,
    PublishAnswer,
    PublishResult,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    Settlement,
    revived,
)
from heeler.url import BrokerUrl

__all__ = ["AREA", "RedisOrderedStore", "store_from_url"]

AREA = "o:"
"""What sets the keys of jobs of other brokers apart from those of the broker's own."""

_AT_ONCE = 500  # jobs in one script
_NO_LIMIT = 1 << 62  # what is too large was refused before
_LARGE = 1 << 20  # bytes of a batch of bodies from which on scripts read only what stands before them
_CANCELLED = {
    b"C": CancelAnswer.CANCELLED,
    b"R": CancelAnswer.REQUESTED,
    b"E": CancelAnswer.ENDED,
    b"": CancelAnswer.NOT_FOUND,
}
T = TypeVar("T")

_READER = RecordReader("ordered_records", carried_record)


def store_from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> RedisOrderedStore:
    """The store that a URL like `redis://localhost:6379/0` describes; the options are those of the broker."""
    return RedisOrderedStore(from_url(url, io=io, clock=clock, namespace=namespace, area=AREA))


class RedisOrderedStore(OrderedStore):
    """Jobs of another broker in keys of their own, on the connections of a Redis broker that runs none itself."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self._places = Places()
        self._paused = f"{broker.prefix}paused"
        self.control = broker.control
        self.schedules = broker.schedules
        self.max_result = 16 * broker.max_payload

    async def open(self) -> None:
        await self._broker.open()

    async def close(self) -> None:
        await self._broker.close()

    # Publishing

    async def reserve(self, publication: Publication) -> Reserved:
        call = publication.call if publication.call is not None else self._broker.next_call()
        said = await self._broker.run_surely(
            script("ordered_reserve"),
            *call_arguments(call),
            f"p/{new_id()}",
            *publication_arguments(publication, self._places, _NO_LIMIT),
        )
        if said[0] == b"R":
            return Reserved(publish_results(publication, said, _NO_LIMIT))
        results = publish_results(publication, said[1], _NO_LIMIT)
        if not said[2]:
            return Reserved(results)
        if said[0] == b"K":
            return Reserved(results, unsent_of(said[3]))
        messages = _accepted(publication.envelopes, results, said[3])
        messages += messages_of(said[4])
        return Reserved(results, Unsent(said[2].decode(), tuple(messages)))

    async def refuse(self, ids: Sequence[str]) -> None:
        for part in _parts(ids):
            await self._run("ordered_refuse", len(part), *part)

    async def revive(self, letters: Sequence[DeadLetter]) -> list[Unsent | None]:
        revived_: list[Unsent | None] = []
        for part in _parts(letters):
            arguments: list[Argument] = [len(part)]
            for letter in part:
                envelope = letter.envelope
                assert envelope is not None, "only letters with an envelope can be redriven"
                expires = "" if envelope.expires_in is None else envelope.expires_in
                arguments += [envelope.id, envelope.epoch, expires, envelope.reply_to or ""]
                arguments.append(content_of(revived(envelope, envelope.epoch)))
            epochs = await self._run("ordered_revive", *arguments)
            revived_ += [_revived(letter, epoch) for letter, epoch in zip(part, epochs, strict=True)]
        return revived_

    # Running

    async def begin(self, candidates: Sequence[Candidate], lease: float) -> list[Begun]:
        begun: list[Begun] = []
        for part in _parts(candidates):
            answers, again = await self._begin(part, lease, known=False)
            if again:
                anew, _ = await self._begin([part[at] for at in again], lease, known=True)
                for at, answer in zip(again, anew, strict=True):
                    answers[at] = answer
            begun += answers
        return begun

    async def _begin(
        self, candidates: Sequence[Candidate], lease: float, *, known: bool
    ) -> tuple[list[Begun], list[int]]:
        """The answers, and which are to be asked again with all that is known of the jobs."""
        queues: dict[str, int] = {}
        asked: list[Argument] = []
        size = 0
        for candidate in candidates:
            envelope = candidate.envelope
            size += len(envelope.body)
            queue = queues.setdefault(envelope.queue, len(queues) + 1)
            asked += [envelope.id, f"{envelope.epoch} {queue} {'R' if candidate.redelivered else 'F'}"]
            asked += as_given(envelope) if known else ("", "")
        said = await self._run(
            "ordered_begin", lease, "1" if size > _LARGE else "", len(queues), *queues, len(candidates), *asked
        )
        at = float(said[0])
        plain = Begun(answer=BeginAnswer.RUN, at=at)
        answers = [
            plain
            if (envelope := candidate.envelope).epoch == 1 and not envelope.crashes and not envelope.suspect
            else _first_run(envelope, at, None)
            for candidate in candidates
        ]
        again: list[int] = []
        for number, letter, *more in said[1]:
            if letter == b"A":
                again.append(number - 1)
            else:
                answers[number - 1] = _begun(candidates[number - 1].envelope, at, letter, more)
        return answers, again

    async def renew(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        lost: set[str] = set()
        cancelled: set[str] = set()
        for part in _parts(renewals):
            again = await self._renew(part, lease, lost, cancelled, known=False)
            if again:
                unknown = [renewal for renewal in part if renewal.delivery.receipt.id in again]
                await self._renew(unknown, lease, lost, cancelled, known=True)
        return RenewalAnswer(frozenset(lost), frozenset(cancelled))

    async def _renew(
        self, renewals: Sequence[Renewal], lease: float, lost: set[str], cancelled: set[str], *, known: bool
    ) -> set[str]:
        """The ids that are to be asked about again with all that is known of the jobs."""
        arguments: list[Argument] = [lease, len(renewals)]
        for renewal in renewals:
            delivery = renewal.delivery
            arguments += [delivery.receipt.id, delivery.receipt.epoch, delivery.crashes, "M" if renewal.started else ""]
            arguments += as_given(delivery.envelope) if known else ("", "")
            arguments += report_arguments(renewal)
        said = await self._run("ordered_renew", *arguments)
        again: set[str] = set()
        kinds = {b"L": lost, b"C": cancelled, b"A": again}
        for n in range(0, len(said), 2):
            kinds[said[n]].add(said[n + 1].decode())
        return again

    async def apply(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
        applied: list[Applied] = []
        for number, part in enumerate(_parts(settlements)):
            answers, again = await self._apply(part, _part_of(call, str(number)), known=False)
            if again:
                unknown = [part[at] for at in again]
                anew, _ = await self._apply(unknown, _part_of(call, f"{number}a"), known=True)
                for at, answer in zip(again, anew, strict=True):
                    answers[at] = answer
            applied += answers
        return applied

    async def _apply(
        self, settlements: Sequence[Settlement], call: CallId | None, *, known: bool
    ) -> tuple[list[Applied], list[int]]:
        applying = Applying(settlements, self._places, known=known)
        return applying.answers(await self._run("ordered_apply", *call_arguments(call), *applying.arguments))

    async def drop(self, envelopes: Sequence[Envelope], reason: str) -> list[Unsent | None]:
        dropped: list[Unsent | None] = []
        for part in _parts(envelopes):
            arguments: list[Argument] = [reason, len(part)]
            for envelope in part:
                arguments += [envelope.id, envelope.epoch, *as_given(envelope)]
            said = await self._run("ordered_drop", *arguments)
            dropped += [unsent_of(told) if told else None for told in said]
        return dropped

    # Sending

    async def clear(self, keys: Sequence[str], *, acknowledged: bool) -> None:
        for part in _parts(keys):
            await self._run("ordered_clear", "1" if acknowledged else "", len(part), *part)

    async def unsent(self, older_than: float, limit: int = 500) -> list[Unsent]:
        return [unsent_of(told) for told in await self._run("ordered_unsent", older_than, limit)]

    # Looking and cancelling

    async def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        return await _READER.read(self._broker.link(), ids)

    async def list_records(self, wanted: JobFilter, limit: int = 100, after: str | None = None) -> list[ResultRecord]:
        return await list_records(self._broker.link(), wanted, limit, after, _READER)

    async def inbox(self) -> Inbox:
        inbox = RedisInbox(self._broker.link(), self._broker.listener(), _READER)
        await inbox.open()
        return inbox

    async def forget(self, ids: Sequence[str]) -> int:
        count = 0
        for part in _parts(ids):
            count += await self._run("ordered_forget", len(part), *part)
        return count

    async def latches(self, ids: Sequence[str], *, with_data: bool = True) -> list[LatchRecord | None]:
        return await latch_records(self._broker.link(), ids, with_data)

    async def break_latches(
        self, ids: Sequence[str], *, by: str = "", cancelled: bool = False
    ) -> tuple[list[bool], Unsent | None]:
        broken, unsent = await self._run("ordered_break", f"p/{new_id()}", by, "1" if cancelled else "", len(ids), *ids)
        return [bool(answer) for answer in broken], unsent_of(unsent) if unsent else None

    async def expire(self, jobs: Sequence[str], latches: Sequence[str], seconds: float) -> None:
        for start in range(0, max(len(jobs), len(latches)), _AT_ONCE):
            some, others = jobs[start : start + _AT_ONCE], latches[start : start + _AT_ONCE]
            await self._run("ordered_expire", seconds, len(some), *some, len(others), *others)

    async def cancel(self, ids: Sequence[str]) -> list[Cancelled]:
        cancelled: list[Cancelled] = []
        for part in _parts(ids):
            for told in await self._run("ordered_cancel", len(part), *part):
                if isinstance(told, bytes):
                    cancelled.append(Cancelled(_CANCELLED[told]))
                else:
                    cancelled.append(Cancelled(CancelAnswer.CANCELLED, unsent_of(told)))
        return cancelled

    # Queues

    async def pause(self, queue: str) -> None:
        await self._broker.link().command("SADD", self._paused, queue)

    async def resume(self, queue: str) -> None:
        await self._broker.link().command("SREM", self._paused, queue)

    async def paused(self) -> frozenset[str]:
        return frozenset(queue.decode() for queue in await self._broker.link().command("SMEMBERS", self._paused))

    async def _run(self, name: str, *arguments: Argument) -> Any:
        return await self._broker.link().run(script(name), *arguments)


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]


def _part_of(call: CallId | None, part: str) -> CallId | None:
    """A batch that is cut is as many calls, each to be answered again as it was."""
    return None if call is None else CallId(f"{call.session}.{part}", call.number)


def _accepted(envelopes: Sequence[Envelope], results: Sequence[PublishResult], told: Sequence[Any]) -> list[Outgoing]:
    """The messages of those that were taken down; the answer to a guard, the last, is passed over.

    `told` has number, epoch and delay where these are not as given.
    """
    changed = {told[n]: (told[n + 1], float(told[n + 2])) for n in range(0, len(told), 3)}
    messages = []
    for number, (envelope, result) in enumerate(zip(envelopes, results, strict=False), 1):
        if result.answer is PublishAnswer.ACCEPTED:
            epoch, delay = changed.get(number, (envelope.epoch, 0.0))
            messages.append(Outgoing(sent_as(envelope, epoch), delay))
    return messages


def _revived(letter: DeadLetter, epoch: bytes) -> Unsent | None:
    if not epoch or letter.envelope is None:
        return None
    return Unsent(f"r{epoch.decode()}/{letter.id}", (Outgoing(revived(letter.envelope, int(epoch))),))


def _first_run(envelope: Envelope, at: float, expires_at: float | None) -> Begun:
    return Begun(
        answer=BeginAnswer.RUN,
        at=at,
        epoch=envelope.epoch,
        crashes=envelope.crashes,
        suspect=envelope.suspect,
        expires_at=expires_at,
    )


def _begun(envelope: Envelope, at: float, letter: bytes, more: Sequence[Any]) -> Begun:
    if letter == b"P":
        return Begun(answer=BeginAnswer.PAUSED)
    if letter == b"E":
        return Begun(answer=BeginAnswer.ENDED, unsent=unsent_of(more[0]))
    if letter == b"H":
        return Begun(answer=BeginAnswer.HELD, wait=float(more[0]))
    if letter == b"N":
        return _first_run(envelope, at, envelope.expires_at)
    if letter == b"X":
        return _first_run(envelope, at, float(more[0]) if more[0] else None)
    epoch, crashes, expires = more
    return Begun(
        answer=BeginAnswer.RUN,
        at=at,
        epoch=epoch,
        crashes=crashes,
        suspect=True,
        expires_at=float(expires) if expires else None,
    )
