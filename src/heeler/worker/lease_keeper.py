"""Keeps the leases of all that is in hand, carries what running jobs say, and learns what is lost or cancelled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from heeler.clock import Clock
from heeler.contracts import Broker
from heeler.model import Delivery, Renewal, RunReport, Settlement
from heeler.worker.decide import read_note
from heeler.worker.faults import Faults
from heeler.worker.run import Interrupt, Run

__all__ = ["LeaseKeeper"]

ANNOUNCED_AFTER = 0.25  # runs that are shorter go from READY to their end
NEWS_EVERY = 0.05  # progress reports are coalesced over this time
MAX_BLOCK = 600.0  # a task loop that is silent for longer is taken for dead
LARGEST_BATCH = 2000


class LeaseKeeper:
    """Lives on the I/O thread.

    `on_interrupt` is told which runs to end and why, `on_marked` which runs may start now, both on this thread.
    `ping` asks the task loop for a sign of life; the answer is a call of `pulse`. `on_renewed` gets all that the broker
    has answered, before the runs learn of it. `cancelled` finds out which of some scopes of workflows are cancelled.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        faults: Faults,
        logger: logging.Logger,
        *,
        lease: float,
        worker_id: str,
        on_interrupt: Callable[[Run, Interrupt], None],
        on_marked: Callable[[list[Run]], None],
        ping: Callable[[], None],
        on_renewed: Callable[[list[Renewal], list[Run]], None] = lambda renewals, runs: None,
        cancelled: Callable[[Sequence[str]], Awaitable[frozenset[str]]] | None = None,
        max_block: float = MAX_BLOCK,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._faults = faults
        self._logger = logger
        self._lease = lease
        self._worker_id = worker_id
        self._on_interrupt = on_interrupt
        self._on_marked = on_marked
        self._ping = ping
        self._on_renewed = on_renewed
        self._cancelled = cancelled
        self._max_block = max_block
        self._held: dict[str, Run] = {}
        self._marking: list[Run] = []
        self._asked: set[str] = set()
        self._due = math.inf  # when to look again
        self._renew_at = math.inf
        self._pinged_at: float | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    # What the other parts tell

    def hold(self, runs: Iterable[Run], now: float) -> None:
        """Keep the leases of these from now on."""
        held = self._held
        for run in runs:
            run.renewed_at = now
            job = run.delivery.receipt.id
            older = held.get(job)
            if older is not None and not older.ended:
                # It came back to us under a new lease, so the old one is lost.
                self._on_interrupt(older, Interrupt.LOST)
            held[job] = run
        self._renew_at = min(self._renew_at, now + self._lease / 3)
        self._look_at(min(self._renew_at, now + ANNOUNCED_AFTER))

    def drop(self, settlements: list[Settlement]) -> None:
        """The broker has answered: these leases are over."""
        held = self._held
        for settlement in settlements:
            delivery = settlement.delivery
            run = held.get(delivery.receipt.id)
            if run is not None and run.delivery is delivery:
                del held[delivery.receipt.id]

    def mark(self, runs: list[Run]) -> None:
        """Write down that these start; `on_marked` follows when that is answered."""
        self._marking += runs
        self._look_at(self._clock.monotonic())

    def hear(self, runs: list[Run]) -> None:
        """These have something to report. All but the first report in a while wait for company."""
        self._look_at(self._clock.monotonic() + NEWS_EVERY / 2)

    def ask(self, ids: Iterable[str]) -> None:
        """Renew these at once, because somebody says they are cancelled."""
        asked = tuple(ids)
        self._asked.update(self._held.keys() & asked)
        # An id may be that of a workflow; those of its scopes begin with it.
        self._asked.update(
            job
            for job, run in self._held.items()
            if (scope := run.delivery.envelope.scope) is not None and scope.startswith(asked)
        )
        if self._asked:
            self._look_at(self._clock.monotonic())

    def pulse(self) -> None:
        """The task loop turns."""
        self._pinged_at = None

    def held_runs(self) -> list[Run]:
        return list(self._held.values())

    def run_of(self, delivery: Delivery) -> Run | None:
        """The run of this very delivery, as long as its lease is kept."""
        run = self._held.get(delivery.receipt.id)
        return run if run is not None and run.delivery is delivery else None

    def overdue(self, now: float) -> float:
        """How many seconds ago the first of the leases ran out that should have been renewed; 0 if none did."""
        kept = [run.renewed_at for run in self._held.values() if now < run.renew_until]
        return max(0.0, now - min(kept) - self._lease) if kept else 0.0

    def forget(self, run: Run) -> None:
        """Its lease is somebody else's."""
        if self._held.get(run.delivery.receipt.id) is run:
            del self._held[run.delivery.receipt.id]

    # What it does

    async def run(self) -> None:
        """Renew until cancelled. Nothing turns while nothing is held."""
        while True:
            await self._wait()
            now = self._clock.monotonic()
            self._due = math.inf
            marking, self._marking = self._marking, []
            renewals, runs = self._collect(now, marking)
            for start in range(0, len(renewals), LARGEST_BATCH):
                batch = slice(start, start + LARGEST_BATCH)
                if not await self._extend(renewals[batch], runs[batch]):
                    self._marking = marking + self._marking
                    break
            else:
                self._tell_marked(marking)
            self._plan(now)

    def _tell_marked(self, marking: list[Run]) -> None:
        marked = [run for run in marking if run.marked]
        if marked:
            self._on_marked(marked)
        # While the task loop is taken for dead nothing starts; it may come back.
        self._marking = [run for run in marking if not run.marked and not run.ended] + self._marking

    def _look_at(self, moment: float) -> None:
        if moment < self._due:
            self._due = moment
            self._changed.set()

    async def _wait(self) -> None:
        while True:
            self._changed.clear()
            left = self._due - self._clock.monotonic()
            if left <= 0:
                return
            if left == math.inf:
                await self._changed.wait()
                continue
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _plan(self, now: float) -> None:
        """When to look again: soon while something young runs, else when leases need it."""
        if not self._held:
            self._renew_at = math.inf
            self._faults.gave_way("extend")
            return
        young = any(not run.announced and not run.ended for run in self._held.values())
        self._look_at(min(self._renew_at, now + ANNOUNCED_AFTER) if young else self._renew_at)

    def _collect(self, now: float, marking: list[Run]) -> tuple[list[Renewal], list[Run]]:
        """What to say to the broker now."""
        everything = now >= self._renew_at
        if everything:
            self._renew_at = now + self._lease / 3
            self._listen_for_pulse(now)
        blocked = self._pinged_at is not None and now - self._pinged_at > self._max_block
        if blocked:
            self._logger.error(
                "the task loop has been silent for %.0f s, so no lease is renewed any more: some task blocks it "
                "(a coroutine that computes or sleeps without await)",
                now - (self._pinged_at or now),
            )
            return [], []
        starting = {id(run) for run in marking}
        renewals: list[Renewal] = []
        runs: list[Run] = []
        fresh = now - self._lease / 6
        announced_before = now - ANNOUNCED_AFTER
        asked, self._asked = self._asked, set()
        for run in self._held.values():
            news = False
            if not run.ended and run.started_at is not None:
                news = run.has_news or (not run.announced and run.started_mono <= announced_before)
            if (
                news
                or (everything and run.renewed_at <= fresh)
                or (starting and id(run) in starting)
                or (asked and run.delivery.receipt.id in asked)
            ) and now < run.renew_until:
                report = None
                if news:
                    run.has_news = False
                    report = self._report(run)
                marked = bool(starting) and id(run) in starting
                renewals.append(Renewal(delivery=run.delivery, started=marked or run.marked, report=report))
                runs.append(run)
        return renewals, runs

    def _report(self, run: Run) -> RunReport:
        delivery: Delivery = run.delivery
        return RunReport(
            started_at=read_note(delivery).started_at or run.started_at,
            at=self._clock.time(),
            attempt=delivery.attempts + 1,
            worker_id=self._worker_id,
            fraction=run.fraction,
            message=run.message,
            saved=run.saved,
        )

    async def _extend(self, renewals: list[Renewal], runs: list[Run]) -> bool:
        try:
            answer = await self._broker.extend(renewals, self._lease)
        except Exception as error:
            for renewal, run in zip(renewals, runs, strict=True):
                run.has_news = run.has_news or renewal.report is not None
            self._renew_at = self._clock.monotonic()
            await self._clock.sleep(self._faults.failed("extend", error))
            self._look_at(self._clock.monotonic())
            return False
        self._faults.recovered("extend")
        self._on_renewed(renewals, runs)
        now = self._clock.monotonic()
        for renewal, run in zip(renewals, runs, strict=True):
            job = run.delivery.receipt.id
            if job in answer.lost:
                # What has ended is in the settler's hands, whose answer decides.
                if not run.ended and self._held.get(job) is run:
                    del self._held[job]
                    self._on_interrupt(run, Interrupt.LOST)
                continue
            run.renewed_at = now
            run.marked = renewal.started
            run.announced = run.announced or renewal.report is not None
            if job in answer.cancelled and not run.ended:
                self._on_interrupt(run, Interrupt.CANCELLED)
        await self._look_for_cancelled_scopes(runs)
        return True

    async def _look_for_cancelled_scopes(self, runs: list[Run]) -> None:
        scoped = [run for run in runs if run.delivery.envelope.scope is not None and not run.ended]
        if not scoped or self._cancelled is None:
            return
        scopes = list(dict.fromkeys(run.delivery.envelope.scope or "" for run in scoped))
        try:
            cancelled = await self._cancelled(scopes)
        except Exception as error:  # the next renewal asks again
            self._faults.failed("workflows", error)
            return
        self._faults.recovered("workflows")
        for run in scoped:
            if run.delivery.envelope.scope in cancelled and not run.ended:
                self._on_interrupt(run, Interrupt.CANCELLED)

    def _listen_for_pulse(self, now: float) -> None:
        if self._pinged_at is None:
            self._pinged_at = now
            self._ping()
