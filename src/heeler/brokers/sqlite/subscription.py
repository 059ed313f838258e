"""What one worker takes from its queues of the file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import msgspec

from heeler.brokers.sqlite.endings import bury, forget_old
from heeler.brokers.sqlite.fetching import Waiting, fetch
from heeler.brokers.sqlite.leases import bring_back
from heeler.brokers.sqlite.passing_over import PassingOver
from heeler.brokers.sqlite.publishing import forget_job
from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.shares import Shares
from heeler.brokers.sqlite.sleepers import choose_some, go_to_sleep, is_listed, next_time
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope
from heeler.contracts import Subscription
from heeler.errors import HeelerError
from heeler.model import Delivery, Receipt

__all__ = ["SqliteSubscription"]

_MOST = 1000  # jobs that one transaction leases
_SWEEP = 1.0  # seconds between looks for wake-ups that were lost with a killed publisher
_TICK = 0.001  # seconds: loops round shorter sleeps down, so they would be many instead of one
_AFTER_ALARM = 0.25  # seconds after which one who has no alarm looks whether it was heard
_FORGET_IDLE = 64  # old records that an empty fetch drops

logger = logging.getLogger("heeler.broker.sqlite")


class SqliteSubscription(Subscription):
    """Fetches, and sleeps on the list of sleepers when there is nothing."""

    def __init__(self, session: Session, shares: Shares, lease: float) -> None:
        self._session = session
        self._shares = shares
        self._lease = lease
        self._clock = session.database.clock
        self._number, self._address = session.on_wake(self._wake)
        self._skipped: frozenset[str] = frozenset()  # the tasks that the last fetch passed over do not wake us
        self._passing_over = PassingOver()
        self._bell = asyncio.Event()
        self._asleep = False  # on the list, as far as we know
        self._attended = False  # somebody waits in `ready`
        self._alarm: float | None = None  # when to wake because nobody else will
        self._following: float | None = None  # when something comes by time, whoever has the alarm
        self._version = 0
        self._quiet = False
        self._looks_at = float("inf")
        self._watch: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        if not self._asleep and not self._quiet:
            with self._step() as step:
                bring_back(step, self._shares.queues)
                self._passing_over.begin(step, self._skipped)
                plan = self._lie_down(step)
            if plan is None:
                return
            self._fall_asleep(*plan)
        self._attended = True
        try:
            await self._bell.wait()
        except asyncio.CancelledError:
            if self._bell.is_set():
                self._pass_on()
            raise
        finally:
            self._attended = False

    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        if self._quiet or limit <= 0:
            return []
        self._skipped = skip_tasks
        queues = self._shares.queues
        plan = None
        with self._step() as step:
            now = step.now
            bring_back(step, queues)
            self._passing_over.begin(step, skip_tasks)
            for key in [key for key in step.new_ready if key[0] in queues]:
                del step.new_ready[key]  # we look for ourselves
            rows = fetch(step, self._shares, self._passing_over, self._lease, min(limit, _MOST), max_bytes)
            if rows:
                if self._asleep:
                    step.run("wake", (self._address,))
                if len(rows) >= limit or self._alarm is not None:  # what we leave, and our alarm, are for the next
                    for queue in queues:
                        choose_some(step, queue, 1)
            else:
                forget_old(step, _FORGET_IDLE)
                plan = self._lie_down(step)
        if plan is not None:
            self._fall_asleep(*plan)
        else:
            self._asleep = False
            self._alarm = None
        return self._deliveries(rows, now) if rows else []

    @contextlib.contextmanager
    def _step(self) -> Iterator[Step]:
        """A step that looks for jobs, so what it has seen is forgotten if it fails."""
        try:
            with self._session.step() as step:
                yield step
        except BaseException:
            self._passing_over.forget()
            raise

    async def quiet(self) -> None:
        if self._quiet:
            return
        self._quiet = True
        self._session.forget(self._number)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._pass_on()

    def _wake(self) -> None:
        """Somebody took us off the list because there is work."""
        self._asleep = False
        self._bell.set()
        if not self._attended:
            self._pass_on()

    def _pass_on(self) -> None:
        """We will not come: let another one."""
        self._asleep = False
        try:
            with self._session.step() as step:
                step.run("wake", (self._address,))
                for queue in self._shares.queues:
                    choose_some(step, queue, 1)
        except HeelerError as error:
            logger.warning(
                "a wake-up could not be passed on, so another worker finds the job a second later: %s", error
            )

    def _lie_down(self, step: Step) -> tuple[float | None, float | None] | None:
        """Put us on the list, unless there is work for us. The answer is what `go_to_sleep` says."""
        queues = self._shares.queues
        skips = self._passing_over.skips
        if any(self._passing_over.is_work_waiting(step, queue) for queue in queues):
            return None
        if skips is not None:
            for queue in queues:  # what we pass over may be for others
                choose_some(step, queue, 1)
        return go_to_sleep(step, queues, self._address, skips)

    def _fall_asleep(self, alarm: float | None, following: float | None) -> None:
        self._bell.clear()
        self._asleep = True
        self._alarm = alarm
        self._following = following
        self._version = self._session.brisk.pragma("data_version")
        looks_at = self._next_look()
        if self._watch is None or self._watch.done() or looks_at < self._looks_at:
            if self._watch is not None:
                self._watch.cancel()
            self._looks_at = looks_at
            self._watch = self._session.loop.create_task(self._watch_clock(), name="heeler sqlite watch")
            self._session.keep(self._watch)

    def _next_look(self) -> float:
        at = self._clock.time() + _SWEEP
        if self._alarm is not None:
            at = min(at, self._alarm)
        if self._following is not None:
            at = min(at, self._following + _AFTER_ALARM)
        return at

    async def _watch_clock(self) -> None:
        """Wake for what comes by time, and for what came while its publisher was killed before it could tell."""
        while True:
            left = self._looks_at - self._clock.time()
            await self._clock.sleep(_TICK if 0.0 < left < _TICK else max(0.0, left))
            if self._asleep:
                try:
                    found = self._look()
                except HeelerError:
                    found = True  # `fetch` meets the same, and has somebody to tell
                if found:
                    self._bell.set()
            self._looks_at = self._next_look()

    def _look(self) -> bool:
        now = self._clock.time()
        if self._alarm is not None and now >= self._alarm:
            return True
        missed = self._following is not None and now >= self._following + _AFTER_ALARM
        version = self._session.brisk.pragma("data_version")
        if version == self._version and not missed:
            return False
        self._version = version
        queues = self._shares.queues
        with self._session.brisk.reading() as reader:
            self._following = next_time(reader, queues)
            if self._following is not None and now >= self._following + _AFTER_ALARM:
                return True
            self._passing_over.begin(reader, self._skipped)
            return any(
                self._passing_over.is_work_waiting(reader, queue) or not is_listed(reader, queue, self._address)
                for queue in queues
            )

    def _deliveries(self, rows: list[Waiting], now: float) -> list[Delivery]:
        deliveries: list[Delivery] = []
        garbage: list[tuple[Waiting, str]] = []
        for row in rows:
            try:
                envelope = decode_envelope(row.envelope)
            except msgspec.DecodeError as error:
                garbage.append((row, f"the bytes are no envelope: {error}"))
                continue
            if row.epoch is None:
                deliveries.append(
                    Delivery(
                        envelope=envelope,
                        receipt=Receipt(envelope.id, 1, row.seq),
                        leased_at=now,
                        expires_at=row.expires_at,
                    )
                )
            else:
                lapsed = bool(row.held)
                deliveries.append(
                    Delivery(
                        envelope=envelope,
                        receipt=Receipt(envelope.id, row.epoch + 1, row.seq),
                        leased_at=now,
                        expires_at=row.expires_at,
                        attempts=row.attempts or 0,
                        crashes=(row.crashes or 0) + ((row.started or 0) if lapsed else 0),
                        suspect=lapsed or bool(row.suspect),
                        note=row.note or b"",
                    )
                )
        if garbage:
            self._park(garbage)
        return deliveries

    def _park(self, garbage: list[tuple[Waiting, str]]) -> None:
        """Bytes that are no envelope go to the dead letters as they are."""
        with self._session.step(durable=True) as step:
            for row, reason in garbage:
                (id,) = step.row("id_of", (row.seq,))
                bury(step, id, row.queue, "", (row.epoch or 0) + 1, row.envelope, reason=reason, raw=True)
                step.run("end_lease", (row.seq,))
                forget_job(step, row.seq)
