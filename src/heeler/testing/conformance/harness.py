"""What the author of a broker gives the suites: how to make one, and how to let time pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import pytest

from heeler.clock import Clock, new_id
from heeler.contracts import Broker
from heeler.io_thread import IoThread
from heeler.testing.conformance.worker import Worker
from heeler.testing.manual_clock import ManualClock

__all__ = ["Harness", "Suite"]


class Harness(ABC):
    """Makes brokers that all work on the same jobs, and no other test's.

    `denials` names the fields of `Features` that the broker denies. `clock` is for the brokers; one that counts
    time on a server's clock instead overrides `advance`, and really waits there.
    """

    denials: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.manual_clock = ManualClock()
        self.clock: Clock = self.manual_clock
        self.io = IoThread("heeler-conformance")
        self.namespace = f"test-{new_id()}"
        self._opened: list[Broker] = []

    @abstractmethod
    def make(self) -> Broker:
        """Another broker on the same jobs, not opened yet."""

    async def open(self) -> Broker:
        """Another broker on the same jobs, as another process would have it; open on the running loop."""
        broker = self.make()
        await broker.open()
        self._opened.append(broker)
        return broker

    async def worker(self, *queues: str, lease: float = 30.0, **weights: int) -> Worker:
        """A worker with a broker of its own, for queues in strict order or (`name=3`) by weight."""
        return await Worker.of(await self.open(), *queues, lease=lease, **weights)

    async def advance(self, seconds: float) -> None:
        """Let so much time pass on the brokers' clock."""
        self.manual_clock.advance(seconds)

    async def close(self) -> None:
        for broker in self._opened:
            await broker.close()
        self.io.close()


class Suite:
    """What all classes of the suites share: they are skipped where the promise they hold is denied."""

    pytestmark: ClassVar = [pytest.mark.asyncio]
    promise: ClassVar[str | None] = None  # the field of Features that the whole class is about

    @staticmethod
    def needs(harness: Harness, promise: str) -> None:
        """Skip this test where the promise is denied."""
        if promise in harness.denials:
            pytest.skip(f"the broker denies the promise {promise!r}")

    @pytest.fixture(autouse=True)
    def _denied_promises_are_not_tested(self, harness: Harness) -> None:
        if self.promise is not None:
            self.needs(harness, self.promise)
