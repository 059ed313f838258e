"""What one worker takes from its queues in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.publishing import Places, call_arguments
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.settling import Settling
from heeler.brokers.redis.stored import NotStored, envelope_of, expiry_of, mark_of
from heeler.clock import Clock, new_id
from heeler.contracts import QueueShare, Subscription
from heeler.errors import HeelerError
from heeler.model import Action, Delivery, Receipt, Settlement

__all__ = ["RedisSubscription"]

_MOST = 1000  # jobs that one script leases
_SWEEP = 2.0  # seconds, a little more or less, after which a sleeper looks whether it still stands on the list
_NOT_EARLY = 0.001  # seconds by which loops may ring too early: then there would be nothing yet
_PATIENCE = 0.25  # seconds that a job which came with a wake-up waits to be fetched
_GRACE = 0.001  # seconds that lying down again waits for the end of a job that came so, which is in more of a hurry
_FIXED = 7  # items of the reply before the ids and the jobs

logger = logging.getLogger("heeler.broker.redis")


class RedisSubscription(Subscription):
    """Fetches, and lies down on the server's list of sleepers when there is nothing.

    A push wakes it, perhaps with a job, or the alarm that it was given for what comes by time. `spawn` starts a
    background task that the broker ends when it is closed.
    """

    def __init__(
        self,
        link: Link,
        listener: Listener,
        options: RedisOptions,
        clock: Clock,
        shares: Sequence[QueueShare],
        lease: float,
        spawn: Callable[..., asyncio.Task[None]],
    ) -> None:
        self._link = link
        self._listener = listener
        self._options = options
        self._clock = clock
        self._queues = [share.queue for share in shares]
        is_strict = all(share.weight is None for share in shares) or len(shares) == 1
        self._weights = [] if is_strict else [1 if share.weight is None else share.weight for share in shares]
        self._credits: list[Argument] = [0 for _ in self._weights]
        self._lease = lease
        self._spawn = spawn
        self._address = ""
        self._bell = asyncio.Event()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._skipped: frozenset[str] = frozenset()  # the tasks that the last fetch passed over do not wake us
        self._asleep = False  # on the server's list, as far as we know
        self._got_up = False  # taken off it since the last script was sent
        self._takes = False  # a job may come with the wake-up
        self._attended = False  # somebody waits in `ready`
        self._will_fetch = False  # who waited there was not cancelled
        self._quiet = False
        self._origin = b""
        self._handed: list[
            tuple[float, bytes]
        ] = []  # jobs that came with wake-ups: when they were leased, what is stored
        self._too_late: asyncio.TimerHandle | None = None
        self._is_fresh = False  # such a job was fetched just now

    async def open(self) -> None:
        """Raises BrokerUnavailable or ConfigurationError."""
        self._address = await self._listener.listen(self._heard, self._missed)

    # Waiting

    async def ready(self) -> None:
        await self._listener.connected()
        self._attended = self._will_fetch = True
        try:
            if self._handed:
                return
            if self._is_fresh:
                self._is_fresh = False
                await self._link.until_next_call(_GRACE)
            if not (self._asleep and self._takes) and not self._quiet and not await self._look():
                return
            while not self._bell.is_set():
                try:
                    async with asyncio.timeout(_SWEEP * (0.75 + self._clock.random() / 2)):
                        await self._bell.wait()
                except TimeoutError:
                    if not self._quiet and not await self._look():
                        return
        except asyncio.CancelledError:
            self._will_fetch = False
            if self._handed:
                self._give_back_later()
            elif self._bell.is_set() and not self._quiet:
                self._pass_on_later()
            raise
        finally:
            self._attended = False

    async def _look(self) -> bool:
        """Lie down if there is nothing; whether we sleep."""
        reply = await self._run_fetch(0, 0, self._skipped)
        return bool(reply[1] == b"S")

    def _heard(self, message: bytes) -> None:
        if message == b"w":  # somebody took us off the list because there is work
            self._get_up()
            self._drop_alarm()
            if not self._attended and not self._quiet:
                self._pass_on_later()
        elif message.startswith(b"j "):  # the same, and here is the job
            _, time, stored = message.split(b" ", 2)
            self._handed.append((float(time), stored))
            self._get_up()
            if self._quiet:
                pass  # it is given back when all has been heard
            elif not self._will_fetch:
                self._give_back_later()
            elif self._too_late is None:
                self._too_late = asyncio.get_running_loop().call_later(_PATIENCE, self._give_back_later)
        elif message.startswith(b"a "):  # perhaps before the reply that says that we are asleep
            self._set_alarm(float(message[2:]))

    def _get_up(self) -> None:
        self._asleep = False
        self._got_up = True
        self._bell.set()

    def _give_back_later(self) -> None:
        if self._handed:
            self._spawn(self._give_back(), name="heeler-redis-give-back")

    async def _give_back(self) -> None:
        """Jobs that came and that nobody fetches."""
        handed = self._take_handed(len(self._handed))
        try:
            settlements = [
                Settlement(delivery=delivery, action=Action.RELEASE) for delivery in await self._of_handed(handed)
            ]
            if settlements:
                settling = Settling(settlements, self._options, Places())
                await self._link.run(script(settling.script), *call_arguments(None), "", *settling.arguments)
        except HeelerError as error:
            logger.warning("%d jobs could not be given back, so they wait for their lease: %s", len(handed), error)

    def _take_handed(self, most: int) -> list[tuple[float, bytes]]:
        taken, self._handed = self._handed[:most], self._handed[most:]
        if not self._handed and self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
        return taken

    async def _of_handed(self, handed: list[tuple[float, bytes]]) -> list[Delivery]:
        return [delivery for at, stored in handed for delivery in await self._deliveries(at, [stored, b""])]

    def _missed(self) -> None:
        """The connection was lost: we may have been woken in vain, or stand on no list."""
        self._asleep = False
        self._bell.set()

    def _set_alarm(self, seconds: float) -> None:
        """Ring in so many seconds, if nothing rings earlier."""
        at = self._clock.monotonic() + seconds
        if self._alarm is None or at < self._alarm_at:
            self._drop_alarm()
            self._alarm_at = at
            self._alarm = self._spawn(self._ring_in(seconds), name="heeler-redis-alarm")

    def _drop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _ring_in(self, seconds: float) -> None:
        await self._clock.sleep(seconds + _NOT_EARLY)
        self._alarm = None
        self._bell.set()
        if not self._attended and not self._quiet:
            self._pass_on_later()

    def _pass_on_later(self) -> None:
        self._spawn(self._pass_on(), name="heeler-redis-pass-on")

    async def _pass_on(self) -> None:
        """We will not come: let another one."""
        self._asleep = False
        self._drop_alarm()
        try:
            await self._link.run(script("pass_on"), self._address, len(self._queues), *self._queues)
        except HeelerError as error:
            logger.warning(
                "a wake-up could not be passed on, so another worker finds the job a little later: %s", error
            )

    # Fetching

    async def fetch(
        self, limit: int, max_bytes: int = 16 << 20, skip_tasks: frozenset[str] = frozenset()
    ) -> list[Delivery]:
        if self._quiet or limit <= 0:
            return []
        self._will_fetch = True
        self._skipped = skip_tasks
        if self._handed:
            self._is_fresh = True
            return await self._of_handed(self._take_handed(limit))
        reply = await self._run_fetch(min(limit, _MOST), max_bytes, skip_tasks)
        begin = _FIXED + int(reply[_FIXED - 1])
        if begin > _FIXED:
            await self._link.run(script("drop"), begin - _FIXED, *reply[_FIXED:begin])
        return await self._deliveries(float(reply[0]), reply[begin:]) if len(reply) > begin else []

    async def _run_fetch(self, limit: int, max_bytes: int, skipped: frozenset[str]) -> list[bytes]:
        self._bell.clear()
        is_on_a_list = self._asleep or self._alarm is not None
        self._drop_alarm()
        self._got_up = False
        reply: list[bytes] = await self._link.run(
            script("fetch"),
            self._lease,
            limit,
            max_bytes,
            self._address,
            "1" if is_on_a_list else "",
            new_id(),
            len(self._queues),
            *self._queues,
            len(self._weights),
            *self._weights,
            len(self._credits),
            *self._credits,
            len(skipped),
            *skipped,
        )
        _, sleep, wake_in, origin, credits, lost, *_ = reply
        self._asleep = sleep == b"S" and not self._got_up
        self._takes = limit == 0
        if wake_in:
            self._set_alarm(float(wake_in))
        if self._weights:
            self._credits = [float(credit) for credit in credits.split()]
        if origin != self._origin:
            self._met(origin)
        if lost != b"0":
            logger.error(
                "%s: %s jobs had lost their content, so they are gone; does the server evict keys (maxmemory-policy)?",
                self._options.shown,
                lost.decode(),
            )
        return reply

    def _met(self, origin: bytes) -> None:
        if self._origin:
            logger.error(
                "%s: the server's data are not those of a moment ago (flushed, or restarted without persistence): jobs "
                "that were only there are lost; the worker goes on",
                self._options.shown,
            )
        self._origin = origin

    async def _deliveries(self, now: float, jobs: list[bytes]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        garbage: list[tuple[bytes, str]] = []
        for n in range(0, len(jobs), 2):
            stored, history = jobs[n], jobs[n + 1]
            try:
                envelope = envelope_of(stored)
            except NotStored as error:
                garbage.append((stored, str(error)))
                continue
            if not history:
                deliveries.append(
                    Delivery(
                        envelope=envelope,
                        receipt=Receipt(envelope.id, 1, mark_of(stored)),
                        leased_at=now,
                        expires_at=expiry_of(stored),
                    )
                )
            else:
                epoch, attempts, crashes, suspect, note = history.split(b" ", 4)
                deliveries.append(
                    Delivery(
                        envelope=envelope,
                        receipt=Receipt(envelope.id, int(epoch), mark_of(stored)),
                        leased_at=now,
                        expires_at=expiry_of(stored),
                        attempts=int(attempts),
                        crashes=int(crashes),
                        suspect=suspect == b"1",
                        note=note,
                    )
                )
        if garbage:
            await self._park(garbage)
        return deliveries

    async def _park(self, garbage: list[tuple[bytes, str]]) -> None:
        """Bytes that are no envelope go to the dead letters as they are."""
        arguments: list[Argument] = []
        for stored, reason in garbage:
            logger.error("%s: bytes that are no job go to the dead letters: %s", self._options.shown, reason)
            arguments += [stored, reason]
        await self._link.run(
            script("park"),
            self._options.dead_letter_ttl,
            self._options.dead_letter_limit,
            len(self._queues),
            *self._queues,
            len(garbage),
            *arguments,
        )

    async def quiet(self) -> None:
        if self._quiet:
            return
        self._quiet = True
        await self._pass_on()
        await self._listener.stop(self._address)
        await self._give_back()
