"""What one worker takes from its queues in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import NotStored, envelope_of, expiry_of, mark_of
from heeler.clock import Clock, new_id
from heeler.contracts import QueueShare, Subscription
from heeler.errors import HeelerError
from heeler.model import Delivery, Receipt

__all__ = ["RedisSubscription"]

_MOST = 1000  # jobs that one script leases
_SWEEP = 2.0  # seconds, a little more or less, after which a sleeper looks whether it still stands on the list
_NOT_EARLY = 0.001  # seconds by which loops may ring too early: then there would be nothing yet
_FIXED = 7  # items of the reply before the ids and the jobs

logger = logging.getLogger("heeler.broker.redis")


class RedisSubscription(Subscription):
    """Fetches, and lies down on the server's list of sleepers when there is nothing.

    A push wakes it, or the alarm that it was given for what comes by time. `spawn` starts a background task that the
    broker ends when it is closed.
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
        self._attended = False  # somebody waits in `ready`
        self._quiet = False
        self._origin = b""

    async def open(self) -> None:
        """Raises BrokerUnavailable or ConfigurationError."""
        self._address = await self._listener.listen(self._heard, self._missed)

    # Waiting

    async def ready(self) -> None:
        await self._listener.connected()
        self._attended = True
        try:
            if not self._asleep and not self._quiet and not await self._look():
                return
            while not self._bell.is_set():
                try:
                    async with asyncio.timeout(_SWEEP * (0.75 + self._clock.random() / 2)):
                        await self._bell.wait()
                except TimeoutError:
                    if not self._quiet and not await self._look():
                        return
        except asyncio.CancelledError:
            if self._bell.is_set() and not self._quiet:
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
            self._asleep = False
            self._drop_alarm()
            self._bell.set()
            if not self._attended and not self._quiet:
                self._pass_on_later()
        elif message.startswith(b"a "):  # perhaps before the reply that says that we are asleep
            self._set_alarm(float(message[2:]))

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
        self._skipped = skip_tasks
        reply = await self._run_fetch(min(limit, _MOST), max_bytes, skip_tasks)
        begin = _FIXED + int(reply[_FIXED - 1])
        if begin > _FIXED:
            await self._link.run(script("drop"), begin - _FIXED, *reply[_FIXED:begin])
        return await self._deliveries(float(reply[0]), reply[begin:]) if len(reply) > begin else []

    async def _run_fetch(self, limit: int, max_bytes: int, skipped: frozenset[str]) -> list[bytes]:
        self._bell.clear()
        self._drop_alarm()
        reply: list[bytes] = await self._link.run(
            script("fetch"),
            self._lease,
            limit,
            max_bytes,
            self._address,
            "1" if self._asleep else "",
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
        self._asleep = sleep == b"S"
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
        await self._listener.stop(self._address)
        await self._pass_on()
