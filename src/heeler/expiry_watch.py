"""Jobs that somebody waits for are read again when they expire: there may be no worker who could tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from heeler.clock import Clock
from heeler.errors import BrokerUnavailable
from heeler.model import Envelope, ResultRecord, TaskStatus

__all__ = ["ExpiryWatch", "expires_at"]

_AFTER = 0.01  # seconds: the moment itself may still be in time
_PATIENCE = (2.0, 60.0)  # seconds until the next look at a job that has not ended, at first and at most
_AT_ONCE = 500

Read = Callable[[list[str]], Coroutine[Any, Any, list[ResultRecord | None]]]


def expires_at(envelope: Envelope) -> float | None:
    """When it expires by the producer's clock; the broker's own may differ."""
    if envelope.expires_in is None:
        return envelope.expires_at
    by_delay = envelope.enqueued_at + envelope.expires_in
    return by_delay if envelope.expires_at is None else min(by_delay, envelope.expires_at)


class ExpiryWatch:
    """Lives on the I/O thread. `ended` is called with the ids and records of jobs that were found to have ended."""

    def __init__(self, clock: Clock, read: Read, ended: Callable[[str, ResultRecord | None], None]) -> None:
        self._clock = clock
        self._read = read
        self._ended = ended
        self._looks: dict[str, tuple[float, float]] = {}  # when to look, and how long after that again
        self._sleep: asyncio.Task[None] | None = None
        self._until = float("inf")

    def add(self, records: Iterable[ResultRecord | None]) -> None:
        """Watch those of the jobs that have not ended and will expire."""
        for record in records:
            if record is None or record.status is not TaskStatus.READY:
                continue
            at = expires_at(record.envelope)
            if at is not None:
                self._looks[record.envelope.id] = (max(at, self._clock.time()) + _AFTER, _PATIENCE[0])
        self._arm()

    def discard(self, id: str) -> None:
        self._looks.pop(id, None)

    def close(self) -> None:
        self._looks.clear()
        if self._sleep is not None:
            self._sleep.cancel()
            self._sleep = None

    def _arm(self) -> None:
        first = min((at for at, _ in self._looks.values()), default=float("inf"))
        if self._sleep is not None and not self._sleep.done():
            if first >= self._until:
                return
            self._sleep.cancel()
        if self._looks:
            self._until = first
            self._sleep = asyncio.get_running_loop().create_task(self._look(first), name="heeler-expiry")

    async def _look(self, at: float) -> None:
        while True:
            await self._clock.sleep(max(0.0, at - self._clock.time()))
            now = self._clock.time()
            due = [id for id, (at, _) in self._looks.items() if at <= now]
            for start in range(0, len(due), _AT_ONCE):
                await self._look_at(due[start : start + _AT_ONCE])
            at = self._until = min((at for at, _ in self._looks.values()), default=float("inf"))
            if at == float("inf"):
                return

    async def _look_at(self, ids: list[str]) -> None:
        try:
            known = dict(zip(ids, await self._read(ids), strict=True))
        except BrokerUnavailable:  # whoever waits is told of it elsewhere
            known = {}
        for id in ids:
            if id not in self._looks:
                continue
            if id in known:
                record = known[id]
                if record is None or record.status is not TaskStatus.READY:
                    del self._looks[id]
                    if record is None or record.status.is_finished:
                        self._ended(id, record)
                    continue
            _, patience = self._looks[id]
            self._looks[id] = (self._clock.time() + patience, min(2 * patience, _PATIENCE[1]))
