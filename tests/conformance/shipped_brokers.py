"""The brokers that Heeler ships, as the suites want them."""

from __future__ import annotations

from pathlib import Path

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.sqlite import SqliteBroker
from heeler.contracts import Broker
from heeler.testing.conformance import Harness


class MemoryHarness(Harness):
    denials = frozenset({"shared", "durable"})

    def make(self) -> Broker:
        return MemoryBroker(io=self.io, clock=self.clock, namespace=self.namespace, name="conformance")


class SqliteHarness(Harness):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "jobs.db"

    def make(self) -> Broker:
        return SqliteBroker(path=str(self.path), io=self.io, clock=self.clock, namespace=self.namespace)
