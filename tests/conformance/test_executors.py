"""The executors of Heeler keep what executors promise."""

from collections.abc import Callable
from functools import partial

import pytest

from heeler.contracts import Executor
from heeler.executors import ProcessExecutor, ThreadExecutor
from heeler.testing.conformance.executor import ENTRY_POINT, TestCalls, TestClosing, TestKilling, bench
from heeler.testing.conformance.executor import TestSignals as SignalPromises

__all__ = ["TestCalls", "TestClosing", "TestKilling", "TestSignals", "bench"]

processes = partial(ProcessExecutor, ENTRY_POINT)


@pytest.fixture(params=[ThreadExecutor, processes], ids=["threads", "processes"])
def make_executor(request: pytest.FixtureRequest) -> Callable[[], Executor]:
    return request.param


class TestSignals(SignalPromises):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return processes
