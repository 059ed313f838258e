"""The worker's parts on the I/O thread, all made in one place, from the first connection to the last settlement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from heeler.connections import Connections
from heeler.contracts import Broker, QueueShare, Subscription
from heeler.errors import BrokerUnavailable
from heeler.io_thread import Handoff
from heeler.model import Settlement, WorkerPresence
from heeler.worker.announcer import Announcer
from heeler.worker.command_listener import CommandListener
from heeler.worker.faults import Faults
from heeler.worker.fetcher import Fetcher
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.run import Interrupt, Run
from heeler.worker.settler import Settler
from heeler.worker.shutdown import Shutdown, StopRequest
from heeler.worker.slots import Slots
from heeler.worker.unknown_tasks import UnknownTasks

__all__ = ["IoSide", "Profile", "TaskLoop", "WorkerState"]

T = TypeVar("T")
WorkerState = Literal["new", "starting", "running", "quiet", "stopping", "stopped"]


class Profile(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What kind of worker it is."""

    id: str
    name: str
    tasks: Mapping[str, Any]
    queues: Sequence[QueueShare]
    concurrency: int
    lease: float
    grace: float
    burst: bool


class TaskLoop(Protocol):
    """What the I/O thread may ask of the task loop; each call returns at once and takes effect there."""

    def ring(self) -> None:
        """Something is in line."""

    def full_tasks(self) -> frozenset[str]:
        """The tasks that may have no more runs here now."""
        ...

    def interrupt(self, run: Run, why: Interrupt) -> None:
        """End a run."""

    def start_marked(self, runs: list[Run]) -> None:
        """The broker knows that these start."""

    def ping(self, answer: Callable[[], object]) -> None:
        """Call back from the loop."""

    def stop_starting(self) -> None:
        """Start nothing more."""


class IoSide:
    """Made anywhere; `work` is its life on the I/O thread.

    The task loop reaches it through `settlements`, `news` and `marks`, and by `poke`. `on_state` is told how far the
    worker is, `may_fetch` asks the middleware.
    """

    def __init__(
        self,
        profile: Profile,
        connections: Connections,
        slots: Slots,
        logger: logging.Logger,
        *,
        on_error: Callable[[BaseException, str], None] | None,
        may_fetch: Callable[[], bool],
        on_state: Callable[[WorkerState], None],
        presence: Callable[[], WorkerPresence],
    ) -> None:
        self._profile = profile
        self._connections = connections
        self._clock = connections.clock
        self._slots = slots
        self._logger = logger
        self._faults = Faults(profile.name, self._clock, logger, on_error)
        self._may_fetch = may_fetch
        self._on_state = on_state
        self._presence = presence
        self._loop = connections.io.loop
        self.request = StopRequest(profile.grace)
        self.settlements: Handoff[Settlement] = Handoff(self._loop, self._take_settlements)
        self.news: Handoff[Run] = Handoff(self._loop, lambda runs: self._keeper.hear(runs))
        self.marks: Handoff[Run] = Handoff(self._loop, lambda runs: self._keeper.mark(runs))
        self._settler: Settler
        self._keeper: LeaseKeeper
        self._fetcher: Fetcher
        self._shutdown: Shutdown

    def poke(self) -> None:
        """From any thread: something moved, there may be room."""
        self._loop.call_soon_threadsafe(self._notice)

    def drop(self) -> None:
        """From any thread: a run ended, and there is nothing to settle."""
        self._loop.call_soon_threadsafe(self._count_dropped)

    async def work(self, task_loop: TaskLoop) -> None:
        """Connect, work until a stop is asked for (or with `burst` nothing is left), and end in order.

        Raises what makes a start impossible, and what ends a part that should go on.
        """
        opened = await self._open()
        if opened is None:
            return
        broker, subscription = opened
        self._build(broker, subscription, task_loop)
        fetching = asyncio.create_task(self._fetcher.run(), name=f"heeler-fetcher {self._profile.name}")
        keeping = asyncio.create_task(self._keeper.run(), name=f"heeler-lease-keeper {self._profile.name}")
        announcer, others = self._talk(broker)
        self._on_state("running")
        stop = asyncio.create_task(self.request.made.wait())
        try:
            await self._until_stop(fetching, keeping, stop)
            self._on_state("stopping")
            await self._shutdown.carry_out()
        finally:
            for task in (stop, fetching, keeping, *others):
                task.cancel()
            await asyncio.gather(stop, fetching, keeping, *others, return_exceptions=True)
            self._fetcher.close()
            await self._settler.close()
            if announcer is not None:
                await announcer.withdraw()

    async def _until_stop(
        self, fetching: asyncio.Task[None], keeping: asyncio.Task[None], stop: asyncio.Task[Any]
    ) -> None:
        """Until a stop is asked for. A worker that was told to be quiet lives on without its fetcher."""
        while not stop.done():
            parts: list[asyncio.Task[Any]] = [stop, keeping]
            if not fetching.done():
                parts.append(fetching)
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in (keeping, fetching):
                if part.done() and not part.cancelled() and part.exception() is not None:
                    self._faults.tell(part.exception() or RuntimeError(), part.get_name())
                    part.result()
            if fetching.done() and self._profile.burst:
                return

    async def _open(self) -> tuple[Broker, Subscription] | None:
        """The open broker and the subscription; None if a stop was asked for before they could be had."""
        profile = self._profile
        broker = await self._insist("connect", self._connections.opened)
        if broker is None:
            return None
        subscription = await self._insist(
            "subscribe", lambda: broker.subscribe(profile.queues, profile.lease, profile.id)
        )
        return None if subscription is None else (broker, subscription)

    async def _insist(self, where: str, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Try until the broker answers, or a stop is asked for."""
        while not self.request.made.is_set():
            try:
                result = await attempt()
            except BrokerUnavailable as error:
                try:
                    async with asyncio.timeout(self._faults.failed(where, error)):
                        await self.request.made.wait()
                except TimeoutError:
                    pass
            else:
                self._faults.recovered(where)
                return result
        return None

    def _build(self, broker: Broker, subscription: Subscription, task_loop: TaskLoop) -> None:
        profile = self._profile
        self._settler = Settler(
            broker,
            self._clock,
            self._faults,
            self._logger,
            idle=lambda: self._slots.in_hand == 0,
            on_answered=self._answered,
        )
        self._keeper = keeper = LeaseKeeper(
            broker,
            self._clock,
            self._faults,
            self._logger,
            lease=profile.lease,
            worker_id=profile.id,
            on_interrupt=task_loop.interrupt,
            on_marked=task_loop.start_marked,
            ping=lambda: task_loop.ping(lambda: self._loop.call_soon_threadsafe(keeper.pulse)),
        )
        self._fetcher = Fetcher(
            subscription,
            self._slots,
            keeper,
            self._settler,
            UnknownTasks(broker, self._clock, profile.tasks, profile.id),
            self._clock,
            self._faults,
            worker_id=profile.id,
            may_fetch=self._may_fetch,
            full_tasks=task_loop.full_tasks,
            ring=task_loop.ring,
            burst=profile.burst,
        )
        self._shutdown = Shutdown(
            profile.name,
            self.request,
            self._slots,
            self._fetcher,
            keeper,
            self._settler,
            self._clock,
            self._logger,
            worker_id=profile.id,
            stop_starting=task_loop.stop_starting,
            interrupt=task_loop.interrupt,
        )

    def _talk(self, broker: Broker) -> tuple[Announcer | None, list[asyncio.Task[Any]]]:
        """Announce this worker and listen for commands, where the broker can do that."""
        control = broker.control
        if control is None:
            return None, []
        profile = self._profile
        announcer = Announcer(control, self._clock, self._faults, self._presence)
        listener = CommandListener(
            control,
            self._clock,
            self._faults,
            profile.id,
            profile.name,
            cancel=self._keeper.ask,
            quiet=lambda: self._go_quiet(announcer),
            stop=self.request.stop,
        )
        return announcer, [
            asyncio.create_task(announcer.run(), name=f"heeler-announcer {profile.name}"),
            asyncio.create_task(listener.run(), name=f"heeler-command-listener {profile.name}"),
        ]

    def _go_quiet(self, announcer: Announcer) -> None:
        self._logger.info("worker %s: told to be quiet; it finishes what it has", self._profile.name)
        self._on_state("quiet")
        announcer.announce_again()
        self._connections.io.spawn(self._shutdown.go_quiet(), name=f"heeler-quiet {self._profile.name}")

    def _take_settlements(self, settlements: list[Settlement]) -> None:
        self._slots.ended += len(settlements)
        self._settler.add(settlements)
        self._notice()

    def _count_dropped(self) -> None:
        self._slots.ended += 1
        self._notice()

    def _answered(self, settlements: list[Settlement]) -> None:
        self._keeper.drop(settlements)
        self._notice()

    def _notice(self) -> None:
        self._fetcher.wake()
        self._shutdown.notice()
