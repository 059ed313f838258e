"""Two brokers under one clock that are told the same and must answer the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from heeler.contracts import Broker, CancelAnswer, QueueShare, QueueSize, Subscription
from heeler.model import (
    CallId,
    DeadLetter,
    Delivery,
    LatchRecord,
    Publication,
    PublishResult,
    Renewal,
    RenewalAnswer,
    ResultRecord,
    Settlement,
    SettleResult,
)

__all__ = ["Held", "Twins"]

LEASE = 30.0


class Held:
    """One lease, as each of the brokers delivered it. It stays here when it is lost: a zombie may use it."""

    def __init__(self, deliveries: tuple[Delivery, ...]) -> None:
        self.deliveries = deliveries
        self.id = deliveries[0].envelope.id
        self.settled = False


class Twins:
    """Calls every broker and checks that the answers are the same; answers like the first one, the specification."""

    def __init__(self, brokers: Sequence[Broker], queues: Sequence[Sequence[str]]) -> None:
        self._brokers = tuple(brokers)
        self._queues = queues
        self._subscriptions: list[tuple[Subscription, ...]] = []
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    async def _open(self) -> None:
        for broker in self._brokers:
            await broker.open()
        for names in self._queues:
            shares = [QueueShare(name) for name in names]
            self._subscriptions.append(
                tuple([await broker.subscribe(shares, LEASE, "worker") for broker in self._brokers])
            )

    def close(self) -> None:
        async def close() -> None:
            for broker in self._brokers:
                await broker.close()

        self._runner.run(close())
        self._runner.close()

    def publish(self, publication: Publication) -> list[PublishResult]:
        return self._same(lambda broker: broker.publish(publication), _without_reasons)

    def fetch(self, worker: int, limit: int, max_bytes: int, skip: frozenset[str]) -> list[Held]:
        async def fetch() -> list[list[Delivery]]:
            return [await subscription.fetch(limit, max_bytes, skip) for subscription in self._subscriptions[worker]]

        fetched = self._runner.run(fetch())
        _check_same([[_without_tag(delivery) for delivery in deliveries] for deliveries in fetched])
        return [Held(deliveries) for deliveries in zip(*fetched, strict=True)]

    def extend(self, held: Sequence[Held], **fields: Any) -> RenewalAnswer:
        return self._same(
            lambda broker: broker.extend(
                [Renewal(delivery=lease.deliveries[self._brokers.index(broker)], **fields) for lease in held], LEASE
            )
        )

    def settle(self, settlements: Sequence[tuple[Held, dict[str, Any]]], call: CallId | None) -> list[SettleResult]:
        return self._same(
            lambda broker: broker.settle(
                [
                    Settlement(delivery=lease.deliveries[self._brokers.index(broker)], **fields)
                    for lease, fields in settlements
                ],
                call,
            ),
            _without_reasons,
        )

    def get(self, ids: Sequence[str]) -> list[ResultRecord | None]:
        return self._same(lambda broker: broker.store.get(ids), _without_wording)

    def cancel(self, ids: Sequence[str]) -> list[CancelAnswer]:
        return self._same(lambda broker: broker.store.cancel(ids))

    def latches(self, ids: Sequence[str]) -> list[LatchRecord | None]:
        return self._same(lambda broker: broker.store.latches(ids))

    def change_store(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """Any other verb of the result store."""
        return self._same(lambda broker: getattr(broker.store, verb)(*arguments, **options))

    def sizes(self, queues: Sequence[str]) -> list[QueueSize]:
        return self._same(lambda broker: broker.admin.sizes(queues), _without_age)

    def listed(self, state: str, queue: str) -> list[ResultRecord]:
        return self._same(lambda broker: broker.admin.list_jobs(state, queue, 1000), _without_wording)

    def dead_letters(self) -> list[DeadLetter]:
        return self._same(lambda broker: broker.admin.dead_letters(limit=1000))

    def administer(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """Any other verb of the queue administration."""
        return self._same(lambda broker: getattr(broker.admin, verb)(*arguments, **options))

    def _same(self, call: Callable[[Any], Any], reduce: Callable[[Any], Any] = lambda answer: answer) -> Any:
        async def ask() -> list[Any]:
            return [await call(broker) for broker in self._brokers]

        answers = self._runner.run(ask())
        _check_same([reduce(answer) for answer in answers])
        return answers[0]


def _check_same(answers: list[Any]) -> None:
    for answer in answers[1:]:
        if answer != answers[0]:
            first, other = (given if isinstance(given, list) else [given] for given in (answers[0], answer))
            pairs = [pair for pair in itertools.zip_longest(first, other) if pair[0] != pair[1]]
            raise AssertionError(
                f"{len(pairs)} of {len(first)} and {len(other)} answers differ; "
                f"the specification says first\n  {pairs[0][0]}\nthe other broker says\n  {pairs[0][1]}"
            )


def _without_tag(delivery: Delivery) -> Delivery:
    return msgspec.structs.replace(delivery, receipt=msgspec.structs.replace(delivery.receipt, tag=None))


def _without_reasons(results: list[Any]) -> list[Any]:
    return [msgspec.structs.replace(result, reason="") for result in results]


def _without_age(sizes: list[QueueSize]) -> list[QueueSize]:
    return [msgspec.structs.replace(size, oldest=None) for size in sizes]


def _without_wording(records: list[ResultRecord | None]) -> list[ResultRecord | None]:
    return [record and msgspec.structs.replace(record, errors=_classes(record)) for record in records]


def _classes(record: ResultRecord) -> Any:
    return tuple(error.exception_class_path for error in record.errors)
