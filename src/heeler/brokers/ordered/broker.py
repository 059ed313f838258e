"""A broker out of a message server and a store that share no transaction: by ordered steps that may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import msgspec

from heeler.brokers.ordered.admin import OrderedQueueAdmin
from heeler.brokers.ordered.in_hand import InHand
from heeler.brokers.ordered.limits import refusal, why_invalid
from heeler.brokers.ordered.sender import Sender
from heeler.brokers.ordered.store import ComposedResultStore
from heeler.brokers.ordered.subscription import OrderedSubscription
from heeler.brokers.ordered.upkeep import Upkeep
from heeler.contracts import (
    Applied,
    Broker,
    Features,
    Needs,
    OrderedStore,
    PlainBroker,
    QueueShare,
    ResultStore,
    Subscription,
    Unsent,
)
from heeler.errors import BrokerUnavailable
from heeler.io_thread import closed_meanwhile
from heeler.model import (
    CallId,
    Publication,
    PublishAnswer,
    PublishResult,
    Renewal,
    RenewalAnswer,
    SettleAnswer,
    Settlement,
    SettleResult,
)

__all__ = ["OrderedBroker"]


class OrderedBroker(Broker):
    """Messages through `plain`, everything that must be remembered of jobs in `results`.

    To settle is: take down the end and what follows in the store; send what follows; acknowledge the message; clear
    what was taken down. To publish: take down, send, clear. A message whose run was taken down as ended and comes
    again makes up for what was not done any more; `Upkeep` finds what no message brings back.
    """

    admin: OrderedQueueAdmin

    def __init__(self, plain: PlainBroker, results: OrderedStore) -> None:
        super().__init__(io=plain.io, clock=plain.clock, namespace=plain.namespace)
        self.plain = plain
        self.results = results
        self.features = _features(plain.features, results)
        self.max_payload = plain.max_payload
        self.schedules = results.schedules
        self.control = plain.control if plain.control is not None else results.control
        self._hand = InHand(plain.clock)
        self._sender = Sender(plain, results, plain.clock)
        self._upkeep = Upkeep(plain, results, self._hand, self._sender, plain.clock)
        self._subscriptions: list[OrderedSubscription] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.store: ResultStore | None = ComposedResultStore(results, self._sender, self.control)
        self.admin = OrderedQueueAdmin(plain, results, self._sender, plain.clock, self._queue_resumed)

    async def open(self) -> None:
        self._loop = None if self.io.here() else asyncio.get_running_loop()
        await self.results.open()
        try:
            await self.plain.open()
        except BaseException:
            await self.results.close()
            raise

    async def close(self) -> None:
        await self._upkeep.close()
        await self._sender.close()
        self._subscriptions.clear()
        self._hand.clear()
        await self.plain.close()
        await self.results.close()

    async def publish(self, publication: Publication) -> list[PublishResult]:
        refusals = [refusal(envelope, self.max_payload) for envelope in publication.envelopes]
        if any(refusals):
            fitting = tuple(
                envelope for envelope, no in zip(publication.envelopes, refusals, strict=True) if no is None
            )
            publication = msgspec.structs.replace(publication, envelopes=fitting)
        reserved = await self.results.reserve(publication)
        answers = reserved.results
        if reserved.unsent is not None:
            answers = await self._send_reserved(publication, answers, reserved.unsent)
        if any(refusals):
            following = iter(answers)
            answers = [*(no if no is not None else next(following) for no in refusals), *following]
        return answers

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        if self._loop is None:
            return super().publish_blocking(publication)
        return self._begin_publishing(publication).result()

    def publish_each_blocking(self, publications: Iterable[Publication]) -> Iterator[list[PublishResult]]:
        """One is under way while the next is read, and while that is taken down: the one before waits for confirms.

        They reach the store and the server in their order, because each step of all takes its turn there.
        """
        if self.io.here():
            yield from super().publish_each_blocking(publications)  # says that this cannot be
            return
        under_way: Future[list[PublishResult]] | None = None
        try:
            for publication in publications:
                before, under_way = under_way, self._begin_publishing(publication)
                if before is not None:
                    yield _answers_of(before)
            if under_way is not None:
                last, under_way = under_way, None
                yield _answers_of(last)
        finally:
            if under_way is not None:  # the reader has stopped, or one before has failed
                wait([under_way])

    def _begin_publishing(self, publication: Publication) -> Future[list[PublishResult]]:
        if self._loop is None:
            return self.io.submit(self.publish(publication))
        # Opened on another loop than the I/O thread's, as the conformance suites do: its connections are bound to it.
        return asyncio.run_coroutine_threadsafe(self.publish(publication), self._loop)

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        subscription = OrderedSubscription(
            self.plain,
            await self.plain.subscribe(queues, lease, worker_id),
            self.results,
            self._hand,
            self._sender,
            self._upkeep,
            self.clock,
            lease,
        )
        self._subscriptions.append(subscription)
        self.look_after(lease)
        return subscription

    def look_after(self, lease: float) -> None:
        self._upkeep.start(lease)

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        # Before the store is asked: while it cannot answer, the messages stay ours.
        self._hand.keep((renewal.delivery for renewal in renewals), lease)
        answer = await self.results.renew(renewals, lease)
        tags: list[Any] = []
        for renewal in renewals:
            receipt = renewal.delivery.receipt
            if receipt.id in answer.lost:
                tags += self._hand.drop(receipt)
            elif self._hand.of_job(receipt.id) is None:
                # It came too late and was handed back; if the message comes here again, the run goes on.
                self._hand.take(renewal.delivery, [], lease)
        if tags:
            await self.plain.give_back(tags, untouched=False)
        return answer

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        reasons = [why_invalid(settlement, self.max_payload, self.results.max_result) for settlement in settlements]
        valid = [settlement for settlement, reason in zip(settlements, reasons, strict=True) if not reason]
        receipts = [settlement.delivery.receipt for settlement in valid]
        held = [self._hand.withdraw(receipt) for receipt in receipts]
        try:
            applied = await self.results.apply(valid, call)
            await self._sender.send([one.unsent for one in applied if one.unsent is not None])
            done = [bool(tags) for tags in held]
            await self._let_go(held, applied)
        except BaseException:
            for receipt, tags in zip(receipts, held, strict=True):
                self._hand.restore(receipt, tags)
            raise
        # Messages of these runs may have come while they were settled.
        await self._let_go([self._hand.drop(receipt) for receipt in receipts], applied)
        ends = [(one.unsent.key, over) for one, over in zip(applied, done, strict=True) if one.unsent is not None]
        self._sender.clear_soon([key for key, over in ends if over])
        self._sender.clear_soon([key for key, over in ends if not over], acknowledged=False)
        answers = iter(applied)
        return [
            SettleResult(SettleAnswer.INVALID, reason) if reason else SettleResult(next(answers).answer)
            for reason in reasons
        ]

    async def _let_go(self, held: list[list[Any]], applied: Sequence[Applied]) -> None:
        """Acknowledge the messages of what has ended and hand back those of what was lost; `held` keeps the others.

        How it came about that a run was lost is found out when its message comes again.
        """
        over = [tag for tags, one in zip(held, applied, strict=True) if one.unsent is not None for tag in tags]
        lost = [tag for tags, one in zip(held, applied, strict=True) if one.unsent is None for tag in tags]
        if over:
            await self.plain.acknowledge(over)
            held[:] = [[] if one.unsent is not None else tags for tags, one in zip(held, applied, strict=True)]
        if lost:
            await self.plain.give_back(lost, untouched=False)

    def caveats(self, needs: Needs) -> list[tuple[str, str, str]]:
        return self.plain.caveats(needs)

    async def doctor(self) -> list[tuple[str, str, str]]:
        return await self.plain.doctor()

    async def _send_reserved(
        self, publication: Publication, answers: list[PublishResult], unsent: Unsent
    ) -> list[PublishResult]:
        try:
            refused = await self._sender.publish(unsent.messages)
        except BrokerUnavailable as error:
            if error.outcome_unknown:
                raise
            # What the store holds is sent by whoever finds it, so it may yet happen.
            raise BrokerUnavailable(str(error), outcome_unknown=True) from error
        if refused:
            own = {envelope.id for envelope in publication.envelopes}
            reasons = {message.envelope.id: reason for message, reason in refused if message.envelope.id in own}
            await self.results.refuse(list(reasons))
            await self._sender.bury([one for one in refused if one[0].envelope.id not in own])
            answers = [
                PublishResult(PublishAnswer.REFUSED, answer.id, reasons[answer.id], unroutable=True)
                if answer.id in reasons
                else answer
                for answer in answers[: len(publication.envelopes)]
            ] + answers[len(publication.envelopes) :]
        self._sender.clear_soon([unsent.key])
        return answers

    def _queue_resumed(self) -> None:
        for subscription in self._subscriptions:
            subscription.look_again()


def _answers_of(future: Future[list[PublishResult]]) -> list[PublishResult]:
    try:
        return future.result()
    except CancelledError:
        raise closed_meanwhile() from None
    except BaseException:
        future.cancel()
        raise


def _features(plain: Features, store: OrderedStore) -> Features:
    return msgspec.structs.replace(
        plain,
        shared=plain.shared and store.shared,
        durable=plain.durable and store.durable,
        one_step_settle=False,
        fencing=True,
        id_deduplication=True,
        joins=True,
        guards=True,
        lists_waiting=False,
        keeps_place_on_release=False,
    )
