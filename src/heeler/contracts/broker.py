"""The broker: takes publications, leases jobs out, learns how they ended. Read this and you know the system's heart.

All coroutines of a broker run on the process's I/O thread, one loop for all; implementations need no locks for
them. Every verb works on batches. Driver types, driver exceptions and driver words stop at the broker's folder:
what cannot be reached or does not answer is `BrokerUnavailable`, a wrong setting `ConfigurationError`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from heeler.clock import Clock
    from heeler.contracts.control_channel import ControlChannel
    from heeler.contracts.features import Features
    from heeler.contracts.queue_admin import QueueAdmin
    from heeler.contracts.result_store import ResultStore
    from heeler.contracts.schedule_store import ScheduleStore
    from heeler.io_thread import IoThread
    from heeler.model import (
        CallId,
        Delivery,
        Publication,
        PublishResult,
        Renewal,
        RenewalAnswer,
        Settlement,
        SettleResult,
    )

__all__ = ["Broker", "Needs", "Queue", "QueueShare", "Subscription"]


class Queue(msgspec.Struct, frozen=True):
    """A queue by name, with what brokers that have a topology declare for it.

    `binding_keys` and `arguments` matter to brokers with exchanges only (their `Features` say so); others keep the
    name.
    """

    name: str
    binding_keys: tuple[str, ...] = ()
    arguments: dict[str, object] = {}
    weight: int | None = None


class QueueShare(msgspec.Struct, frozen=True, gc=False):
    """A queue that a worker takes from. `weight` None: strict order, earlier queues first; else its share."""

    queue: str
    weight: int | None = None


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What an app asks of its broker beside plain jobs. `timeouts` are in seconds, by task; None: no limit."""

    priorities: bool = False
    weights: bool = False
    timeouts: Mapping[str, float | None] = {}


class Subscription(ABC):
    """What one worker takes from its queues."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when `fetch` may have something: pushed, never polled. May return too early; may be cancelled.

        Covers new jobs, delayed jobs that come due, leases that expire, queues that are resumed. Jobs of tasks that
        the last `fetch` skipped count for nothing. Of several idle subscriptions only about as many return as
        there are jobs.
        """

    @abstractmethod
    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        """Lease up to `limit` jobs that may start now; never waits for jobs, is never cancelled.

        Order: queues in the order (or by the weights) of the subscription, then priority (larger first), then
        publish order. Due delayed jobs and jobs whose lease expired come back here; a job whose lease expired
        comes with a higher epoch, `suspect`, and one more in `crashes` if its `started` mark was set. Stops after
        the job with which the bodies exceed `max_bytes`. Jobs of `skip_tasks` stay where they are (a preference:
        see `Features.skips_tasks`). Bytes that are no envelope go to the dead letters, raw, with the reason.
        """

    @abstractmethod
    async def quiet(self) -> None:
        """Fetch no more; what the broker handed to this process but `fetch` did not return goes back.

        Leases of fetched jobs stay: the worker settles them, RELEASE for what has not started.
        """


class Broker(ABC):
    """A queue server, or what stands for one.

    `store`, `admin`, `schedules` and `control` are the broker's own result store, administration, store of schedules
    and control channel, or None where it has none. A broker with a `store` settles in one step: end, result and
    follow-ups become true together.
    """

    features: Features
    store: ResultStore | None = None
    admin: QueueAdmin | None = None
    schedules: ScheduleStore | None = None
    control: ControlChannel | None = None
    max_payload: int = 1 << 20  # bytes of one envelope's body; producers refuse more

    def __init__(self, *, io: IoThread, clock: Clock, namespace: str) -> None:
        self.io = io
        self.clock = clock
        self.namespace = namespace

    @abstractmethod
    async def open(self) -> None:
        """Connect and make ready; called once before any other verb, again after `close`, and in a forked child.

        Raises BrokerUnavailable or ConfigurationError. In a forked child inherited connections are neither used
        nor closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give everything back; harmless twice."""

    @abstractmethod
    async def publish(self, publication: Publication) -> list[PublishResult]:
        """Make the publication real; one answer for each envelope, in order, and of a guarded one the guard's last.

        When it returns, every ACCEPTED envelope is held at the durability the broker is configured for. May be
        repeated with the same `call` after an error, with no double effect and the same answers.
        """

    def publish_blocking(self, publication: Publication) -> list[PublishResult]:
        """`publish` for a caller without a loop. Brokers with a faster way of their own override it."""
        return self.io.run(self.publish(publication))

    def publish_each_blocking(self, publications: Iterable[Publication]) -> Iterator[list[PublishResult]]:
        """The answers of `publish_blocking` to one publication after the other.

        A broker may read the next of them while the server works on the one before.
        """
        for publication in publications:
            yield self.publish_blocking(publication)

    @abstractmethod
    async def subscribe(self, queues: Sequence[QueueShare], lease: float, worker_id: str = "") -> Subscription:
        """Begin to take from `queues`, in this order or by their weights; jobs are leased for `lease` seconds."""

    @abstractmethod
    async def extend(self, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
        """Keep leases for another `lease` seconds of the broker's clock and take in the reports they carry.

        A report is stored in the job's record (RUNNING, progress, saved value) and pushed to who waits.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        """End leases; one answer for each, in order. Each settlement is one step with all it carries.

        May be repeated with the same `call` after an error, with no double effect and the same answers.
        """

    def look_after(self, lease: float) -> None:  # noqa: B027 - most brokers have nothing to do
        """From now on, and until it is closed, do what others left undone that have been silent for a lease.

        `subscribe` has it done as well; this is for who stays without taking jobs, as a scheduler does. On the running
        loop, of an open broker. Nothing to do where each verb is one step.
        """

    def caveats(self, needs: Needs) -> list[tuple[str, str, str]]:
        """What of these needs is kept otherwise than asked for, as `doctor` says it. For an open broker."""
        return []

    async def doctor(self) -> list[tuple[str, str, str]]:
        """Findings about this broker's settings: (level, topic, text), level one of ok, info, warning, problem."""
        return []
