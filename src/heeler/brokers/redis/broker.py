"""The Redis broker: the contract's verbs as thin shells around scripts, one call for each batch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from heeler.brokers.redis.admin import RedisQueueAdmin
from heeler.brokers.redis.caller import CallerLink
from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.control import RedisControlChannel
from heeler.brokers.redis.doctor import findings
from heeler.brokers.redis.link import Link, Target
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.publishing import (
    Places,
    call_arguments,
    is_plain,
    job_arguments,
    publication_arguments,
    publish_results,
)
from heeler.brokers.redis.renewing import renewal_answer, renewal_arguments
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.settling import Settling
from heeler.brokers.redis.store import RedisResultStore
from heeler.brokers.redis.subscription import RedisSubscription
from heeler.clock import Clock, new_id
from heeler.contracts import Broker, Features, QueueShare, Subscription
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.forks import call_in_child
from heeler.io_thread import IoThread
from heeler.model import CallId, Publication, PublishResult, Renewal, RenewalAnswer, Settlement, SettleResult

__all__ = ["RedisBroker"]


class RedisBroker(Broker):
    """Jobs and results in one Redis or Valkey server, for any number of processes and machines.

    A namespace is one hash slot. `time_from` is for tests: a clock to take the place of the server's own.
    """

    features = Features()
    store: RedisResultStore
    admin: RedisQueueAdmin
    control: RedisControlChannel

    def __init__(
        self,
        options: RedisOptions,
        *,
        io: IoThread,
        clock: Clock,
        namespace: str,
        time_from: Clock | None = None,
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        if not namespace or "{" in namespace or "}" in namespace:
            raise ConfigurationError(f"a namespace on Redis is a name without braces, got {namespace!r}")
        self.options = options
        self.max_payload = options.max_payload
        self._prefix = f"{{{namespace}}}:"
        self._now: Callable[[], bytes] = (
            (lambda: b"") if time_from is None else (lambda: repr(time_from.time()).encode())
        )
        self._places = Places()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._parked: list[Any] = []
        self._begin()
        self.store = RedisResultStore(self._opened, lambda: self._listener)
        self.admin = RedisQueueAdmin(self._opened, options, self._prefix)
        self.control = RedisControlChannel(self._opened, lambda: self._listener, self._prefix)
        call_in_child(self._start_anew)

    def _begin(self) -> None:
        self._session = new_id()
        self._numbers = itertools.count(1)
        self._target = Target(self.options, self._prefix)
        self._caller = CallerLink(self._target, self.io, self._now)
        self._link: Link | None = None
        self._publishing: Link | None = None
        self._listener: Listener

    def _start_anew(self) -> None:
        """In a forked child: what was inherited is kept where nobody uses or closes it."""
        self._parked += [self._target, self._caller, self._link, self._publishing, self._tasks]
        if self._link is not None:
            self._parked.append(self._listener)
        self._tasks = set()
        self._begin()

    def _new_link(self) -> Link:
        return Link(self._target, self.clock, self._now)

    async def open(self) -> None:
        if self._link is not None:
            return
        link = self._new_link()
        try:
            await link.connection()
        except BaseException:
            await link.close()
            raise
        self._link = link
        # WAIT blocks its connection until the replicas have answered, so publishing has one of its own then.
        self._publishing = self._new_link() if self.options.wait_replicas else link
        self._listener = Listener(self._new_link(), link, self._prefix)

    async def close(self) -> None:
        link, self._link = self._link, None
        publishing, self._publishing = self._publishing, None
        self._caller.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if link is not None:
            await self._listener.close()
            await link.close()
        if publishing is not None and publishing is not link:
            await publishing.close()

    def _opened(self) -> Link:
        if self._link is None:
            raise BrokerUnavailable(f"the broker on {self.options.shown} is not open in this process")
        return self._link

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Publishing

    async def publish(self, publication: Publication) -> list[PublishResult]:
        self._opened()
        arguments = self._publication(publication)
        link = self._publishing
        assert link is not None
        until = asyncio.get_running_loop().time() + self.options.publish_timeout
        then = self._wait() if self.options.wait_replicas else ()
        while True:
            try:
                async with asyncio.timeout_at(until):
                    refused, replicas = await link.run_until(until, then, script(_name(publication)), *arguments)
            except TimeoutError:
                raise self._not_answered() from None
            except BrokerUnavailable as error:
                # It went out and no answer came: the call's number makes a repetition harmless.
                if not error.outcome_unknown or asyncio.get_running_loop().time() >= until:
                    raise
            else:
                if then:
                    self._check_replicas(replicas)
                return publish_results(publication, refused, self.max_payload)

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        """`publish` in the calling thread, on a socket of its own."""
        arguments = self._publication(publication)
        then = self._wait() if self.options.wait_replicas else ()
        refused, replicas = self._caller.run(script(_name(publication)), *arguments, then=then)
        if then:
            self._check_replicas(replicas)
        return publish_results(publication, refused, self.max_payload)

    def _publication(self, publication: Publication) -> list[Argument]:
        call = publication.call
        if call is None:
            call = CallId(self._session, next(self._numbers))
        write = job_arguments if is_plain(publication) else publication_arguments
        return [*call_arguments(call), *write(publication, self._places, self.max_payload)]

    def _wait(self) -> tuple[Argument, ...]:
        return ("WAIT", self.options.wait_replicas, int(self.options.publish_timeout * 700))

    def _check_replicas(self, count: int) -> None:
        if count < self.options.wait_replicas:
            raise BrokerUnavailable(
                f"Redis at {self.options.shown}: {count} of {self.options.wait_replicas} replicas have the jobs in "
                f"time; they are published, but a failover may lose them",
                outcome_unknown=True,
            )

    def _not_answered(self) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"Redis at {self.options.shown} did not answer within publish_timeout={self.options.publish_timeout:g} s",
            outcome_unknown=True,
        )

    # Working

    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        link = self._opened()
        subscription = RedisSubscription(link, self._listener, self.options, self.clock, queues, lease, self._spawn)
        await subscription.open()
        return subscription

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        if not renewals:
            return RenewalAnswer()
        return renewal_answer(await self._opened().run(script("extend"), *renewal_arguments(renewals, lease)))

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        settling = Settling(settlements, self.options, self._places)
        said = await self._opened().run(script(settling.script), *call_arguments(call), *settling.arguments)
        return settling.results(said)

    async def doctor(self) -> list[tuple[str, str, str]]:
        return await findings(self._opened())


def _name(publication: Publication) -> str:
    return "publish" if is_plain(publication) else "publish_all"
