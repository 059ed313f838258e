"""The worker's parts on the I/O thread, all made in one place, from the first connection to the last settlement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from heeler.codecs import Codecs
from heeler.connections import Connections
from heeler.contracts import Broker, Needs, QueueShare, Subscription, WireFormat
from heeler.errors import BrokerUnavailable
from heeler.event_teller import EventTeller
from heeler.io_thread import Handoff
from heeler.middleware import sent_jobs, tell_all
from heeler.model import Envelope, Publication, Sending, Settlement, SettleResult
from heeler.worker.announcer import Announcer
from heeler.worker.command_listener import CommandListener
from heeler.worker.completing import Completer
from heeler.worker.faults import Faults
from heeler.worker.fetcher import Fetcher
from heeler.worker.herald import Herald
from heeler.worker.label import label_of
from heeler.worker.lease_keeper import LeaseKeeper
from heeler.worker.placed_runs import PlacedRuns
from heeler.worker.portrait import Portrait
from heeler.worker.run import Interrupt, Run
from heeler.worker.settler import Settler
from heeler.worker.shutdown import Shutdown, StopRequest
from heeler.worker.slots import Slots
from heeler.worker.tally import Tally
from heeler.worker.travelling import Travelling
from heeler.worker.unknown_tasks import UnknownTasks
from heeler.worker.vitals import Vitals
from heeler.worker.witness import Witness

__all__ = ["Beside", "IoSide", "Profile", "TaskLoop", "WorkerState"]

T = TypeVar("T")
KNOWN_WITHIN = 1.0
SettledHook = Callable[[Sequence[Settlement], Sequence[SettleResult], float], None]
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


class Beside(Protocol):
    """What lives beside the worker's own parts on the I/O thread, and has nothing to do with its jobs."""

    ready: asyncio.Event

    async def run(self) -> None:
        """Until it is cancelled."""


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
    worker is, `may_fetch` asks the middleware, `on_settled` and `on_sent` are its hooks of
    those names.
    """

    def __init__(
        self,
        profile: Profile,
        connections: Connections,
        slots: Slots,
        logger: logging.Logger,
        *,
        on_error: Callable[[BaseException, str], None] | None,
        on_settled: Sequence[Callable[..., Any]] = (),
        on_sent: Sequence[Callable[..., Any]] = (),
        teller: EventTeller,
        may_fetch: Callable[[], bool],
        on_state: Callable[[WorkerState], None],
        codecs: Codecs,
        formats: Mapping[str, WireFormat],
        beside: Callable[[], Beside] | None = None,
        vitals: Vitals | None = None,
    ) -> None:
        self._profile = profile
        self._connections = connections
        self._clock = connections.clock
        self._slots = slots
        self._logger = logger
        self._teller = teller
        self._herald = Herald(teller, profile.id, self._clock)
        self._tally = Tally(self._clock)
        told = _told_both(self._herald.fault, on_error)
        self._label = label_of(profile.name)
        self._faults = Faults(self._label, self._clock, logger, told)
        self._on_settled = on_settled
        self._on_sent = on_sent
        self._may_fetch = may_fetch
        self._tell_state = on_state
        self._vitals = vitals
        if vitals is not None:
            vitals.faults = self._faults
        self._codecs = codecs
        self._formats = formats
        self._make_beside = beside
        self._beside: Beside | None = None
        self._state: WorkerState = "starting"
        self._loop = connections.io.loop
        self.request = StopRequest(profile.grace)
        self.settlements: Handoff[Settlement] = Handoff(self._loop, self._take_settlements)
        self.news: Handoff[Run] = Handoff(self._loop, lambda runs: self._keeper.hear(runs))
        self.marks: Handoff[Run] = Handoff(self._loop, lambda runs: self._keeper.mark(runs))
        self._settler: Settler
        self._keeper: LeaseKeeper
        self._fetcher: Fetcher
        self._shutdown: Shutdown
        self._announcer: Announcer | None = None
        self._listener: CommandListener | None = None

    def poke(self) -> None:
        """From any thread: something moved, there may be room."""
        self._loop.call_soon_threadsafe(self._notice)

    def drop(self) -> None:
        """From any thread: a run ended, and there is nothing to settle."""
        self._loop.call_soon_threadsafe(self._count_dropped)

    async def work(self, task_loop: TaskLoop) -> None:
        """Connect, work until a stop is asked for (or with `burst` nothing is left), and end in order.

        Raises what makes a start impossible, and what ends a part that should go on; when the broker is given up,
        what runs is finished first.
        """
        opened = await self._open()
        if opened is None:
            return
        broker, subscription = opened
        self._build(broker, subscription, task_loop)
        keeping = asyncio.create_task(self._keeper.run(), name=f"heeler-lease-keeper {self._profile.name}")
        self._state = "running"
        others = [*self._talk(broker), *self._start_beside()]
        given_up: BrokerUnavailable | None = None
        stop = asyncio.create_task(_first_of(self.request.made, self._faults.gave_up))
        tasks: list[asyncio.Task[Any]] = [stop, keeping, *others]
        try:
            await self._be_known()
            self._herald.started()
            fetching = asyncio.create_task(self._fetcher.run(), name=f"heeler-fetcher {self._profile.name}")
            tasks.append(fetching)
            await self._until_stop(fetching, keeping, stop)
            if not self.request.made.is_set() and (given_up := self._faults.final) is not None:
                self._logger.warning("%s: gives the broker up, and stops when what runs has ended", self._label)
            self._enter("stopping")
            await self._shutdown.carry_out()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._fetcher.close()
            await self._settler.close()
            if self._announcer is not None:
                await self._announcer.withdraw()
            self._herald.entered("stopped")
            await self._teller.drained()
        if given_up is not None:
            raise given_up

    async def _be_known(self) -> None:
        """Be ready only when others can see this worker and reach it, unless the broker is slow to hear of it."""
        try:
            async with asyncio.timeout(KNOWN_WITHIN):
                if self._listener is not None:
                    await self._listener.listening.wait()
                if self._announcer is not None:
                    await self._announcer.announced.wait()
                if self._beside is not None:
                    await self._beside.ready.wait()
        except TimeoutError:
            pass
        self._tell_state("running")
        if self._state != "running":  # somebody reached it at once
            self._tell_state(self._state)

    async def _until_stop(
        self, fetching: asyncio.Task[None], keeping: asyncio.Task[None], stop: asyncio.Task[Any]
    ) -> None:
        """Until a stop is asked for, or the broker is given up.

        A worker that was told to be quiet lives on without its fetcher.
        """
        while True:
            for part in (keeping, fetching):
                if part.done() and not part.cancelled() and part.exception() is not None:
                    self._faults.tell(part.exception() or RuntimeError(), part.get_name())
                    part.result()
            if stop.done() or (self._profile.burst and fetching.done()):
                return
            parts: list[asyncio.Task[Any]] = [stop, keeping]
            if not fetching.done():
                parts.append(fetching)
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)

    async def _open(self) -> tuple[Broker, Subscription] | None:
        """The open broker and the subscription; None if a stop was asked for before they could be had."""
        profile = self._profile
        broker = await self._insist("connect", self._connections.opened)
        if broker is None:
            return None
        subscription = await self._insist(
            "subscribe", lambda: broker.subscribe(profile.queues, profile.lease, profile.id)
        )
        if subscription is None:
            return None
        self._say_caveats(broker)
        return broker, subscription

    def _say_caveats(self, broker: Broker) -> None:
        """What the broker keeps otherwise than this worker's tasks and queues ask for: once, at the start."""
        options = {name: task.spec.options for name, task in self._profile.tasks.items()}
        needs = Needs(
            priorities=any(one.priority for one in options.values()),
            weights=any(share.weight is not None for share in self._profile.queues),
            timeouts={name: one.timeout for name, one in options.items()},
        )
        for level, topic, text in broker.caveats(needs):
            at = logging.INFO if level == "info" else logging.WARNING
            self._logger.log(at, "%s: %s: %s", self._label, topic, text)

    async def _insist(self, where: str, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Try until the broker answers, or a stop is asked for. Raises what is final."""
        stop = asyncio.create_task(self.request.made.wait())
        try:
            while not stop.done():
                trying = asyncio.create_task(attempt())
                await asyncio.wait([trying, stop], return_when=asyncio.FIRST_COMPLETED)
                if not trying.done():
                    trying.cancel()
                    await asyncio.gather(trying, return_exceptions=True)
                    return None
                try:
                    result = trying.result()
                except BrokerUnavailable as error:
                    pause = self._faults.failed(where, error)
                    if error.given_up:
                        raise
                    await asyncio.wait([stop], timeout=pause)
                else:
                    self._faults.recovered(where)
                    return result
            return None
        finally:
            stop.cancel()

    def _placed_runs(self, broker: Broker) -> PlacedRuns:
        store = self._connections.store
        if store is None or not store.readable or not broker.features.joins:
            return PlacedRuns(None, None, self._clock, self._profile.id)
        completer = Completer(store, self._codecs, self._formats, self._profile.tasks)
        return PlacedRuns(store, completer, self._clock, self._profile.id, self._let_go)

    def _let_go(self, jobs: Sequence[Envelope]) -> None:
        """Jobs of workflows whose turn has come are as good as sent now."""
        self._herald.let_go(jobs)
        if self._on_sent:
            now = self._clock.time()
            tell_all(self._on_sent, Sending(sent_jobs(Publication(envelopes=tuple(jobs))), now, now))

    def _build(self, broker: Broker, subscription: Subscription, task_loop: TaskLoop) -> None:
        profile = self._profile
        witness = Witness(self._on_settled, profile.id, self._clock) if self._on_settled else None
        self._settler = Settler(
            broker,
            self._clock,
            self._faults,
            self._logger,
            idle=lambda: self._slots.in_hand == 0,
            on_answered=self._answered,
            on_settled=self._when_settled(witness),
        )
        placed = self._placed_runs(broker)
        self._keeper = keeper = LeaseKeeper(
            broker,
            self._clock,
            self._faults,
            self._logger,
            lease=profile.lease,
            worker_id=profile.id,
            on_interrupt=self._herald.before(witness.before(task_loop.interrupt) if witness else task_loop.interrupt),
            on_marked=task_loop.start_marked,
            ping=lambda: task_loop.ping(lambda: self._loop.call_soon_threadsafe(keeper.pulse)),
            on_renewed=self._herald.renewed,
            cancelled=placed.cancelled,
        )
        self._herald.run_of = keeper.run_of
        if witness is not None:
            witness.run_of = keeper.run_of
        if self._vitals is not None:
            self._vitals.keeper = keeper
        self._fetcher = Fetcher(
            subscription,
            self._slots,
            keeper,
            self._settler,
            UnknownTasks(
                broker,
                self._clock,
                profile.tasks,
                profile.id,
                travelling=Travelling(self._codecs, self._formats, profile.tasks),
            ),
            placed,
            self._clock,
            self._faults,
            worker_id=profile.id,
            may_fetch=self._may_fetch,
            full_tasks=task_loop.full_tasks,
            ring=task_loop.ring,
            burst=profile.burst,
        )
        self._faults.on_recovery = self._fetcher.wake  # with `burst` it may be over now
        self._shutdown = Shutdown(
            self._label,
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

    def _when_settled(self, witness: Witness | None) -> SettledHook:
        """Who is told of settlements that are answered."""
        herald, tally = self._herald.settled, self._tally.settled

        def told(settlements: Sequence[Settlement], answers: Sequence[SettleResult], began: float) -> None:
            herald(settlements, answers)
            tally(settlements, answers)
            if witness is not None:
                witness.settled(settlements, answers, began)

        return told

    def _talk(self, broker: Broker) -> list[asyncio.Task[Any]]:
        """Announce this worker and listen for commands, where the broker can do that."""
        control = broker.control
        if control is None:
            return []
        profile = self._profile
        portrait = Portrait(profile, self._slots, self._keeper, self._tally, self._clock, lambda: self._state)
        self._announcer = announcer = Announcer(control, self._clock, self._faults, portrait.now)
        self._listener = listener = CommandListener(
            control,
            self._clock,
            self._faults,
            profile.id,
            profile.name,
            cancel=self._keeper.ask,
            quiet=self._go_quiet,
            stop=self.request.stop,
            announce=self._asked,
            follow=self._teller.followed,
        )
        return [
            asyncio.create_task(announcer.run(), name=f"heeler-announcer {profile.name}"),
            asyncio.create_task(listener.run(), name=f"heeler-command-listener {profile.name}"),
        ]

    def _start_beside(self) -> list[asyncio.Task[Any]]:
        if self._make_beside is None:
            return []
        self._beside = beside = self._make_beside()
        living = asyncio.create_task(beside.run(), name=f"heeler-beside {self._profile.name}")
        living.add_done_callback(self._beside_ended)
        return [living]

    def _beside_ended(self, living: asyncio.Task[None]) -> None:
        if not living.cancelled() and (error := living.exception()) is not None:
            self._faults.tell(error, "scheduler")
            self._logger.error("%s: starts no schedules any more: %s", self._label, error)

    def _asked(self) -> None:
        """Somebody wants to know now what this worker does."""
        self._tally.asked()
        if self._announcer is not None:
            self._announcer.announce_again()

    def _enter(self, state: WorkerState) -> None:
        self._state = state
        self._herald.entered(state)
        self._tell_state(state)
        if self._announcer is not None:
            self._announcer.announce_again()

    def _go_quiet(self) -> None:
        if self._state != "running":
            return
        self._logger.info("%s: told to be quiet; it finishes what it has", self._label)
        self._enter("quiet")
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


def _told_both(
    fault: Callable[[BaseException, str], None], on_error: Callable[[BaseException, str], None] | None
) -> Callable[[BaseException, str], None]:
    def told(error: BaseException, where: str) -> None:
        fault(error, where)
        if on_error is not None:
            on_error(error, where)

    return told


async def _first_of(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
