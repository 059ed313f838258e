"""A message server without any store keeps what a broker promises, but for what has to be remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from heeler.brokers.ordered import UnstoredBroker
from heeler.contracts import Broker
from heeler.errors import ConfigurationError
from heeler.model import Guard, Latch, LatchRule, Publication, PublishAnswer
from heeler.testing.conformance import Harness
from heeler.testing.conformance.broker import *  # noqa: F403
from heeler.testing.conformance.order import *  # noqa: F403
from heeler.testing.conformance.queue_admin import *  # noqa: F403
from heeler.testing.conformance.waking import *  # noqa: F403
from heeler.testing.conformance.worker import make_envelope, publish
from heeler.testing.plain_memory import MemoryPlainBroker


class UnstoredHarness(Harness):
    denials = frozenset(
        {
            *("shared", "durable", "one_step_settle", "lists_waiting", "keeps_place_on_release"),
            *("fencing", "id_deduplication", "joins", "guards", "stores_results"),
        }
    )

    def make(self) -> Broker:
        return UnstoredBroker(
            MemoryPlainBroker(io=self.io, clock=self.clock, namespace=self.namespace, name="conformance")
        )


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = UnstoredHarness()
    yield harness
    await harness.close()


async def test_a_join_is_refused_with_the_way_out(harness: Harness) -> None:
    broker = await harness.open()
    latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=1, envelope=make_envelope())
    [answer] = await publish(broker, make_envelope(), latches=[latch])
    assert answer.answer is PublishAnswer.REFUSED
    assert "give `results` a URL" in answer.reason
    for envelopes in ([make_envelope()], []):
        answers = await publish(broker, *envelopes, guard=Guard("cell", None, b"1"))
        assert {answer.answer for answer in answers} == {PublishAnswer.REFUSED}
        assert len(answers) == len(envelopes) + 1
        assert "give `results` a URL" in answers[-1].reason
    with pytest.raises(ConfigurationError, match="give `results` a URL"):
        await broker.publish(Publication(latches=(latch,)))
    assert await (await harness.worker()).fetch() == []


async def test_a_queue_cannot_be_paused(harness: Harness) -> None:
    admin = (await harness.open()).admin
    assert admin is not None
    with pytest.raises(ConfigurationError, match="the queue images cannot be paused"):
        await admin.pause("images")


async def test_it_has_no_result_store(harness: Harness) -> None:
    assert (await harness.open()).store is None
