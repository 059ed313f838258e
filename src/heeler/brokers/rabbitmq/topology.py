"""The exchanges and queues on the server: what they are called, how they are declared, where an envelope goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pika import spec

from heeler.brokers.rabbitmq.binding_keys import lets_through
from heeler.brokers.rabbitmq.connection import Channel
from heeler.brokers.rabbitmq.delays import MARKS, DelayNames, delay_key, due_binding
from heeler.brokers.rabbitmq.link import Link
from heeler.brokers.rabbitmq.options import RabbitmqOptions
from heeler.contracts import Queue
from heeler.errors import ConfigurationError, HeelerError
from heeler.model import Envelope

__all__ = ["Topology"]

_LONGEST_NAME = 200  # bytes: a routing key takes 255, and a delay has its digits in it
_NO_WORDS = frozenset({"*", "#", *MARKS})
_TTL_FOR_QUORUM = (3, 10)
_COUNTS_DELIVERIES = (4, 0)  # from here on a quorum queue drops what was delivered 20 times, unless told otherwise


class Topology:
    """Declares what is needed when it is first needed, and again after each reconnection.

    In passive mode nothing is declared but what the delays and dead letters need: the queues have to be there.
    """

    def __init__(self, options: RabbitmqOptions, namespace: str, link: Link) -> None:
        self.options = options
        given = options.prefix
        self.prefix = given if given is not None else "" if options.passive else f"{namespace}."
        own = self._own = given or f"{namespace}."
        self.dead_queue = f"{own}dead"
        self.dead_lock = f"{own}dead.reader"
        self.delays = DelayNames(own)
        self.exchange = options.exchange or f"{own}jobs"
        self._exchange_type = options.exchange_type if options.exchange is not None else "topic"
        self._link = link
        self._queues: dict[str, Queue] = {}  # what the app says of them
        self._names: dict[str, str] = {}  # queue → its name on the server
        self._done: set[str] = set()  # what has been declared on this connection
        self._used: set[str] = set()  # the queues that have been declared at all
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        link.on_lost.append(self._forget)

    # Names

    def on_server(self, queue: str) -> str:
        """The name of a queue on the server. Raises ConfigurationError where it cannot be one."""
        name = self._names.get(queue)
        if name is None:
            name = self.prefix + queue
            if len(name.encode()) > _LONGEST_NAME or not _NO_WORDS.isdisjoint(name.split(".")):
                raise ConfigurationError(
                    f"{queue!r} cannot be a queue on RabbitMQ: a name has at most {_LONGEST_NAME} bytes, and none of "
                    f"{' '.join(sorted(_NO_WORDS))} between dots"
                )
            self._names[queue] = name
        return name

    def reply_queue(self, id: str) -> str:
        """The name of the queue for replies to one process."""
        return f"{self._own}reply.{id}"

    def know(self, queues: Iterable[Queue]) -> None:
        """What the app says of its queues: binding keys and arguments."""
        for queue in queues:
            if self._queues.get(queue.name) != queue:
                self._queues[queue.name] = queue
                self.forget(queue.name)

    @property
    def known(self) -> list[str]:
        return sorted({*self._queues, *self._used})

    def is_direct(self, envelope: Envelope) -> bool:
        """Whether it goes straight to its queue. Copies always do: they belong to the queue that their job came by."""
        if envelope.epoch > 1:
            return True
        return self.options.exchange is None and envelope.routing_key is None and self.options.routing_key is None

    def routing_key(self, envelope: Envelope) -> str:
        """With what key it goes by the exchange."""
        return envelope.routing_key or self.options.routing_key or envelope.queue

    def destination(self, envelope: Envelope) -> tuple[str, str]:
        """Exchange and routing key for an envelope that is to be there at once."""
        if self.is_direct(envelope):
            return "", self.on_server(envelope.queue)
        return self.exchange, self.routing_key(envelope)

    def delayed_destination(self, envelope: Envelope, delay: float, *, direct: bool) -> tuple[str, str]:
        """The same for one that is to be there later."""
        if direct:
            return self.delays.entry(delay), delay_key(delay, "q", self.on_server(envelope.queue))
        return self.delays.entry(delay), delay_key(delay, "k", self.routing_key(envelope))

    @property
    def goes_to_all(self) -> bool:
        """Whether the exchange looks at no routing key, so that what is due can go by it once more."""
        return self.options.exchange is not None and self._exchange_type in ("fanout", "headers")

    def known_by_key(self, routing_key: str) -> list[str]:
        """The queues, as far as this app knows, that the exchange sends this key to."""
        return [
            queue
            for queue, keys in self._keys().items()
            if any(lets_through(self._exchange_type, key, routing_key) for key in keys)
        ]

    def _keys(self) -> dict[str, tuple[str, ...]]:
        names = [*self._queues, *(queue for queue in self._used if queue not in self._queues)]
        return {name: self._binding_keys(self._queues.get(name) or Queue(name)) for name in names}

    def _binding_keys(self, queue: Queue) -> tuple[str, ...]:
        """With what its queue is bound to the exchange: what the app says, and its name, where all goes by it."""
        if self.options.exchange is None or self._exchange_type == "headers":
            return queue.binding_keys
        return (*queue.binding_keys, queue.name)

    # Declaring

    async def ensure(self, queues: Iterable[str]) -> None:
        """See to it that these queues are there. Raises ConfigurationError where they are there otherwise."""
        missing = [queue for queue in queues if queue not in self._done]
        if missing:
            async with self._lock:
                for queue in missing:
                    if queue not in self._done:
                        await self._declare(self._methods_for(self._queues.get(queue) or Queue(queue)))
                        self._done.add(queue)
                        self._used.add(queue)

    async def ensure_exchange(self) -> None:
        """See to it that what has a routing key finds an exchange, and the app's queues behind it."""
        if "x exchange" not in self._done:
            await self._declare_exchange()
        await self.ensure([queue.name for queue in self._queues.values() if queue.binding_keys])

    async def _declare_exchange(self) -> None:
        async with self._lock:
            await self._declare([self._exchange_declaration()])
            self._done.add("x exchange")

    def _exchange_declaration(self) -> Any:
        passive = self.options.passive and self.options.exchange is not None
        return spec.Exchange.Declare(exchange=self.exchange, type=self._exchange_type, passive=passive, durable=True)

    async def ensure_dead_letters(self) -> None:
        if "x dead" not in self._done:
            async with self._lock:
                await self._declare([self._dead_letters()])
                self._done.add("x dead")

    async def ensure_delays(self, queues: Iterable[str]) -> None:
        """See to it that delays can be travelled, and end in these queues."""
        if "x delays" not in self._done:
            await self.ensure_dead_letters()
            async with self._lock:
                connection = await self._link.connection()
                if self.options.queue_type == "quorum" and connection.version < _TTL_FOR_QUORUM:
                    raise ConfigurationError(
                        f"RabbitMQ at {connection.shown} is {connection.server.get('version')}: its quorum queues hold "
                        f"no delays; upgrade it to 3.10 or newer, or write ?queue_type=classic"
                    )
                methods: list[Any] = [*self.delays.declarations(self.options.queue_type, self.dead_queue)]
                if self.goes_to_all:
                    due = due_binding("k", "#")
                    methods += [
                        self._exchange_declaration(),
                        spec.Exchange.Bind(destination=self.exchange, source=self.delays.due, routing_key=due),
                    ]
                await self._declare(methods)
                self._done.add("x delays")
        missing = [queue for queue in queues if f"x due {queue}" not in self._done]
        if missing:
            await self.ensure([] if self.options.passive else missing)
            async with self._lock:
                for queue in missing:
                    await self._declare(self._due_bindings(queue))
                    self._done.add(f"x due {queue}")

    def forget(self, queue: str) -> None:
        """It is not there any more."""
        self._done -= {queue, f"x due {queue}"}

    def forget_dead_letters(self) -> None:
        self._done.discard("x dead")

    def forget_all(self) -> None:
        """Something is not there any more: declare all again when it is next needed."""
        self._done.clear()

    def _forget(self, _: HeelerError) -> None:
        self.forget_all()
        self._channel = None

    def _methods_for(self, queue: Queue) -> list[Any]:
        name = self.on_server(queue.name)
        if self.options.passive:
            return [spec.Queue.Declare(queue=name, passive=True)]
        methods: list[Any] = [spec.Queue.Declare(queue=name, durable=True, arguments=self._arguments(queue.arguments))]
        keys = self._binding_keys(queue)
        if keys:
            methods.insert(0, spec.Exchange.Declare(exchange=self.exchange, type=self._exchange_type, durable=True))
        methods += [spec.Queue.Bind(queue=name, exchange=self.exchange, routing_key=key) for key in keys]
        return methods

    def _due_bindings(self, queue: str) -> list[Any]:
        """Bind a queue to what is due: by its name, and as it is bound to the exchange."""
        name = self.on_server(queue)
        bindings = [due_binding("q", name)]
        if not self.goes_to_all:
            keys = self._binding_keys(self._queues.get(queue) or Queue(queue))
            bindings += [due_binding("k", key) for key in keys]
        return [spec.Queue.Bind(queue=name, exchange=self.delays.due, routing_key=binding) for binding in bindings]

    def _arguments(self, given: dict[str, object]) -> dict[str, object]:
        arguments: dict[str, object] = {"x-queue-type": self.options.queue_type, **given}
        if arguments["x-queue-type"] == "classic":
            arguments.setdefault("x-max-priority", self.options.max_priority)
        elif arguments["x-queue-type"] == "quorum":
            self._lift_delivery_limit(arguments)
        return arguments

    def _dead_letters(self) -> Any:
        arguments: dict[str, object] = {
            "x-queue-type": self.options.queue_type,
            "x-message-ttl": round(self.options.dead_letter_ttl * 1000),
            "x-max-length": self.options.dead_letter_limit,
        }
        if self.options.queue_type == "quorum":
            self._lift_delivery_limit(arguments)
        return spec.Queue.Declare(queue=self.dead_queue, durable=True, arguments=arguments)

    def _lift_delivery_limit(self, arguments: dict[str, object]) -> None:
        """Deliveries are no crashes, so they are not counted against a job."""
        connection = self._link.current
        if connection is not None and connection.version >= _COUNTS_DELIVERIES:
            arguments.setdefault("x-delivery-limit", -1)

    async def _declare(self, methods: Sequence[Any]) -> None:
        connection = await self._link.connection()
        if self._channel is None or self._channel.closed is not None:
            self._channel = await connection.channel()
        await self._channel.call_all(methods)
