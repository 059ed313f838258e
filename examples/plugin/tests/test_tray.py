"""The plug-ins of this package through Heeler's conformance suites: the names of their tests are what is promised."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from heeler_tray import FreshThreads, TrayBroker, TrayStore

from heeler.brokers.ordered import OrderedBroker
from heeler.contracts import Broker, Executor
from heeler.testing.conformance import Harness
from heeler.testing.conformance.broker import *  # noqa: F403
from heeler.testing.conformance.executor import TestCalls, TestClosing, TestKilling, bench
from heeler.testing.conformance.joins import *  # noqa: F403
from heeler.testing.conformance.latches import *  # noqa: F403
from heeler.testing.conformance.listing import *  # noqa: F403
from heeler.testing.conformance.order import *  # noqa: F403
from heeler.testing.conformance.queue_admin import *  # noqa: F403
from heeler.testing.conformance.result_store import *  # noqa: F403
from heeler.testing.conformance.waking import *  # noqa: F403

__all__ = ["TestCalls", "TestClosing", "TestKilling", "bench"]


class TrayHarness(Harness):
    """`denials`: what a broker composed of two halves cannot do, and what the tray's `features` deny."""

    denials = frozenset(
        {
            *("one_step_settle", "lists_waiting", "keeps_place_on_release"),  # a composed broker
            *("shared", "durable", "exact_weights", "skips_tasks"),  # the tray
        }
    )

    def make(self) -> Broker:
        broker = TrayBroker("suite", io=self.io, clock=self.clock, namespace=self.namespace)
        return OrderedBroker(broker, TrayStore("suite", clock=self.clock, namespace=self.namespace))


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = TrayHarness()
    yield harness
    await harness.close()


@pytest.fixture
def make_executor() -> Callable[[], Executor]:
    return FreshThreads
