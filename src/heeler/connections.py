"""The one broker, and the one store, that everything of an app in this process shares; opened at first use.

After a fork the child gets a broker of its own at its first use; what it inherited is kept untouched, because
its sockets and files belong to the parent as well.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from heeler.clock import Clock
from heeler.contracts import Broker, OrderedStore, PlainBroker, Queue, ResultStore
from heeler.errors import ConfigurationError
from heeler.forks import call_in_child
from heeler.io_thread import IoThread
from heeler.url import BrokerUrl, suggestion

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["NO_STORE", "Connections", "known_schemes"]

NO_STORE = "none://"
REPLIES = "rpc://"

_REDIS = (
    *("redis", "rediss", "redis+socket", "redis+sentinel", "redis+cluster"),
    *("valkey", "valkeys", "valkey+socket", "valkey+sentinel", "valkey+cluster"),
)

# Scheme → the function that makes a broker of a parsed URL. Loaded only when asked for; third parties add theirs
# by the entry point group "heeler.brokers".
_BROKERS = {
    "eager": "heeler.brokers.memory.eager:eager_from_url",
    "memory": "heeler.brokers.memory:from_url",
    "sqlite": "heeler.brokers.sqlite:from_url",
    **dict.fromkeys(_REDIS, "heeler.brokers.redis:from_url"),
    **dict.fromkeys(("amqp", "amqps"), "heeler.brokers.rabbitmq:from_url"),
}

# The same for stores of brokers that have none themselves; the entry point group is "heeler.results".
_STORES = {
    "memory": "heeler.brokers.memory.ordered_store:store_from_url",
    "sqlite": "heeler.brokers.sqlite.ordered_store:store_from_url",
    **dict.fromkeys(_REDIS, "heeler.brokers.redis.ordered_store:store_from_url"),
}


def known_schemes() -> list[str]:
    """The URL schemes of all brokers that are installed."""
    return sorted({*_BROKERS, *(point.name for point in _entry_points("heeler.brokers"))})


def _known_stores() -> list[str]:
    return sorted({*_STORES, *(point.name for point in _entry_points("heeler.results")), "none", "rpc"})


def _broker_maker(scheme: str) -> Callable[..., Broker | PlainBroker]:
    maker = _maker(scheme, _BROKERS, "heeler.brokers")
    if maker is None:
        raise _unknown_scheme("broker", scheme, known_schemes())
    return maker


def _maker(scheme: str, ours: dict[str, str], group: str) -> Callable[..., Any] | None:
    if scheme in ours:
        module, _, name = ours[scheme].partition(":")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    for point in _entry_points(group):
        if point.name == scheme:
            return _load(point)
    return None


def _load(point: EntryPoint) -> Callable[..., Any]:
    try:
        loaded = point.load()
    except Exception as error:  # whatever its module raises
        why = f"cannot be loaded: {type(error).__name__}: {error}"
    else:
        if callable(loaded):
            return loaded  # type: ignore[no-any-return]
        why = f"is of type {type(loaded).__name__}, and must be a function that makes one of a URL"
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    raise ConfigurationError(f"{point.name}://: the entry point {point.value}{package} {why}")


def _unknown_scheme(what: str, scheme: str, known: Iterable[str]) -> ConfigurationError:
    known = list(known)
    listed = ", ".join(f"{name}://" for name in known)
    return ConfigurationError(f"unknown {what} scheme {scheme!r}{suggestion(scheme, known)}; known are {listed}")


def _entry_points(group: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # slow to load, and seldom needed

    return entry_points(group=group)


class Connections:
    """Opens, shares and closes the broker of an app.

    `broker` is a URL or a broker object; `results` likewise, None for the broker's own store, "none://" for none. A
    broker that has no store of its own is composed with the one that `results` names, or sends them back as replies
    with "rpc://".
    Raises ConfigurationError at once for a URL that no broker understands; the first I/O is at `opened`.
    """

    def __init__(
        self,
        broker: str | Broker | PlainBroker,
        results: str | ResultStore | OrderedStore | None,
        *,
        clock: Clock,
        namespace: str,
        logger: logging.Logger,
        queues: Sequence[Queue] = (),
    ) -> None:
        self.io = IoThread()
        self.clock = clock
        self.namespace = namespace
        self.logger = logger
        self._given_broker = broker
        self._given_results = results
        self._queues = tuple(queues)
        self.broker = self._make_broker()
        """The broker, perhaps not open yet; in a forked child another one than in the parent."""
        self.on_opening: Callable[[], Awaitable[None]] | None = None
        """Called on the I/O thread when the broker has been opened, before it is used."""
        self.on_disconnect: list[Callable[[], None]] = []
        """Called when all is closed, by those who hold what was open."""
        self._opened = False
        self._opening: asyncio.Lock | None = None
        self._parked: list[Any] = []
        self._closed = False
        call_in_child(self._forget_parent)

    def _make_broker(self) -> Broker:
        given = self._given_broker
        made: Broker | PlainBroker
        if isinstance(given, (Broker, PlainBroker)):
            self.io = given.io
            made = given
        elif isinstance(given, str):
            url = BrokerUrl.parse(given)
            made = _broker_maker(url.scheme)(url, io=self.io, clock=self.clock, namespace=self.namespace)
            if not isinstance(made, (Broker, PlainBroker)):
                raise ConfigurationError(
                    f"{url.scheme}://: its entry point made a {type(made).__name__}, and must make a Broker or a "
                    f"PlainBroker (heeler.contracts)"
                )
        else:
            raise ConfigurationError(f"broker must be a URL or a Broker, got {type(given).__name__}")
        self._plain = made if isinstance(made, PlainBroker) else None
        if isinstance(made, PlainBroker):
            made.logger = self.logger.getChild("broker")
            made.declare(self._queues)
            broker = self._compose(made)
            self.store = broker.store
        else:
            broker = made
            self.store = self._choose_store(broker)
        return broker

    def _compose(self, plain: PlainBroker) -> Broker:
        """A broker out of a message server and the store that `results` names."""
        from heeler.brokers.ordered import OrderedBroker, RpcBroker, UnstoredBroker  # only where there is such a server

        results = self._given_results
        if results is None or results == NO_STORE:
            return UnstoredBroker(plain)
        if results == REPLIES:
            if not plain.carries_replies:
                raise ConfigurationError(
                    f"results={REPLIES}: {self.shown_url} cannot send replies; give `results` the URL of a store"
                )
            return RpcBroker(plain)
        if isinstance(results, str):
            url = BrokerUrl.parse(results)
            maker = _maker(url.scheme, _STORES, "heeler.results")
            if maker is None:
                raise _unknown_scheme("result store", url.scheme, _known_stores())
            results = maker(url, io=self.io, clock=self.clock, namespace=self.namespace)
        if not isinstance(results, OrderedStore):
            raise ConfigurationError(
                f"results={type(results).__name__}: {self.shown_url} has no store of its own, so `results` must be an "
                f"OrderedStore or the URL of one ({', '.join(f'{name}://' for name in _known_stores())})"
            )
        return OrderedBroker(plain, results)

    def _choose_store(self, broker: Broker) -> ResultStore | None:
        results = self._given_results
        if results is None or results is broker.store or results == self._given_broker:
            return broker.store
        if results == NO_STORE:
            return None
        if isinstance(results, str) and BrokerUrl.parse(results).scheme not in (*known_schemes(), "rpc"):
            raise _unknown_scheme("result store", BrokerUrl.parse(results).scheme, [*known_schemes(), "none"])
        shown = BrokerUrl.parse(results).redacted if isinstance(results, str) else type(results).__name__
        raise ConfigurationError(
            f"results={shown}: this broker keeps the results itself, in the same step as the end of a job; leave "
            f"`results` out, or give {NO_STORE} to store none"
        )

    def declare(self, queues: Sequence[Queue]) -> None:
        """What is said of queues with a topology. Raises ConfigurationError where other things have been said."""
        for queue in queues:
            known = next((one for one in self._queues if one.name == queue.name), None)
            if known is None:
                self._queues = (*self._queues, queue)
            elif (queue.binding_keys or queue.arguments) and (known.binding_keys, known.arguments) != (
                queue.binding_keys,
                queue.arguments,
            ):
                raise ConfigurationError(f"the queue {queue.name!r} is declared twice: {known} and {queue}")
        with_topology = [queue for queue in queues if queue.binding_keys or queue.arguments]
        if self._plain is not None and with_topology:
            if self.io.started and not self.io.here():
                self.io.loop.call_soon_threadsafe(self._plain.declare, with_topology)
            else:
                self._plain.declare(with_topology)

    @property
    def shown_url(self) -> str:
        """The broker for people: its URL without the password, or its class."""
        given = self._given_broker
        return BrokerUrl.parse(given).redacted if isinstance(given, str) else type(given).__name__

    @property
    def unshared_part(self) -> str:
        """What other processes do not see, if anything: the results where only these are not shared."""
        results = self._given_results
        if isinstance(results, str) and self._plain is not None and self._plain.features.shared:
            return f"results={BrokerUrl.parse(results).redacted}"
        return self.shown_url

    @property
    def scheme(self) -> str | None:
        """The scheme of the broker's URL; None where the broker was given as an object."""
        given = self._given_broker
        return BrokerUrl.parse(given).scheme if isinstance(given, str) else None

    @property
    def is_open(self) -> bool:
        return self._opened

    def _forget_parent(self) -> None:
        """In a forked child: what was inherited is neither used nor closed, a new broker takes its place."""
        self._parked.append((self.broker, self._opening))
        self._opened = False
        self._opening = None
        if isinstance(self._given_broker, str):
            self.io = IoThread()
            self.broker = self._make_broker()

    async def opened(self) -> Broker:
        """The open broker; on the I/O thread. Raises BrokerUnavailable or ConfigurationError."""
        if self._opened:
            return self.broker
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if not self._opened:
                self._refuse_if_closed()
                await self.broker.open()
                if self.on_opening is not None:
                    await self.on_opening()
                self._opened = True
        return self.broker

    def opened_blocking(self) -> Broker:
        """The open broker, for a caller without a loop."""
        if not self._opened:
            self.io.run(self.opened())
        return self.broker

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ConfigurationError("this app is closed; use a new Heeler, or leave out the close()")

    def needed_store(self) -> ResultStore:
        """The result store. Raises ConfigurationError where the app has none."""
        if self.store is None:
            raise self.no_store()
        return self.store

    def no_store(self) -> ConfigurationError:
        """What is raised where the app has no result store."""
        return ConfigurationError(
            f"this app stores no results (broker {self.shown_url}, results={NO_STORE}), so there is nothing to read "
            f"or wait for"
        )

    async def _close(self) -> None:
        if self._opened or self._opening is not None:  # an attempt that was given up may have left something
            self._opened = False
            await self.broker.close()

    def disconnect(self) -> None:
        """Close the broker and end the I/O thread until the next use, so that a fork inherits neither."""
        if self.io.started:
            self.io.run(self._close())
            self.io.close()
        self._opening = None
        for forget in self.on_disconnect:
            forget()

    def close(self) -> None:
        """Close the broker and end the I/O thread for good; harmless twice."""
        self._closed = True
        self.disconnect()

    async def aclose(self) -> None:
        """`close` from async code."""
        self._closed = True
        if self.io.started:
            await self.io.arun(self._close())
            await asyncio.to_thread(self.io.close)
