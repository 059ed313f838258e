"""The promises of a broker as tests: what passes these suites is a broker of Heeler.

One module for each contract (`broker`, `order`, `waking`, `joins`, `latches`, `result_store`, `listing`, `queue_admin`,
`schedules`, `control_channel`), one class for each promise; the names of the tests are the specification. To try a
broker of your own, write a `Harness` for it and give it to the suites by a fixture named `harness`:

    # test_conformance.py
    import pytest
    from heeler.testing.conformance import Harness
    from heeler.testing.conformance.broker import *
    from heeler.testing.conformance.result_store import *

    class MyHarness(Harness):
        def make(self):
            return MyBroker("mine://localhost", io=self.io, clock=self.clock, namespace=self.namespace)

    @pytest.fixture
    async def harness():
        harness = MyHarness()
        yield harness
        await harness.close()

The tests are coroutines (pytest-asyncio); their loop plays the part of the I/O thread. A promise that the broker's
`Features` deny is listed in `Harness.denials`; the tests of that promise are skipped, all others must pass.
"""

from heeler.testing.conformance.harness import Harness
from heeler.testing.conformance.worker import Worker, make_envelope, publish

__all__ = ["Harness", "Worker", "make_envelope", "publish"]
