"""Results as replies, with a message server in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rpc_checks import RpcChecks

from heeler import Heeler
from heeler.brokers.ordered import RpcBroker
from heeler.clock import SystemClock, new_id
from heeler.errors import ConfigurationError
from heeler.io_thread import IoThread
from heeler.model import Action, Publication, SettleAnswer
from heeler.testing.conformance.worker import Worker, make_envelope, settlement, success
from heeler.testing.plain_memory import MemoryPlainBroker


def plain(name: str | None = None) -> MemoryPlainBroker:
    return MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=name or new_id())


@pytest.fixture
def app() -> Iterator[Heeler]:
    with Heeler(broker=plain(), results="rpc://") as app:
        yield app


class TestRepliesThroughMemory(RpcChecks): ...


def test_the_reply_comes_to_the_process_that_enqueued_and_to_no_other() -> None:
    name = new_id()
    with (
        Heeler(broker=plain(name), results="rpc://") as producer,
        Heeler(broker=plain(name), results="rpc://") as other,
        Heeler(broker=plain(name), results="rpc://") as working,
    ):

        @working.task(name="double")
        async def double(number: int) -> int:
            return 2 * number

        with working.worker():
            mine = producer.declare("double").enqueue(1)
            theirs = other.declare("double").enqueue(2)
            assert (mine.get(timeout=10), theirs.get(timeout=10)) == (2, 4)
        with pytest.raises(ConfigurationError, match="read by its id, nor by another process"):
            other.get_result(mine.id)


async def test_a_reply_is_sent_before_the_message_is_acknowledged() -> None:
    server = plain()
    steps: list[str] = []
    broker = RpcBroker(server)
    await broker.open()
    assert broker.store is not None
    inbox = await broker.store.inbox()
    for name in ("reply", "acknowledge"):
        setattr(server, name, _noted(name, getattr(server, name), steps))
    worker = await Worker.of(broker)
    await broker.publish(Publication(envelopes=(make_envelope("job", reply_to=inbox.address),)))
    run = await worker.take_one()
    [answer] = await broker.settle([settlement(run, Action.ACK, record=success(run.envelope))])
    assert answer.answer is SettleAnswer.ACCEPTED
    assert steps == ["reply", "acknowledge"]
    [notice] = await inbox.receive()
    assert (notice.id, notice.status.value) == ("job", "SUCCESSFUL")
    assert notice.record is not None
    assert notice.record.envelope.body == b""  # the producer has it
    await inbox.close()
    await broker.close()


def _noted(name, call, steps):
    async def noted(*arguments):
        steps.append(name)
        return await call(*arguments)

    return noted


async def test_many_notices_for_an_inbox_are_one_message_unless_that_would_be_too_large() -> None:
    server = plain()
    broker = RpcBroker(server)
    await broker.open()
    sent: list[list[tuple[str, bytes]]] = []

    async def reply(replies: list[tuple[str, bytes]]) -> None:
        sent.append(list(replies))

    server.reply = reply
    worker = await Worker.of(broker)
    envelopes = [make_envelope(f"{n}", reply_to="one" if n % 2 else "two") for n in range(20)]
    await broker.publish(Publication(envelopes=tuple(envelopes)))
    runs = await worker.take(20)
    await broker.settle([settlement(run, Action.ACK, record=success(run.envelope)) for run in runs])
    assert [address for address, _ in sent.pop()] == ["two", "one"]
    await broker.publish(Publication(envelopes=tuple(make_envelope(reply_to="one") for _ in range(3))))
    runs = await worker.take(3)
    large = [success(run.envelope, value=b"x" * 200_000) for run in runs]
    await broker.settle([settlement(run, Action.ACK, record=record) for run, record in zip(runs, large, strict=True)])
    assert [len(body) > 200_000 for _, body in sent.pop()] == [True] * 3
    await broker.close()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
def test_a_broker_that_stores_results_needs_no_replies(url: str) -> None:
    with pytest.raises(ConfigurationError, match="keeps the results itself"):
        Heeler(url, results="rpc://")


def test_a_message_server_that_carries_no_replies_is_refused() -> None:
    server = plain()
    server.carries_replies = False
    with pytest.raises(ConfigurationError, match="cannot send replies; give `results` the URL of a store"):
        Heeler(broker=server, results="rpc://")
