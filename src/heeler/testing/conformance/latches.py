"""What workflows are seen and steered by: latches that are read, broken from outside, and open again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from heeler.contracts import ResultStore
from heeler.model import (
    TICK,
    Action,
    Arrival,
    ArrivalKind,
    Latch,
    LatchRecord,
    LatchRule,
    LatchState,
    Member,
    ResultRecord,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import PATIENCE, Worker, make_envelope, publish, success

__all__ = [
    "TestEndedJobsAreRevived",
    "TestLatchesAreBrokenFromOutside",
    "TestLatchesAreRead",
    "TestLatchesTellOfTheirState",
    "TestLatchesWithinLatches",
    "TestMembersTellWhatTheyAreAskedTo",
    "TestRecordsExpireTogether",
    "TestRevivedMembersReopenLatches",
]

OK, FAILED, SKIPPED, REVIVED = ArrivalKind.OK, ArrivalKind.FAILED, ArrivalKind.SKIPPED, ArrivalKind.REVIVED


def _store(worker: Worker) -> ResultStore:
    assert worker.broker.store is not None
    return worker.broker.store


def _latch(id: str = "latch", total: int | None = 2, **fields: Any) -> Latch:
    given: dict[str, Any] = {"rule": LatchRule.ALL_OK, "envelope": make_envelope(f"{id} body")}
    return Latch(id=id, total=total, **{**given, **fields})


async def _arrive(worker: Worker, *arrivals: Arrival) -> None:
    """End a job that carries these arrivals."""
    await publish(worker.broker, make_envelope(queue="carriers"))
    carriers = await Worker.of(worker.broker, "carriers")
    [delivery] = await carriers.take(1)
    assert await carriers.end(delivery, arrivals=arrivals) is SettleAnswer.ACCEPTED


async def _record(worker: Worker, id: str = "latch") -> LatchRecord:
    [record] = await _store(worker).latches([id])
    assert record is not None
    return record


async def _let_go(worker: Worker) -> list[str]:
    deliveries = await worker.fetch()
    await worker.succeed(*deliveries)
    return [delivery.envelope.id for delivery in deliveries]


async def _fail(worker: Worker, *arrivals: Arrival) -> None:
    """Take the one job that is there, which fails for good."""
    delivery = await worker.take_one()
    record = ResultRecord(envelope=delivery.envelope, status=TaskStatus.FAILED, attempts=1, finished_at=1.0)
    answer = await worker.end(delivery, Action.DEAD_LETTER, record=record, arrivals=arrivals, reason="it failed")
    assert answer is SettleAnswer.ACCEPTED


class TestLatchesAreRead(Suite):
    promise = "joins"

    async def test_with_all_that_is_known_of_them(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=3, data=b"for readers", scope="around")])
        await _arrive(worker, Arrival("latch", 1, OK, "a"), Arrival("latch", TICK, OK, "b"))
        await _arrive(worker, Arrival("latch", 2, FAILED, "c"), Arrival("latch", TICK, FAILED, "d"))
        record = await _record(worker)
        assert record == LatchRecord(
            id="latch",
            rule=LatchRule.ALL_OK,
            total=3,
            state=LatchState.BROKEN,
            ok=1,
            not_ok=1,
            ticks=2,
            scope="around",
            broken_by="c",
            stopped=True,
            touched_at=record.touched_at,
            data=b"for readers",
        )
        [brief, unknown] = await _store(worker).latches(["latch", "another"], with_data=False)
        assert unknown is None
        assert brief is not None
        assert brief.data == b""

    async def test_counts_outlive_the_release(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=2)])
        await _arrive(worker, Arrival("latch", 0, OK), Arrival("latch", 1, OK), Arrival("latch", TICK, OK))
        record = await _record(worker)
        assert (record.state, record.ok, record.not_ok, record.ticks) == (LatchState.RELEASED, 2, 0, 1)
        await _arrive(worker, Arrival("latch", TICK, OK), Arrival("latch", 1, OK))
        record = await _record(worker)
        assert (record.ok, record.ticks) == (2, 2)

    async def test_closing_a_latch_replaces_its_data(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=None, data=b"unfinished")])
        await publish(worker.broker, latches=[_latch(total=None, data=b"ignored")])
        assert (await _record(worker)).data == b"unfinished"
        await publish(worker.broker, latches=[_latch(total=1, data=b"whole")])
        await publish(worker.broker, latches=[_latch(total=2, data=b"too late")])
        record = await _record(worker)
        assert (record.total, record.data) == (1, b"whole")

    async def test_publishing_an_open_latch_again_touches_it(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=None)])
        first = (await _record(worker)).touched_at
        await harness.advance(5)
        await publish(worker.broker, latches=[_latch(total=None)])
        assert (await _record(worker)).touched_at >= first + 4.5

    async def test_a_latch_of_which_only_arrivals_are_known_is_none_yet(self, harness: Harness) -> None:
        worker = await harness.worker()
        await _arrive(worker, Arrival("latch", 0, OK), Arrival("latch", TICK, OK))
        assert await _store(worker).latches(["latch"]) == [None]
        await publish(worker.broker, latches=[_latch(total=2)])
        record = await _record(worker)
        assert (record.ok, record.ticks) == (1, 1)

    async def test_many_arrivals_in_one_batch(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=3000)])
        members = [Arrival("latch", number, OK) for number in range(2999)]
        await _arrive(worker, *members, *members[:5])
        assert (await _record(worker)).ok == 2999
        await _arrive(worker, Arrival("latch", 2999, OK))
        assert await _let_go(worker) == ["latch body"]


class TestMembersTellWhatTheyAreAskedTo(Suite):
    promise = "joins"

    @pytest.mark.parametrize(
        ("member", "expected"),
        [
            (Member("latch", 0), (0, 1, 0)),
            (Member("latch", 0, tells_ok=False), (0, 1, 0)),
            (Member("latch", 0, tolerant=True), (1, 0, 0)),
            (Member("latch", 0, tells_ok=False, tolerant=True), (1, 0, 0)),
            (Member("latch", TICK), (0, 0, 1)),
        ],
    )
    async def test_when_they_are_dropped_unrun(
        self, harness: Harness, member: Member, expected: tuple[int, int, int]
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("member", ends_at=(member,), delay=60.0), latches=[_latch()])
        await _store(worker).cancel(["member"])
        record = await _record(worker)
        assert (record.ok, record.not_ok, record.ticks) == expected
        assert record.broken_by == ("member" if record.not_ok else "")


class TestLatchesWithinLatches(Suite):
    promise = "joins"

    async def test_what_lies_in_a_broken_latch_is_stopped(self, harness: Harness) -> None:
        worker = await harness.worker()
        latches = [_latch("outer"), _latch("middle", scope="outer"), _latch("inner", scope="middle"), _latch("other")]
        await publish(worker.broker, latches=latches)
        await _arrive(worker, Arrival("middle", 0, FAILED, "job"))
        stopped = {latch.id: (await _record(worker, latch.id)).stopped for latch in latches}
        assert stopped == {"outer": False, "middle": True, "inner": True, "other": False}
        assert (await _record(worker, "inner")).state is LatchState.OPEN

    async def test_what_lies_in_a_cancelled_latch_is_cancelled(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch("outer"), _latch("inner", scope="outer")])
        assert await _store(worker).break_latches(["outer"], cancelled=True) == [True]
        for id in ("outer", "inner"):
            record = await _record(worker, id)
            assert (record.stopped, record.cancelled) == (True, True)


class TestLatchesAreBrokenFromOutside(Suite):
    promise = "joins"

    async def test_whatever_has_arrived_and_for_good(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=2, on_break=make_envelope("broken"))])
        await _arrive(worker, Arrival("latch", 0, OK))
        assert await _store(worker).break_latches(["latch", "unknown"], by="somebody") == [True, False]
        record = await _record(worker)
        assert (record.state, record.broken_by, record.cancelled) == (LatchState.BROKEN, "somebody", False)
        assert await _let_go(worker) == ["broken"]
        await _arrive(worker, Arrival("latch", 1, OK))
        assert (await _record(worker)).state is LatchState.BROKEN
        assert await _let_go(worker) == []

    async def test_but_not_once_they_are_released(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=0)])
        assert await _store(worker).break_latches(["latch"], cancelled=True) == [False]
        assert (await _record(worker)).state is LatchState.RELEASED

    async def test_a_member_that_lives_again_undoes_it(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=1)])
        await _store(worker).break_latches(["latch"], cancelled=True)
        await _arrive(worker, Arrival("latch", TICK, REVIVED, "job"))
        record = await _record(worker)
        assert (record.state, record.cancelled, record.stopped, record.broken_by) == (LatchState.OPEN, False, False, "")
        await _arrive(worker, Arrival("latch", 0, OK))
        assert await _let_go(worker) == ["latch body"]


class TestRevivedMembersReopenLatches(Suite):
    promise = "joins"

    async def test_as_if_they_had_never_arrived(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=2, on_break=make_envelope("broken"))])
        await _arrive(worker, Arrival("latch", 0, FAILED, "a"), Arrival("latch", TICK, FAILED))
        assert await _let_go(worker) == ["broken"]
        await _arrive(worker, Arrival("latch", 0, REVIVED, "a"), Arrival("latch", TICK, REVIVED))
        record = await _record(worker)
        assert (record.state, record.not_ok, record.ticks, record.broken_by) == (LatchState.OPEN, 0, 0, "")
        await _arrive(worker, Arrival("latch", 0, FAILED, "a"))
        assert (await _record(worker)).state is LatchState.BROKEN
        assert await _let_go(worker) == [], "`on_break` is let go once"
        await _arrive(worker, Arrival("latch", 0, OK), Arrival("latch", 1, OK))
        assert await _let_go(worker) == ["latch body"]

    async def test_a_broken_latch_stops_nothing_while_a_member_lives_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=3)])
        await _arrive(worker, Arrival("latch", 0, FAILED), Arrival("latch", 1, SKIPPED))
        await _arrive(worker, Arrival("latch", 0, REVIVED))
        record = await _record(worker)
        assert (record.state, record.stopped) == (LatchState.BROKEN, False)
        await _arrive(worker, Arrival("latch", 0, FAILED))
        assert (await _record(worker)).stopped

    async def test_nor_do_the_broken_ones_around_it(self, harness: Harness) -> None:
        worker = await harness.worker()
        broken = [_latch("outer", total=2), _latch("middle", scope="outer"), _latch("inner", total=2, scope="middle")]
        await publish(worker.broker, latches=broken)
        await _arrive(worker, Arrival("outer", 0, FAILED), Arrival("middle", 0, SKIPPED), Arrival("inner", 0, SKIPPED))
        ids = ["outer", "middle", "inner"]
        assert [latch.stopped for latch in await _store(worker).latches(ids) if latch] == [True, True, True]
        await _arrive(worker, Arrival("inner", 0, REVIVED))
        assert [latch.stopped for latch in await _store(worker).latches(ids) if latch] == [False, False, False]
        await _arrive(worker, Arrival("outer", 1, FAILED))
        assert [latch.stopped for latch in await _store(worker).latches(ids) if latch] == [True, True, True]

    async def test_those_that_are_ok_stay_so(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=2)])
        await _arrive(worker, Arrival("latch", 0, OK), Arrival("latch", 0, REVIVED), Arrival("latch", 1, REVIVED))
        assert (await _record(worker)).ok == 1

    async def test_a_redrive_tells_the_latches_of_the_job(self, harness: Harness) -> None:
        worker = await harness.worker()
        assert worker.broker.admin is not None
        members = (Member("latch", 0), Member("latch", TICK))
        await publish(worker.broker, make_envelope("member", ends_at=members), latches=[_latch(total=1)])
        await _fail(worker, Arrival("latch", 0, FAILED, "member"), Arrival("latch", TICK, FAILED, "member"))
        assert (await _record(worker)).state is LatchState.BROKEN
        assert await worker.broker.admin.redrive(["member"]) == 1
        record = await _record(worker)
        assert (record.state, record.ticks, record.stopped) == (LatchState.OPEN, 0, False)


class TestLatchesTellOfTheirState(Suite):
    promise = "joins"

    async def test_whoever_watches_their_id_or_is_named_by_them(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = _store(worker)
        named, watching = await store.inbox(), await store.inbox()
        await publish(worker.broker, latches=[_latch(total=1, reply_to=named.address)])
        assert await watching.watch(["latch"]) == [None]
        for inbox_told, arrival, status in (
            ((named, watching), Arrival("latch", 0, FAILED), TaskStatus.FAILED),
            ((named, watching), Arrival("latch", 0, REVIVED), TaskStatus.READY),
            ((named, watching), Arrival("latch", 0, OK), TaskStatus.SUCCESSFUL),
        ):
            await _arrive(worker, arrival)
            for inbox in inbox_told:
                async with asyncio.timeout(PATIENCE):
                    [notice] = await inbox.receive()
                assert (notice.id, notice.status) == ("latch", status)
        await watching.close()
        await named.close()


class TestEndedJobsAreRevived(Suite):
    async def test_failed_and_cancelled_ones(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = _store(worker)
        await publish(worker.broker, make_envelope("failed"))
        await _fail(worker)
        await publish(worker.broker, make_envelope("cancelled", delay=60.0), make_envelope("live", delay=60.0))
        await publish(worker.broker, make_envelope("fine"))
        await worker.succeed(await worker.take_one())
        await store.cancel(["cancelled"])
        assert await store.revive(["failed", "cancelled", "live", "fine", "unknown"]) == 2
        assert sorted(await worker.take_ids(2)) == ["cancelled", "failed"]
        assert worker.broker.admin is not None
        assert await worker.broker.admin.dead_letter("failed") is None

    async def test_as_new_jobs(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = _store(worker)
        await publish(worker.broker, make_envelope("job"))
        delivery = await worker.take_one()
        record = ResultRecord(envelope=delivery.envelope, status=TaskStatus.FAILED, attempts=3, finished_at=1.0)
        await worker.end(delivery, Action.DEAD_LETTER, attempts=3, crashes=1, record=record, reason="it failed")
        await store.revive(["job"])
        [known] = await store.get(["job"])
        assert known is not None
        assert (known.status, known.attempts, known.crashes) == (TaskStatus.READY, 0, 0)
        again = await worker.take_one()
        assert (again.attempts, again.crashes, again.suspect) == (0, 0, False)
        if "fencing" not in harness.denials:
            assert await worker.end(delivery) is SettleAnswer.LOST
        await worker.succeed(again)

    async def test_their_latches_are_told(self, harness: Harness) -> None:
        self.needs(harness, "joins")
        worker = await harness.worker()
        member = make_envelope("member", ends_at=(Member("latch", 0),), delay=60.0)
        await publish(worker.broker, member, latches=[_latch(total=1)])
        await _store(worker).cancel(["member"])
        assert (await _record(worker)).state is LatchState.BROKEN
        assert await _store(worker).revive(["member"]) == 1
        assert (await _record(worker)).state is LatchState.OPEN


class TestRecordsExpireTogether(Suite):
    async def test_records_and_latches_in_whatever_state(self, harness: Harness) -> None:
        self.needs(harness, "joins")
        worker = await harness.worker()
        store = _store(worker)
        await publish(worker.broker, make_envelope("short", keep=50.0), make_envelope("long", keep=5000.0))
        await publish(worker.broker, latches=[_latch("open"), _latch("released", total=0, keep=50.0, envelope=None)])
        for delivery in await worker.take(2):
            await worker.end(delivery, record=success(delivery.envelope))
        await store.expire(["short", "long", "unknown"], ["open", "released", "unknown"], 600.0)
        await harness.advance(500)
        assert None not in [*await store.get(["short", "long"]), *await store.latches(["open", "released"])]
        await harness.advance(101)
        assert await store.get(["short", "long"]) == [None, None]
        assert await store.latches(["open", "released"]) == [None, None]

    async def test_but_not_jobs_that_go_on(self, harness: Harness) -> None:
        worker = await harness.worker()
        store = _store(worker)
        await publish(worker.broker, make_envelope("job"))
        await store.expire(["job"], [], 5.0)
        await harness.advance(10)
        await worker.succeed(await worker.take_one())
        assert await store.get(["job"]) != [None]
