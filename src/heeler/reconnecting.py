"""The one connection to a server that is made when it is needed, and made again when it was lost.

How often and how fast that is tried is the policy of the broker's URL, the same on every broker: `reconnect_attempts`,
`reconnect_delay`, `reconnect_max_delay`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from heeler.clock import Clock
from heeler.errors import BrokerUnavailable, HeelerError

__all__ = ["ReconnectPolicy", "Reconnecting"]

C = TypeVar("C")


class ReconnectPolicy(msgspec.Struct, frozen=True):
    """`attempts` in a row may fail (None: any number); the pauses between them grow from `delay` to `max_delay` s."""

    attempts: int | None = None
    delay: float = 0.05
    max_delay: float = 1.0

    def pause(self, failures: int, chance: float) -> float:
        """Seconds from the last of so many failures in a row to the next attempt: doubled, with up to half less."""
        return min(self.delay * 2.0 ** min(failures - 1, 30), self.max_delay) * (1.0 - chance / 2)


class Reconnecting(Generic[C]):
    """Lives on one loop. `connect` makes a connection, `server` is how it is called in errors.

    Whoever asks shares the attempt that is under way. Between attempts nobody is made to wait who has not said until
    when: the last error is the answer then, so that who stops is not held up.
    """

    def __init__(self, connect: Callable[[], Awaitable[C]], policy: ReconnectPolicy, clock: Clock, server: str) -> None:
        self._connect = connect
        self._policy = policy
        self._clock = clock
        self._server = server
        self._attempt: asyncio.Task[C] | None = None
        self._failures = 0
        self._error: HeelerError | None = None  # of the last attempt
        self._again_at = 0.0
        self._closed = False
        self.current: C | None = None
        """The connection, if there is one now."""

    def lost(self) -> None:
        """There is none any more; the next who asks makes another."""
        self.current = None

    async def get(self, until: float | None = None) -> C:
        """The connection; if there is none, by one attempt, or by as many as fit before that time of the loop's clock.

        Raises BrokerUnavailable (`given_up` when as many attempts have failed as the policy allows) or
        ConfigurationError.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self.current is not None:
                return self.current
            if self._closed:
                raise BrokerUnavailable(f"{self._server}: the broker is closed in this process")
            if self._attempt is None:
                if self._error is not None and loop.time() < self._again_at:
                    if until is None or self._again_at > until or not _passes(self._error):
                        raise self._error.with_traceback(None)
                    await asyncio.sleep(self._again_at - loop.time())
                    continue
                self._attempt = loop.create_task(self._try(), name="heeler-connect")
                self._attempt.add_done_callback(_look_at)
            try:
                async with asyncio.timeout_at(until):
                    return await asyncio.shield(self._attempt)
            except TimeoutError:
                raise self._error or BrokerUnavailable(f"{self._server} cannot be reached in time") from None
            except BrokerUnavailable as error:
                if until is None or error.given_up:
                    raise

    async def close(self) -> None:
        """Make no other; who waits for one is told. What there is stays as it is."""
        self._closed = True
        attempt = self._attempt
        if attempt is not None:
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)

    async def _try(self) -> C:
        try:
            made = await self._connect()
        except HeelerError as error:
            self._failures += 1
            self._again_at = asyncio.get_running_loop().time() + self._policy.pause(
                self._failures, self._clock.random()
            )
            self._error = self._judged(error)
            raise self._error from error
        else:
            self._failures = 0
            self._error = None
            self.current = made
            return made
        finally:
            self._attempt = None

    def _judged(self, error: HeelerError) -> HeelerError:
        """The error of an attempt; where it was the last one that the policy allows, it says so."""
        most = self._policy.attempts
        if most is None or self._failures < most or not isinstance(error, BrokerUnavailable):
            return error
        count = "1 attempt" if self._failures == 1 else f"{self._failures} attempts"
        return BrokerUnavailable(f"{error}; given up after {count} (reconnect_attempts={most})", given_up=True)


def _passes(error: HeelerError) -> bool:
    """Whether the next attempt may end otherwise."""
    return isinstance(error, BrokerUnavailable) and not error.given_up


def _look_at(attempt: asyncio.Task[C]) -> None:
    """Its error is told to who waits; where nobody waits any more, it is looked at here."""
    if not attempt.cancelled():
        attempt.exception()
