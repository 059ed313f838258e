"""A message server without a store of its own: it hands bytes on and takes them back, and knows nothing of results.

Such a server (RabbitMQ, NATS) implements this, which is all that its folder has to do; `brokers/ordered/` makes a
`Broker` of it together with an `OrderedStore`, or without one (`results="none://"`). The division: a plain broker
delivers each message at least once, in order, after its delay, and keeps dead letters; everything that needs memory
of a *job* (epochs, counters, results, cancelling, latches, ids taken once, expiry, paused queues) is done by the
composition, so a plain broker never looks into an envelope further than queue, task, priority, routing key, headers
and size, and may carry the same id twice.

All coroutines run on the process's I/O thread. What cannot be reached or does not answer is `BrokerUnavailable` (with
`outcome_unknown` where the request had left), a wrong setting `ConfigurationError`. No verb hangs: where the server
makes a publisher wait (an alarm), the wait is bounded and ends in `BrokerUnavailable`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from heeler.model import Envelope

if TYPE_CHECKING:
    from heeler.clock import Clock
    from heeler.contracts.broker import Needs, Queue, QueueShare
    from heeler.contracts.control_channel import ControlChannel
    from heeler.contracts.features import Features
    from heeler.contracts.queue_admin import QueueSize
    from heeler.io_thread import IoThread
    from heeler.model import DeadLetter

__all__ = ["DeadLetterBox", "Outgoing", "PlainBroker", "PlainDelivery", "PlainSubscription", "ReplyBox"]


class Outgoing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An envelope to be sent, to start not before `delay` seconds from now.

    This delay counts, not the envelope's own `delay` and `run_at`, which belong to its first publication only.
    """

    envelope: Envelope
    delay: float = 0.0


class PlainDelivery(msgspec.Struct, frozen=True, gc=False):
    """A message in this process's hands until it is acknowledged, given back, or the connection is lost.

    `tag` is the plain broker's own; it names the message *and* the channel it came on, so that a tag of a channel
    that is gone is known for stale. `redelivered` is False only if the server is sure that no process has had this
    message before, except one that gave it back untouched.
    """

    envelope: Envelope
    tag: Any
    redelivered: bool = False


class PlainSubscription(ABC):
    """What one worker takes from its queues. The read-ahead behind `fetch` (prefetch) is the plain broker's affair."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when `fetch` may have something: pushed, never polled. May return too early; may be cancelled.

        Not for messages that the last fetch was told to skip. Raises BrokerUnavailable while the connection is away.
        """

    @abstractmethod
    async def fetch(
        self, limit: int, max_bytes: int, skip_tasks: frozenset[str], skip_queues: frozenset[str]
    ) -> list[PlainDelivery]:
        """Hand over up to `limit` messages that are there; never waits for any, is never cancelled.

        Order: as `Subscription.fetch` says, as well as the server can. Stops after the message with which the bodies
        exceed `max_bytes`. Nothing of `skip_queues` (paused queues) is handed over, until a later call no longer names
        them: what was read ahead of them goes back untouched, and no more of it is read. `skip_tasks` is a
        preference (`Features.skips_tasks`). Bytes that are no envelope are buried here, raw, with the reason: put
        among the dead letters first, acknowledged then.
        """

    @abstractmethod
    async def quiet(self) -> None:
        """Take no more; what was read ahead and not handed over goes back untouched. Harmless twice.

        What was handed over stays in hand.
        """


class DeadLetterBox(ABC):
    """Where dead letters are kept, each until it is removed or its time is over.

    A letter whose id is put in again takes the place of the older one for whoever looks.
    """

    @abstractmethod
    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """When it returns they are held at the durability the broker is configured for. May be repeated."""

    @abstractmethod
    async def find(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> list[DeadLetter]:
        """Those that match all that is given, oldest first; None for all means every one."""

    @abstractmethod
    async def remove(self, ids: Sequence[str]) -> int:
        """Drop them for good; how many there were."""


class ReplyBox(ABC):
    """Where replies reach one process: its own, and nobody else's.

    While the connection is away they wait; after a long time without one, and at its `close`, the box is gone.
    """

    address: str

    @abstractmethod
    async def receive(self) -> list[bytes]:
        """Wait for replies and return them; may be cancelled without losing any. A reply may come more than once."""

    @abstractmethod
    async def close(self) -> None: ...


class PlainBroker(ABC):
    """A message server that is no `Broker` by itself.

    `features` says the server's own: `shared`, `durable`, `delays` and the preferences; what the composition adds or
    denies (one-step settle, fencing, joins, guards, id de-duplication, listing) is not looked at. `max_payload` is how
    many bytes the body of one envelope may have. `control` is a control channel of its own or None: then the
    store's is taken. `logger` becomes the app's.
    """

    features: Features
    control: ControlChannel | None = None
    max_payload: int = 1 << 20
    logger: logging.Logger = logging.getLogger("heeler.broker")
    carries_replies: bool = False  # has `reply_box` and `reply`, for `results="rpc://"`

    def __init__(self, *, io: IoThread, clock: Clock, namespace: str) -> None:
        self.io = io
        self.clock = clock
        self.namespace = namespace

    @property
    @abstractmethod
    def dead_letters(self) -> DeadLetterBox: ...

    def declare(self, queues: Sequence[Queue]) -> None:  # noqa: B027 - only a server with a topology has to know
        """What the app says of its queues (binding keys, arguments); called before the first `open`."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, declare what has to be there; before any other verb, again after `close`, and in a forked child.

        Raises BrokerUnavailable or ConfigurationError. In a forked child inherited connections are neither used
        nor closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """End the connection: what is in hand goes back by that. Harmless twice."""

    @abstractmethod
    async def publish(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send messages, in order; when it returns each is confirmed by the server or refused.

        The answer has an empty text for each that is held at the configured durability, and else the reason why it
        cannot be delivered as it is (it reaches no queue: the text says which routing key, and what to do).
        Everything that may pass by itself raises BrokerUnavailable; the caller then repeats the whole call, so
        messages may arrive twice.
        """

    @abstractmethod
    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str) -> PlainSubscription:
        """Begin to take from `queues`, in this order or by their weights.

        `lease` is how soon, in seconds, a dead process's messages must be back (within 1.5 × lease): heartbeats have
        to be at most half of it.
        """

    @abstractmethod
    async def acknowledge(self, tags: Sequence[Any]) -> None:
        """These messages are over. Stale tags are passed over: those messages are delivered again anyway."""

    @abstractmethod
    async def give_back(self, tags: Sequence[Any], *, untouched: bool) -> None:
        """These messages are for anybody again, at their old place if the server can.

        `untouched`: no work was begun on them, so they are to come back with `redelivered` False where the server
        allows it (and never count towards a delivery limit); else they must come back with it True. Stale tags are
        passed over.
        """

    @abstractmethod
    async def take(self, queue: str, limit: int) -> list[PlainDelivery]:
        """Hand over up to `limit` waiting (not delayed) messages of a queue, for a purge; empty: none waits there."""

    @abstractmethod
    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        """How many messages wait, are in some process's hands, and are dead, by queue name, as the server counts.

        None means all queues it knows of; a named queue that is unknown counts zero. Leave at zero what it cannot
        tell (`scheduled`, `oldest`).
        """

    async def reply_box(self) -> ReplyBox:
        """A new box for this process. Raises BrokerUnavailable."""
        raise NotImplementedError

    async def reply(self, replies: Sequence[tuple[str, bytes]]) -> None:
        """Send each to the box of that address; when it returns each is confirmed, or its box is gone."""
        raise NotImplementedError

    def caveats(self, needs: Needs) -> list[tuple[str, str, str]]:
        """As `Broker.caveats`."""
        return []

    async def doctor(self) -> list[tuple[str, str, str]]:
        """Findings about this broker's settings: (level, topic, text), level one of ok, info, warning, problem."""
        return []
