"""A broker: `tray://name` hands messages on inside this process.

It is a `PlainBroker`: it carries messages and keeps dead letters, and knows nothing of jobs and results. Heeler makes
a whole broker of it together with a store: `Heeler("tray://shop", results="tray://shop")`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from heeler.clock import Clock
from heeler.contracts import (
    DeadLetterBox,
    Features,
    Outgoing,
    PlainBroker,
    PlainDelivery,
    PlainSubscription,
    QueueShare,
    QueueSize,
)
from heeler.io_thread import IoThread
from heeler.model import DeadLetter
from heeler.url import BrokerUrl
from heeler_tray.tray import Message, Tray, tray_named

__all__ = ["TrayBroker", "from_url"]


def from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> TrayBroker:
    """What the entry point names. `url.finish` makes a misspelt option an error."""
    limit = url.option_int("max_payload", 1 << 20, minimum=1)
    url.finish({"max_payload"})
    broker = TrayBroker(url.name or "default", io=io, clock=clock, namespace=namespace)
    broker.max_payload = limit
    return broker


class TrayBroker(PlainBroker):
    """All brokers of one namespace and name share one tray."""

    # Not kept: other processes do not see the messages, and they end with this one. Approximated: the last two.
    features = Features(shared=False, durable=False, exact_weights=False, skips_tasks=False)

    def __init__(self, name: str, *, io: IoThread, clock: Clock, namespace: str) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        self.tray = tray_named(namespace, name)
        self._letters = TrayDeadLetters(self.tray, clock)
        self._in_hand: dict[int, Message] = {}

    @property
    def dead_letters(self) -> DeadLetterBox:
        return self._letters

    async def open(self) -> None:
        pass  # nothing to connect to; a real one raises BrokerUnavailable here, and says what to do

    async def close(self) -> None:
        await self.give_back(list(self._in_hand), untouched=False)

    async def publish(self, messages: Sequence[Outgoing]) -> list[str]:
        now = self.clock.time()
        with self.tray.lock:
            for message in messages:
                self.tray.send(message.envelope, now + message.delay, now)
        return [""] * len(messages)  # nothing is refused

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str) -> PlainSubscription:
        return TraySubscription(self, queues)

    async def acknowledge(self, tags: Sequence[Any]) -> None:
        for tag in tags:
            self._in_hand.pop(tag, None)

    async def give_back(self, tags: Sequence[Any], *, untouched: bool) -> None:
        with self.tray.lock:
            for tag in tags:
                message = self._in_hand.pop(tag, None)
                if message is not None:
                    message.redelivered = message.redelivered or not untouched
                    self.tray.put(message, self.clock.time())

    async def take(self, queue: str, limit: int) -> list[PlainDelivery]:
        taken: list[PlainDelivery] = []
        with self.tray.lock:
            while len(taken) < limit and (message := self.tray.take(queue)) is not None:
                taken.append(self.hand_over(message))
        return taken

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        with self.tray.lock:
            dead = [letter.queue for letter in self.tray.letters.values()]
            delayed = [message.envelope.queue for _, _, message in self.tray.delayed]
            running = [message.envelope.queue for message in self._in_hand.values()]
            names = sorted({*self.tray.lines, *dead}) if queues is None else queues
            return [
                QueueSize(
                    queue=name,
                    waiting=len(self.tray.lines.get(name, ())),
                    scheduled=delayed.count(name),
                    running=running.count(name),
                    dead=dead.count(name),
                )
                for name in names
            ]

    def hand_over(self, message: Message) -> PlainDelivery:
        """Into this process's hands, until it is acknowledged or given back; its number is its tag."""
        self._in_hand[message.number] = message
        return PlainDelivery(message.envelope, message.number, message.redelivered)


class TraySubscription(PlainSubscription):
    """What one worker takes from its queues."""

    def __init__(self, broker: TrayBroker, shares: Sequence[QueueShare]) -> None:
        self.queues = [share.queue for share in shares]
        self._shares = shares
        self._broker = broker
        self._tray = broker.tray
        self._clock = broker.clock
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._woken = False
        self._quiet = False

    async def ready(self) -> None:
        with self._tray.lock:
            self._tray.put_what_is_due(self._clock.time())
            if any(self._tray.lines.get(queue) for queue in self.queues):
                return
            self._woken = False
            self._tray.sleepers[self] = None
        try:
            while not self._woken:
                self._rung.clear()
                with self._tray.lock:
                    due_at = self._tray.next_due_at()
                await self._rung_or(due_at)
                with self._tray.lock:
                    self._tray.put_what_is_due(self._clock.time())
        except asyncio.CancelledError:
            if self._woken:
                self._wake_others()
            raise
        finally:
            with self._tray.lock:
                self._tray.sleepers.pop(self, None)

    async def fetch(
        self, limit: int, max_bytes: int, skip_tasks: frozenset[str], skip_queues: frozenset[str]
    ) -> list[PlainDelivery]:
        taken: list[PlainDelivery] = []
        with self._tray.lock:
            self._tray.put_what_is_due(self._clock.time())
            self.queues = [share.queue for share in self._shares if share.queue not in skip_queues]
            while not self._quiet and len(taken) < limit and max_bytes >= 0:
                message = next(filter(None, map(self._tray.take, self._in_turn())), None)
                if message is None:
                    break
                taken.append(self._broker.hand_over(message))
                max_bytes -= len(message.envelope.body)
            self._wake_others()
        return taken

    async def quiet(self) -> None:
        self._quiet = True
        self._wake_others()

    def wake(self) -> None:
        self._woken = True
        self.look_at_the_clock()

    def look_at_the_clock(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._rung.set)  # who publishes may be on another thread
        except RuntimeError:
            pass  # the loop is closed

    def _in_turn(self) -> list[str]:
        """The queues in their order; or, where they have weights, the heavier one earlier, by chance and more often."""
        weights = {share.queue: share.weight for share in self._shares if share.weight is not None}
        if not weights:
            return self.queues
        return sorted(self.queues, key=lambda name: -(self._clock.random() ** (1 / weights.get(name, 1))))

    def _wake_others(self) -> None:
        with self._tray.lock:
            for queue in self.queues:
                if self._tray.lines.get(queue):
                    self._tray.wake_one(queue)

    async def _rung_or(self, due_at: float | None) -> None:
        """Wait for the ring, or for that time."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._rung.wait())]
        if due_at is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(due_at - self._clock.time())))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class TrayDeadLetters(DeadLetterBox):
    """Each for a month; the last thousand."""

    def __init__(self, tray: Tray, clock: Clock) -> None:
        self._tray = tray
        self._clock = clock

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        with self._tray.lock:
            for letter in letters:
                self._tray.letters.pop(letter.id, None)
                self._tray.letters[letter.id] = letter
            self._drop_the_oldest()

    async def find(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> list[DeadLetter]:
        with self._tray.lock:
            self._drop_the_oldest()
            return [
                letter
                for letter in self._tray.letters.values()
                if (ids is None or letter.id in ids)
                and (queue is None or letter.queue == queue)
                and (task is None or letter.task == task)
            ]

    async def remove(self, ids: Sequence[str]) -> int:
        with self._tray.lock:
            return sum(self._tray.letters.pop(id, None) is not None for id in ids)

    def _drop_the_oldest(self) -> None:
        month_ago = self._clock.time() - 30 * 86400
        for id, letter in list(self._tray.letters.items()):
            if len(self._tray.letters) > 1000 or letter.died_at <= month_ago:
                del self._tray.letters[id]
