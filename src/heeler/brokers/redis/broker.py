"""The Redis broker: the contract's verbs as thin shells around scripts, one call for each batch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

from heeler.brokers.redis.admin import RedisQueueAdmin
from heeler.brokers.redis.caller import CallerLink, Sent
from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.control import RedisControlChannel
from heeler.brokers.redis.doctor import findings
from heeler.brokers.redis.link import Link, Target
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.publishing import (
    Places,
    Publishing,
    ScriptCall,
    call_arguments,
    publish_results,
)
from heeler.brokers.redis.renewing import renewal_answer, renewal_arguments
from heeler.brokers.redis.schedules import RedisScheduleStore
from heeler.brokers.redis.scripts import Script, script
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


_SESSIONS = 1000


class RedisBroker(Broker):
    """Jobs and results in one Redis or Valkey server, for any number of processes and machines.

    A namespace is one hash slot; `area` sets keys in it apart. `time_from` is for tests: a clock to take the place of
    the server's own.
    """

    features = Features()
    store: RedisResultStore
    admin: RedisQueueAdmin
    schedules: RedisScheduleStore
    control: RedisControlChannel

    def __init__(
        self,
        options: RedisOptions,
        *,
        io: IoThread,
        clock: Clock,
        namespace: str,
        area: str = "",
        time_from: Clock | None = None,
    ) -> None:
        super().__init__(io=io, clock=clock, namespace=namespace)
        if not namespace or "{" in namespace or "}" in namespace:
            raise ConfigurationError(f"a namespace on Redis is a name without braces, got {namespace!r}")
        self.options = options
        self.max_payload = options.max_payload
        self.prefix = f"{{{namespace}}}:{area}"
        self._now: Callable[[], bytes] = (
            (lambda: b"") if time_from is None else (lambda: repr(time_from.time()).encode())
        )
        self._places = Places()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._parked: list[Any] = []
        self._begin()
        self.store = RedisResultStore(self.link, self.listener)
        self.admin = RedisQueueAdmin(self.link, options, self.prefix)
        self.schedules = RedisScheduleStore(self.link)
        self.control = RedisControlChannel(self.link, self.listener, self.prefix)
        call_in_child(self._start_anew)

    def _begin(self) -> None:
        self._session = new_id()
        self._numbers = itertools.count(1)
        self._last_calls: dict[str, int] = {}  # of sessions that settle: the number of the last call
        self._target = Target(self.options, self.prefix)
        self._caller = self._new_caller()
        self._callers: list[CallerLink] = []  # for who sends many, one each; the unused ones
        self._first_link: Link | None = None  # until it is connected: that of all attempts to open
        self._link: Link | None = None
        self._publishing: Link | None = None
        self._listener: Listener

    def _start_anew(self) -> None:
        """In a forked child: what was inherited is kept where nobody uses or closes it."""
        self._parked += [self._target, self._caller, self._callers, self._first_link, self._link, self._publishing]
        self._parked.append(self._tasks)
        if self._link is not None:
            self._parked.append(self._listener)
        self._tasks = set()
        self._begin()

    def _new_link(self) -> Link:
        return Link(self._target, self.clock, self._now)

    def _new_caller(self) -> CallerLink:
        return CallerLink(self._target, self.io, self._now)

    async def open(self) -> None:
        if self._link is not None:
            return
        if self._first_link is None:
            self._first_link = self._new_link()
        link = self._first_link
        await link.connection()
        self._link, self._first_link = link, None
        # WAIT blocks its connection until the replicas have answered, so publishing has one of its own then.
        self._publishing = self._new_link() if self.options.wait_replicas else link
        self._listener = Listener(self._new_link(), link, self.prefix)

    async def close(self) -> None:
        link, self._link = self._link, None
        first_link, self._first_link = self._first_link, None
        if first_link is not None:
            await first_link.close()
        publishing, self._publishing = self._publishing, None
        for caller in (self._caller, *self._callers):
            caller.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if link is not None:
            await self._listener.close()
            await link.close()
        if publishing is not None and publishing is not link:
            await publishing.close()

    def link(self) -> Link:
        """The open link. Raises BrokerUnavailable."""
        if self._link is None:
            raise BrokerUnavailable(f"the broker on {self.options.shown} is not open in this process")
        return self._link

    def listener(self) -> Listener:
        return self._listener

    def next_call(self) -> CallId:
        """Names a call that nobody else has named."""
        return CallId(self._session, next(self._numbers))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Publishing

    async def publish(self, publication: Publication) -> list[PublishResult]:
        publishing = self._publishing_of(publication)
        refused = await self._run_surely(publishing.first, publishing.again)
        return publish_results(publication, refused, self.max_payload)

    async def run_surely(self, script: Script, *arguments: Argument) -> Any:
        """Run a script that may be repeated until it is answered and, if so configured, replicas have what it wrote.

        Raises BrokerUnavailable after `publish_timeout`.
        """
        call = (script, list(arguments))
        return await self._run_surely(call, lambda: call)

    async def _run_surely(self, call: ScriptCall, again: Callable[[], ScriptCall]) -> Any:
        self.link()
        link = self._publishing
        assert link is not None
        until = asyncio.get_running_loop().time() + self.options.publish_timeout
        then = self._wait()
        while True:
            try:
                async with asyncio.timeout_at(until):
                    said, replicas = await link.run_until(until, then, call[0], *call[1])
            except TimeoutError:
                raise self._not_answered() from None
            except BrokerUnavailable as error:
                # It went out and no answer came: the call's number makes a repetition harmless.
                if not error.outcome_unknown or asyncio.get_running_loop().time() >= until:
                    raise
            else:
                if said is not None:
                    if then:
                        self._check_replicas(replicas)
                    return said
            call = again()

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        """`publish` in the calling thread, on a socket of its own."""
        return self._answers(publication, *self._caller.run(self._publishing_of(publication), self._wait()))

    def publish_each_blocking(self, publications: Iterable[Publication]) -> Iterator[list[PublishResult]]:
        """One is under way while the next is read, so the making of publications and the server's work overlap."""
        # Who makes the next publication may well publish something himself, so this takes a connection of its own.
        caller = self._callers.pop() if self._callers else self._new_caller()
        under_way: tuple[Publication, Sent] | None = None
        try:
            for publication in publications:
                answers = None if under_way is None else self._finish(caller, *under_way)
                under_way = None
                under_way = publication, caller.begin(self._publishing_of(publication), self._wait())
                if answers is not None:
                    yield answers
            if under_way is not None:
                last, under_way = under_way, None
                yield self._finish(caller, *last)
        finally:
            if under_way is not None:
                self._finish(caller, *under_way)
            if self._link is None or self._callers:
                caller.close()
            else:
                self._callers.append(caller)

    def _finish(self, caller: CallerLink, publication: Publication, sent: Sent) -> list[PublishResult]:
        return self._answers(publication, *caller.finish(sent))

    def _answers(self, publication: Publication, refused: Sequence[bytes], replicas: Any) -> list[PublishResult]:
        if self.options.wait_replicas:
            self._check_replicas(replicas)
        return publish_results(publication, refused, self.max_payload)

    def _publishing_of(self, publication: Publication) -> Publishing:
        call = publication.call
        if call is None:
            call = self.next_call()
        return Publishing(publication, call, self._places, self.max_payload)

    def _wait(self) -> tuple[Argument, ...]:
        """The command with which to wait for replicas, if that is asked for."""
        if not self.options.wait_replicas:
            return ()
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
        link = self.link()
        subscription = RedisSubscription(link, self._listener, self.options, self.clock, queues, lease, self._spawn)
        await subscription.open()
        return subscription

    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        if not renewals:
            return RenewalAnswer()
        return renewal_answer(await self.link().run(script("extend"), *renewal_arguments(renewals, lease)))

    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        settling = Settling(settlements, self.options, self._places)
        again = "1" if call is not None and self._may_be_repeated(call) else ""
        said = await self.link().run(script(settling.script), *call_arguments(call), again, *settling.arguments)
        return settling.results(said)

    def _may_be_repeated(self, call: CallId) -> bool:
        """Whether it may have been sent before: not if its session is known here and has not come so far."""
        if len(self._last_calls) > _SESSIONS:
            self._last_calls.clear()
        last = self._last_calls.get(call.session)
        self._last_calls[call.session] = call.number if last is None else max(last, call.number)
        return last is None or call.number <= last

    async def doctor(self) -> list[tuple[str, str, str]]:
        return await findings(self.link())
