"""What Redis keeps of jobs whose messages travel elsewhere, for how long, and what a batch costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis_site import Site

from heeler.brokers.redis.ordered_store import AREA, RedisOrderedStore
from heeler.clock import new_id
from heeler.contracts import Applied, BeginAnswer, Candidate
from heeler.model import (
    Action,
    CallId,
    Delivery,
    Envelope,
    Latch,
    LatchRule,
    Publication,
    Receipt,
    Renewal,
    RunReport,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.conformance.worker import make_envelope, settlement, success
from services import RedisServer

MONTH = 30 * 86400


@pytest.fixture
async def store(private_site: Site) -> AsyncIterator[RedisOrderedStore]:
    store = RedisOrderedStore(private_site.make(area=AREA))
    await store.open()
    yield store
    await store.close()


async def _begin(store: RedisOrderedStore, *envelopes: Envelope, redelivered: bool = False) -> list[Delivery]:
    begun = await store.begin([Candidate(envelope, redelivered) for envelope in envelopes], 30.0)
    return [
        Delivery(envelope=envelope, receipt=Receipt(envelope.id, one.epoch), leased_at=one.at)
        for envelope, one in zip(envelopes, begun, strict=True)
        if one.answer is BeginAnswer.RUN
    ]


async def _run(store: RedisOrderedStore, *envelopes: Envelope) -> list[str]:
    """Publish, run and end jobs; the keys of what is to be cleared once their messages are acknowledged."""
    reserved = await store.reserve(Publication(envelopes=envelopes))
    assert reserved.unsent is not None
    await store.clear([reserved.unsent.key], acknowledged=True)
    deliveries = await _begin(store, *[message.envelope for message in reserved.unsent.messages])
    return _keys(await store.apply([settlement(run, record=success(run.envelope)) for run in deliveries]))


def _keys(applied: list[Applied]) -> list[str]:
    return [one.unsent.key for one in applied if one.unsent is not None]


def _left(site: Site, server: RedisServer) -> dict[str, int]:
    """What there is under the store's keys, and for how many seconds more."""
    with server.client() as client:
        keys = [key.decode() for key in client.scan_iter(count=1000)]
        return {key.removeprefix(f"{site.prefix}{AREA}"): client.ttl(key) for key in keys}


def _jobs(site: Site, server: RedisServer) -> dict[str, int]:
    others = ("c:", "register", "sequence")
    return {key: ttl for key, ttl in _left(site, server).items() if not key.startswith(others)}


class TestWhatIsKept:
    async def test_of_an_acknowledged_job_only_its_result(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        keys = await _run(store, make_envelope("kept", keep=5000.0), make_envelope("gone", keep=0.0))
        await store.clear(keys, acknowledged=True)
        left = _jobs(private_site, server)
        assert set(left) == {"j:kept", "j:gone"}
        assert 4990 <= left["j:kept"] <= 5000
        assert 100 <= left["j:gone"] <= 120, "an acknowledgement may be lost with the connection"

    async def test_of_a_job_whose_message_may_still_come_for_a_month(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        keys = await _run(store, make_envelope("job", keep=0.0))
        assert _jobs(private_site, server)["j:job"] > MONTH - 10
        await store.clear(keys, acknowledged=False)
        assert _jobs(private_site, server)["j:job"] > MONTH - 10

    async def test_of_a_cancelled_job_beyond_the_time_when_its_message_comes(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        await store.reserve(Publication(envelopes=(make_envelope("job", delay=90 * 86400.0, keep=0.0),)))
        [cancelled] = await store.cancel(["job"])
        assert cancelled.unsent is not None
        await store.clear([cancelled.unsent.key], acknowledged=False)
        assert _jobs(private_site, server)["j:job"] > 120 * 86400 - 10

    async def test_of_retries_and_dead_letters_nothing_once_all_is_acknowledged(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        envelope = make_envelope("job", keep=0.0)
        reserved = await store.reserve(Publication(envelopes=(envelope,)))
        assert reserved.unsent is not None
        await store.clear([reserved.unsent.key], acknowledged=True)
        [run] = await _begin(store, envelope)
        report = RunReport(message="half")
        await store.renew([Renewal(delivery=run, report=report)], 30.0)
        record = success(envelope, status=TaskStatus.READY)
        applied = await store.apply([settlement(run, Action.RETRY, attempts=1, note=b"n", record=record)])
        copy = applied[0].unsent.messages[0].envelope
        assert (copy.epoch, copy.attempts, copy.note) == (2, 1, b"n")
        [run] = await _begin(store, copy)
        ended = await store.apply([settlement(run, Action.DEAD_LETTER, reason="bad", record=success(envelope))])
        assert ended[0].unsent.letter.reason == "bad"
        await store.clear(_keys(ended), acknowledged=True)
        assert _jobs(private_site, server)["j:job"] > MONTH - 10, "the first message may come again"
        await store.clear(_keys(applied), acknowledged=True)
        assert set(_jobs(private_site, server)) == {"j:job"}
        assert _jobs(private_site, server)["j:job"] <= 120

    async def test_an_id_that_is_used_again_is_remembered_while_its_first_message_may_come(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        await _run(store, make_envelope("job", keep=0.0))  # never acknowledged
        keys = await _run(store, make_envelope("job", keep=0.0))
        await store.clear(keys, acknowledged=True)
        assert _jobs(private_site, server)["j:job"] > MONTH - 10
        [again] = await store.begin([Candidate(make_envelope("job", keep=0.0), True)], 30.0)
        assert again.answer is BeginAnswer.ENDED

    async def test_an_answer_is_remembered_for_two_minutes(
        self, store: RedisOrderedStore, private_site: Site, server: RedisServer
    ) -> None:
        await store.reserve(Publication(envelopes=(make_envelope("job"),), call=CallId("s", 1)))
        [run] = await _begin(store, make_envelope("job"))
        await store.apply([settlement(run)], CallId("s", 2))
        answers = {key: ttl for key, ttl in _left(private_site, server).items() if key.startswith("c:")}
        assert set(answers) == {"c:reserve:s:1", "c:apply:s.0:2"}
        assert all(0 < ttl <= 120 for ttl in answers.values())


async def test_a_batch_is_one_command_in_every_direction(store: RedisOrderedStore, server: RedisServer) -> None:
    await store.clear(await _run(store, make_envelope(), make_envelope()), acknowledged=True)  # scripts are known now
    before = _calls(server)
    keys = await _run(store, *(make_envelope() for _ in range(300)))
    await store.clear(keys, acknowledged=True)
    sent = _calls(server) - before
    assert sent["evalsha"] == 5  # reserve, clear, begin, apply, clear
    assert not {"eval", "multi", "exec"} & set(sent)


async def test_batches_are_cut_so_that_no_script_takes_long(store: RedisOrderedStore, server: RedisServer) -> None:
    envelopes = [make_envelope(new_id()) for _ in range(1200)]
    await store.reserve(Publication(envelopes=tuple(envelopes)))
    before = _calls(server)
    deliveries = await _begin(store, *envelopes)
    assert len(deliveries) == 1200
    call = CallId("s", 1)
    settlements = [settlement(run, record=success(run.envelope)) for run in deliveries]
    applied = await store.apply(settlements, call)
    assert all(one.answer is SettleAnswer.ACCEPTED for one in applied)
    assert (_calls(server) - before)["evalsha"] + (_calls(server) - before)["eval"] >= 6
    assert await store.apply(settlements, call) == applied, "each part of a repeated call is answered as it was"


async def test_a_long_list_of_unsent_messages_is_handed_out_in_parts(store: RedisOrderedStore) -> None:
    for _ in range(3):
        await store.reserve(Publication(envelopes=tuple(make_envelope() for _ in range(700))))
    first = await store.unsent(0.0)
    assert [len(one.messages) for one in first] == [700, 700]
    await store.clear([one.key for one in first], acknowledged=False)
    assert [len(one.messages) for one in await store.unsent(0.0)] == [700]


async def test_large_bodies_are_not_read_to_begin_runs(store: RedisOrderedStore) -> None:
    envelopes = [make_envelope(f"{n}", body=bytes(600_000)) for n in range(4)]
    await store.reserve(Publication(envelopes=tuple(envelopes)))
    deliveries = await _begin(store, *envelopes)
    assert [run.receipt.epoch for run in deliveries] == [1, 1, 1, 1]
    await store.apply([settlement(run, record=success(run.envelope)) for run in deliveries[:2]])
    answers = await store.begin([Candidate(envelope, False) for envelope in envelopes], 30.0)
    assert [one.answer.name for one in answers] == ["ENDED", "ENDED", "RUN", "RUN"]


async def test_jobs_that_the_store_has_forgotten_are_taken_as_their_messages_say(
    store: RedisOrderedStore, server: RedisServer
) -> None:
    envelope = make_envelope("job", keep=60.0)
    await store.reserve(Publication(envelopes=(envelope,)))
    [first] = await _begin(store, envelope)
    with server.client() as client:
        client.flushall()
    [applied] = await store.apply([settlement(first, record=success(envelope))], CallId("s", 1))
    assert applied.answer is SettleAnswer.ACCEPTED
    [record] = await store.get(["job"])
    assert record is not None
    assert record.status is TaskStatus.SUCCESSFUL
    with server.client() as client:
        client.flushall()
    assert (await store.renew([Renewal(delivery=first, report=RunReport(message="m"))], 30.0)).lost == frozenset()
    [record] = await store.get(["job"])
    assert record is not None
    assert (record.status, record.message) == (TaskStatus.RUNNING, "m")


async def test_what_latches_let_go_is_sent_with_the_publication(store: RedisOrderedStore) -> None:
    latch = Latch(id="none", rule=LatchRule.ALL_OK, total=0, envelope=make_envelope("body", delay=7.0))
    reserved = await store.reserve(Publication(envelopes=(make_envelope("job"),), latches=(latch,)))
    assert reserved.unsent is not None
    assert [message.envelope.id for message in reserved.unsent.messages] == ["job", "body"]
    assert 6.0 < reserved.unsent.messages[1].delay <= 7.0


async def test_a_damaged_message_does_not_stop_the_others(
    store: RedisOrderedStore, private_site: Site, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await store.reserve(Publication(envelopes=(make_envelope("good"), make_envelope("bad"))))
    with server.client() as client:
        key = f"{private_site.prefix}{AREA}j:bad"
        client.set(key, client.get(key)[:60] + b"garbage")
    [unsent] = await store.unsent(0.0)
    assert [message.envelope.id for message in unsent.messages] == ["good"]
    assert "can be sent no more" in caplog.text


async def test_two_stores_and_a_broker_may_share_a_namespace(store: RedisOrderedStore, private_site: Site) -> None:
    broker = await private_site.open()
    await broker.publish(Publication(envelopes=(make_envelope("job"),)))
    assert await store.get(["job"]) == [None]
    await store.reserve(Publication(envelopes=(make_envelope("job"),)))
    assert await broker.store.cancel(["job"]) is not None
    [record] = await store.get(["job"])
    assert record is not None
    assert record.status is TaskStatus.READY


async def test_who_waits_is_told_of_the_end(store: RedisOrderedStore) -> None:
    inbox = await store.inbox()
    envelope = make_envelope("mine", reply_to=inbox.address, keep=60.0)
    await store.reserve(Publication(envelopes=(envelope, make_envelope("other", keep=60.0))))
    assert [record.status for record in await inbox.watch(["other"])] == [TaskStatus.READY]
    runs = await _begin(store, envelope, make_envelope("other", keep=60.0))
    await store.apply([settlement(run, record=success(run.envelope)) for run in runs])
    async with asyncio.timeout(5):
        told = {notice.id: notice.status for notice in await inbox.receive()}
    assert told == {"mine": TaskStatus.SUCCESSFUL, "other": TaskStatus.SUCCESSFUL}
    await inbox.close()


def _calls(server: RedisServer) -> Counter[str]:
    with server.client() as client:
        stats = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): figures["calls"] for name, figures in stats.items()})
