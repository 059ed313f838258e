"""A process that dies between any two of the ordered steps, and what is left of its jobs then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from heeler.brokers.ordered import OrderedBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.redis.ordered_store import AREA, RedisOrderedStore
from heeler.clock import new_id
from heeler.contracts import Applied, OrderedStore, QueueShare, Subscription
from heeler.errors import BrokerUnavailable
from heeler.io_thread import IoThread
from heeler.model import Action, CallId, Delivery, SettleAnswer, Settlement
from heeler.testing import ManualClock
from heeler.testing.conformance.worker import settlement, success
from heeler.testing.plain_memory import MemoryPlainBroker
from heeler.url import BrokerUrl
from services import redis_url

__all__ = ["LEASE", "Fuse", "Process", "Site", "redis_store"]

LEASE = 30.0
_STEPS = {"reserve", "begin", "apply", "drop", "revive", "clear", "unsent", "cancel", "renew", "refuse"} | {
    *("publish", "acknowledge", "give_back", "put", "remove", "take", "fetch")
}


class Fuse:
    """Lets so many steps happen, then the process has died: the next step (or its answer) is lost, and all later."""

    def __init__(self) -> None:
        self.left: int | None = None  # None: nothing breaks
        self.after = False  # the step on which it dies takes effect, but its answer is lost
        self.blown = False
        self.steps: list[str] = []  # that happened
        self.failed = asyncio.Event()  # set when a step has failed
        self._broken: frozenset[str] = frozenset()

    def break_steps(self, *names: str) -> None:
        """From now on these steps fail, and no others."""
        self._broken = frozenset(names)

    def set(self, steps: int | None, *, after: bool = False) -> None:
        self.left = steps
        self.after = after

    def around(self, name: str, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return await counted(*args, **kwargs)
            except BrokerUnavailable:
                self.failed.set()
                raise

        async def counted(*args: Any, **kwargs: Any) -> Any:
            if self.blown:
                raise BrokerUnavailable("this process has died")
            if name in self._broken:
                raise BrokerUnavailable("there is no answer")
            self.steps.append(name)
            if self.left == 0:
                self.blown = True
                if self.after:
                    await step(*args, **kwargs)
                raise BrokerUnavailable("this process dies now")
            if self.left is not None:
                self.left -= 1
            return await step(*args, **kwargs)

        return guarded


class Fused:
    """Another object whose steps go through the fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "dead_letters":
            return Fused(value, self._fuse)
        if name == "subscribe":
            return self._subscribe
        return self._fuse.around(name, value) if name in _STEPS else value

    async def _subscribe(self, *args: Any) -> Any:
        return Fused(await self._inner.subscribe(*args), self._fuse)


class Ledger:
    """Which ends the store has accepted, whoever heard of it."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    def listening(self, store: OrderedStore) -> OrderedStore:
        apply = store.apply

        async def noted(settlements: Sequence[Settlement], call: CallId | None = None) -> list[Applied]:
            before = await apply(settlements, call)
            if call is None or call not in self._calls:
                self._calls.add(call)
                for settlement, one in zip(settlements, before, strict=True):
                    if one.answer is SettleAnswer.ACCEPTED and settlement.action in (Action.ACK, Action.DEAD_LETTER):
                        self.ends[settlement.delivery.envelope.id] += 1
            return before

        self._calls: set[CallId | None] = set()
        store.apply = noted  # type: ignore[method-assign]
        return store


class Process:
    """One process: a broker of its own over the shared messages and the shared store, and one worker."""

    def __init__(self, site: Site, fuse: Fuse) -> None:
        self.fuse = fuse
        self.plain = MemoryPlainBroker(io=site.io, clock=site.clock, namespace=site.namespace, name="shared")
        store = site.ledger.listening(site.make_store())
        self.broker = OrderedBroker(Fused(self.plain, fuse), Fused(store, fuse))  # type: ignore[arg-type]
        self.subscription: Subscription | None = None

    async def start(self) -> Process:
        await self.broker.open()
        self.subscription = await self.broker.subscribe([QueueShare("default")], LEASE, new_id())
        return self

    async def fetch(self, limit: int = 100) -> list[Delivery]:
        assert self.subscription is not None
        return await self.subscription.fetch(limit)

    async def settle_down(self) -> None:
        """Return when what is cleared by the way is cleared, or has failed."""
        clearing = self.broker._sender._clearing
        if clearing is not None:
            failed = asyncio.ensure_future(self.fuse.failed.wait())
            await asyncio.wait({clearing, failed}, return_when=asyncio.FIRST_COMPLETED)
            failed.cancel()

    async def die(self) -> None:
        """End without a word: what was in hand comes back, nothing is finished."""
        self.fuse.set(0)
        self.fuse.blown = True
        await self.broker.close()


class Site:
    """Processes that come and go over one message server and one store.

    `how` says by which settlement a worker ends a job, whichever worker it is; others just succeed.
    """

    def __init__(self, make_store: Callable[[Site], OrderedStore]) -> None:
        self.clock = ManualClock()
        self.io = IoThread("heeler-ordered-test")
        self.namespace = f"test-{new_id()}"
        self.ledger = Ledger()
        self.how: dict[str, Callable[[Delivery], Settlement]] = {}
        self._make_store = make_store
        self._processes: list[Process] = []

    def make_store(self) -> OrderedStore:
        return self._make_store(self)

    async def process(self) -> Process:
        process = await Process(self, Fuse()).start()
        self._processes.append(process)
        return process

    def settlement(self, delivery: Delivery) -> Settlement:
        how = self.how.get(delivery.envelope.id)
        return how(delivery) if how is not None else settlement(delivery, record=success(delivery.envelope))

    async def work_off(self, rounds: int = 6) -> list[Delivery]:
        """A new process runs all that comes, for some leases; what it ran."""
        process = await self.process()
        ran: list[Delivery] = []
        for _ in range(rounds):
            self.clock.advance(LEASE + 1)
            await process.broker._upkeep.send_unsent()
            while deliveries := await process.fetch():
                ran += deliveries
                await process.broker.settle([self.settlement(delivery) for delivery in deliveries])
        return ran

    async def close(self) -> None:
        for process in self._processes:
            await process.die()
        self.io.close()


def redis_store(site: Site) -> OrderedStore:
    """A store on Redis under the site's clock."""
    options = options_of(BrokerUrl.parse(redis_url()))
    broker = RedisBroker(
        options, io=site.io, clock=site.clock, namespace=site.namespace, area=AREA, time_from=site.clock
    )
    return RedisOrderedStore(broker)
