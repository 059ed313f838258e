"""What is let go when several jobs have ended, and publications that hold only if nobody came first."""

from __future__ import annotations

import pytest

from heeler.model import (
    TICK,
    Action,
    Arrival,
    ArrivalKind,
    CallId,
    Guard,
    Latch,
    LatchRule,
    Member,
    Publication,
    PublishAnswer,
    SettleAnswer,
)
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import Worker, make_envelope, publish, settlement

__all__ = ["TestGuardedPublications", "TestLatchesLetGoOnce", "TestMembersDroppedUnrunAreSkipped"]

OK, FAILED, SKIPPED = ArrivalKind.OK, ArrivalKind.FAILED, ArrivalKind.SKIPPED


def _latch(rule: LatchRule = LatchRule.ALL_OK, total: int | None = 2) -> Latch:
    return Latch(id="latch", rule=rule, total=total, envelope=make_envelope("body"), on_break=make_envelope("broken"))


async def _arrive(worker: Worker, *arrivals: tuple[int, ArrivalKind]) -> list[str]:
    """End a job that carries these arrivals; what waits then (the ids) is taken and ended."""
    carrier = make_envelope(queue="carriers")
    await publish(worker.broker, carrier)
    carriers = await Worker.of(worker.broker, "carriers")
    [delivery] = await carriers.take(1)
    told = tuple(Arrival("latch", member, kind) for member, kind in arrivals)
    assert await carriers.end(delivery, arrivals=told) is SettleAnswer.ACCEPTED
    return await _let_go(worker)


async def _let_go(worker: Worker) -> list[str]:
    deliveries = await worker.fetch()
    await worker.succeed(*deliveries)
    return [delivery.envelope.id for delivery in deliveries]


class TestLatchesLetGoOnce(Suite):
    promise = "joins"

    @pytest.mark.parametrize(
        ("rule", "arrivals", "expected"),
        [
            (LatchRule.ALL_OK, [(0, OK)], []),
            (LatchRule.ALL_OK, [(0, OK), (1, OK)], ["body"]),
            (LatchRule.ALL_OK, [(0, OK), (0, OK)], []),
            (LatchRule.ALL_OK, [(0, FAILED)], ["broken"]),
            (LatchRule.ALL_OK, [(0, FAILED), (1, SKIPPED)], ["broken"]),
            (LatchRule.ALL_OK, [(1, OK), (0, FAILED), (0, OK)], ["broken", "body"]),
            (LatchRule.ALL_OK, [(0, FAILED), (0, OK), (1, FAILED), (1, OK)], ["broken", "body"]),
            (LatchRule.ALL_OK, [(0, OK), (0, FAILED), (1, OK)], ["body"]),
            (LatchRule.ALL_OK, [(0, FAILED), (0, SKIPPED), (0, FAILED)], ["broken"]),
            (LatchRule.ANY_OK, [(0, FAILED)], []),
            (LatchRule.ANY_OK, [(0, FAILED), (1, OK)], ["body"]),
            (LatchRule.ANY_OK, [(0, OK), (1, OK)], ["body"]),
            (LatchRule.ANY_OK, [(0, FAILED), (1, SKIPPED)], ["broken"]),
            (LatchRule.ANY_OK, [(0, FAILED), (1, FAILED), (1, OK)], ["broken", "body"]),
            (LatchRule.ALL_ENDED, [(0, FAILED)], []),
            (LatchRule.ALL_ENDED, [(0, FAILED), (1, OK)], ["body"]),
            (LatchRule.ALL_ENDED, [(0, SKIPPED), (1, FAILED), (1, OK)], ["body"]),
        ],
    )
    @pytest.mark.parametrize("together", [True, False])
    async def test_what_arrives_and_what_is_let_go(
        self,
        harness: Harness,
        rule: LatchRule,
        arrivals: list[tuple[int, ArrivalKind]],
        expected: list[str],
        together: bool,
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(rule)])
        if together:
            gone = await _arrive(worker, *arrivals)
        else:
            gone = [name for arrival in arrivals for name in await _arrive(worker, arrival)]
        assert gone == expected

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [(LatchRule.ALL_OK, ["body"]), (LatchRule.ANY_OK, ["broken"]), (LatchRule.ALL_ENDED, ["body"])],
    )
    async def test_a_latch_without_members_is_judged_at_once(
        self, harness: Harness, rule: LatchRule, expected: list[str]
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(rule, total=0)])
        assert await _let_go(worker) == expected

    async def test_an_open_latch_waits_until_its_total_is_told(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=None)])
        assert await _arrive(worker, (0, OK), (1, OK), (2, OK)) == []
        await publish(worker.broker, latches=[_latch(total=3)])
        assert await _let_go(worker) == ["body"]

    async def test_an_open_latch_can_break_and_an_open_any_can_be_released(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=None)])
        assert await _arrive(worker, (5, FAILED)) == ["broken"]
        either = Latch(id="any", rule=LatchRule.ANY_OK, total=None, envelope=make_envelope("any body"))
        await publish(worker.broker, latches=[either])
        await publish(worker.broker, make_envelope("carrier"))
        [carrier] = await worker.take(1)
        await worker.end(carrier, arrivals=(Arrival("any", 3, OK),))
        assert await _let_go(worker) == ["any body"]

    async def test_publishing_a_known_latch_again_changes_nothing_but_a_missing_total(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, latches=[_latch(total=2)])
        await publish(worker.broker, latches=[_latch(total=1), _latch(LatchRule.ANY_OK, total=None)])
        assert await _arrive(worker, (0, OK)) == []
        assert await _arrive(worker, (1, OK)) == ["body"]
        await publish(worker.broker, latches=[_latch(total=0)])
        assert await _let_go(worker) == []

    async def test_arrivals_that_come_before_their_latch_are_kept_for_it(self, harness: Harness) -> None:
        worker = await harness.worker()
        assert await _arrive(worker, (0, OK), (1, FAILED), (1, OK)) == []
        await publish(worker.broker, latches=[_latch()])
        assert await _let_go(worker) == ["body"]

    async def test_a_latch_is_remembered_after_its_end_so_that_late_repeats_change_nothing(
        self, harness: Harness
    ) -> None:
        worker = await harness.worker()
        latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=1, envelope=make_envelope("body", keep=0.0), keep=3600.0)
        await publish(worker.broker, latches=[latch])
        assert await _arrive(worker, (0, OK)) == ["body"]
        await harness.advance(3000)
        await publish(worker.broker, latches=[latch])
        assert await _arrive(worker, (0, OK)) == []

    async def test_what_a_latch_lets_go_may_itself_be_delayed(self, harness: Harness) -> None:
        worker = await harness.worker()
        latch = Latch(id="latch", rule=LatchRule.ALL_OK, total=1, envelope=make_envelope("body", delay=10.0))
        await publish(worker.broker, latches=[latch])
        assert await _arrive(worker, (0, OK)) == []
        await harness.advance(11)
        assert await worker.take_ids(1) == ["body"]

    async def test_arrivals_of_a_lost_lease_do_not_count(self, harness: Harness) -> None:
        self.needs(harness, "fencing")
        worker, heir = await harness.worker(lease=30.0), await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope("job"), latches=[_latch(total=1)])
        lost = await worker.take_one()
        await harness.advance(31)
        held = await heir.take_one()
        assert await worker.end(lost, arrivals=(Arrival("latch", 0, OK),)) is SettleAnswer.LOST
        assert await _let_go(worker) == []
        await heir.end(held, arrivals=(Arrival("latch", 0, OK),))
        assert await worker.take_ids(1) == ["body"]

    async def test_of_a_batch_each_member_counts_once_at_each_latch_and_a_lost_lease_not_at_all(
        self, harness: Harness
    ) -> None:
        self.needs(harness, "fencing")
        worker = await harness.worker()
        jobs = [make_envelope(queue="members") for _ in range(40)]
        other = Latch(id="other", rule=LatchRule.ANY_OK, total=None)
        await publish(worker.broker, *jobs, latches=[_latch(total=50), other])
        members = await Worker.of(worker.broker, "members")
        deliveries = await members.take(40)
        await members.succeed(deliveries[7])
        ends = []
        for number, delivery in enumerate(deliveries):
            kind = FAILED if number == 20 else OK
            arrivals = (
                Arrival("latch", number if number != 9 else 8, kind, "job"),
                Arrival("other", TICK, kind, "job"),
                Arrival("latch", TICK, kind, "job"),
            )
            ends.append(settlement(delivery, arrivals=arrivals if number % 3 else arrivals[:1]))
        answers = await members.settle(*ends)
        assert [number for number, result in enumerate(answers) if result.answer is not SettleAnswer.ACCEPTED] == [7]
        assert worker.broker.store is not None
        [latch, ticked] = await worker.broker.store.latches(["latch", "other"])
        assert latch is not None
        assert ticked is not None
        assert (latch.ok, latch.not_ok, latch.ticks, latch.broken_by) == (37, 1, 25, "job")
        assert (ticked.ok, ticked.ticks) == (0, 25)
        assert await _let_go(worker) == ["broken"]

    async def test_a_thousand_members(self, harness: Harness) -> None:
        worker = await harness.worker()
        members = [make_envelope(f"{number}") for number in range(1000)]
        await publish(worker.broker, *members, latches=[_latch(total=1000)])
        for delivery in await worker.take(1000):
            number = int(delivery.envelope.id)
            await worker.end(delivery, arrivals=(Arrival("latch", number, OK),))
        assert await worker.take_ids(1) == ["body"]


class TestMembersDroppedUnrunAreSkipped(Suite):
    promise = "joins"

    async def test_when_they_are_cancelled(self, harness: Harness) -> None:
        worker = await harness.worker()
        assert worker.broker.store is not None
        member = make_envelope("member", ends_at=(Member("latch", 0),), delay=60.0)
        await publish(worker.broker, member, latches=[_latch()])
        await worker.broker.store.cancel(["member"])
        assert await worker.take_ids(1) == ["broken"]

    async def test_when_their_queue_is_purged(self, harness: Harness) -> None:
        worker = await harness.worker()
        assert worker.broker.admin is not None
        members = [make_envelope(f"{number}", queue="doomed", ends_at=(Member("latch", number),)) for number in (0, 1)]
        await publish(worker.broker, *members, latches=[_latch(LatchRule.ALL_ENDED)])
        assert await worker.broker.admin.purge("doomed") == 2
        assert await worker.take_ids(1) == ["body"]

    async def test_but_not_when_they_are_settled(self, harness: Harness) -> None:
        worker = await harness.worker()
        member = make_envelope("member", ends_at=(Member("latch", 0),))
        await publish(worker.broker, member, latches=[_latch(total=1)])
        await worker.end(await worker.take_one(), Action.DEAD_LETTER, reason="the worker tells the latch itself")
        assert await _let_go(worker) == []


class TestGuardedPublications(Suite):
    promise = "guards"

    async def test_only_who_expects_what_the_cell_holds_publishes(self, harness: Harness) -> None:
        worker = await harness.worker()
        steps = [
            (None, b"1", True),
            (None, b"1", False),
            (b"1", b"2", True),
            (b"1", b"3", False),
            (b"2", None, True),
            (b"2", b"4", False),
            (None, b"5", True),
        ]
        for number, (expected, following, goes) in enumerate(steps):
            guard = Guard("cell", expected, following)
            envelopes = [make_envelope(f"{number}a"), make_envelope(f"{number}b")]
            latch = Latch(id=f"{number}", rule=LatchRule.ALL_OK, total=0, envelope=make_envelope(f"{number}c"))
            results = await publish(worker.broker, *envelopes, latches=[latch], guard=guard)
            answer = PublishAnswer.ACCEPTED if goes else PublishAnswer.REFUSED
            assert [result.answer for result in results] == [answer, answer, answer]
            assert [result.id for result in results] == [f"{number}a", f"{number}b", "cell"]
            assert all(result.reason for result in results) is not goes
            assert await _let_go(worker) == ([f"{number}a", f"{number}b", f"{number}c"] if goes else [])

    async def test_cells_are_apart(self, harness: Harness) -> None:
        broker = await harness.open()
        for cell in ("a", "b"):
            results = await publish(broker, make_envelope(), guard=Guard(cell, None, b"1"))
            assert [result.answer for result in results] == [PublishAnswer.ACCEPTED] * 2

    async def test_a_guard_alone_moves_its_cell_and_says_whether_it_did(self, harness: Harness) -> None:
        broker = await harness.open()
        for expected, following, goes in [(None, b"1", True), (None, b"2", False), (b"1", b"2", True)]:
            [result] = await publish(broker, guard=Guard("cell", expected, following))
            assert result.answer is (PublishAnswer.ACCEPTED if goes else PublishAnswer.REFUSED)
            assert result.id == "cell"
            assert bool(result.reason) is not goes

    async def test_a_guard_says_that_it_moved_where_its_jobs_were_there_already(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        results = await publish(worker.broker, make_envelope("job"), guard=Guard("cell", None, b"1"))
        assert [result.answer for result in results] == [PublishAnswer.EXISTS, PublishAnswer.ACCEPTED]
        assert await worker.take_ids(1) == ["job"]
        assert await worker.fetch() == []

    async def test_a_guarded_publication_repeated_with_its_call_has_the_same_answers(self, harness: Harness) -> None:
        worker = await harness.worker()
        for number, goes in ((1, True), (2, False)):
            call, guard = CallId("scheduler", number), Guard("cell", None, b"1")
            first = await publish(worker.broker, make_envelope(f"{number}", keep=0.0), guard=guard, call=call)
            assert (first[-1].answer is PublishAnswer.ACCEPTED) is goes
            again = await publish(await harness.open(), make_envelope(f"{number}", keep=0.0), guard=guard, call=call)
            assert again == first
        assert await worker.take_ids(1) == ["1"]
        assert await worker.fetch() == []

    async def test_a_refused_follow_up_does_not_undo_the_end_of_its_job(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("job"))
        follow_ups = Publication(envelopes=(make_envelope("next"),), guard=Guard("cell", b"absent", b"1"))
        assert await worker.end(await worker.take_one(), follow_ups=follow_ups) is SettleAnswer.ACCEPTED
        assert await _let_go(worker) == []
