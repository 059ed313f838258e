"""What every broker promises of publishing, leasing and settling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from heeler.contracts import Features
from heeler.model import (
    Action,
    CallId,
    Publication,
    PublishAnswer,
    RunReport,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.conformance.harness import Harness, Suite
from heeler.testing.conformance.worker import make_envelope, publish, settlement, success

__all__ = [
    "TestBadMessagesAreRefused",
    "TestDelaysAndExpiry",
    "TestEveryLeaseHasAnEpoch",
    "TestFeatures",
    "TestIdsAreEnqueuedOnce",
    "TestJobsKeepTheirPlace",
    "TestLeasesRunOut",
    "TestLostRepliesCanBeRepeated",
    "TestNothingAcknowledgedIsLost",
    "TestOnlyTheGuiltyPay",
    "TestOnlyTheHolderEndsAJob",
    "TestSettlingIsOneStep",
]

ACCEPTED, EXISTS, CONFLICT = PublishAnswer.ACCEPTED, PublishAnswer.EXISTS, PublishAnswer.CONFLICT


class TestFeatures(Suite):
    async def test_the_features_deny_what_the_harness_says_and_nothing_else(self, harness: Harness) -> None:
        features = (await harness.open()).features
        promises = {field for field in Features.__struct_fields__ if field != "binding_keys"}
        assert {promise for promise in promises if not getattr(features, promise)} == harness.denials


class TestNothingAcknowledgedIsLost(Suite):
    async def test_a_job_is_delivered_as_it_was_published(self, harness: Harness) -> None:
        broker = await harness.open()
        envelope = make_envelope(
            body=bytes(range(256)),
            options=b"\x00\x01",
            headers={"trace": "ü"},
            priority=7,
            enqueued_at=12.5,
            keep=60.0,
            fingerprint=b"f",
            routing_key="a.b",
            reply_to="nobody",
            scope="flow",
        )
        assert [result.answer for result in await publish(broker, envelope)] == [ACCEPTED]
        delivery = await (await harness.worker()).take_one()
        assert delivery.envelope == envelope
        assert (delivery.attempts, delivery.crashes, delivery.suspect, delivery.note) == (0, 0, False, b"")
        assert delivery.receipt.id == envelope.id

    async def test_one_answer_for_each_envelope_in_order(self, harness: Harness) -> None:
        broker = await harness.open()
        envelopes = [make_envelope() for _ in range(300)]
        results = await publish(broker, *envelopes)
        assert [result.id for result in results] == [envelope.id for envelope in envelopes]

    async def test_an_empty_publication_has_no_answers(self, harness: Harness) -> None:
        assert await publish(await harness.open()) == []

    async def test_a_job_published_from_a_thread_without_a_loop_is_delivered(self, harness: Harness) -> None:
        worker = await harness.worker()
        taking = asyncio.create_task(worker.take_one())
        envelope = make_envelope()
        broker = await harness.open()
        await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(envelope,)))
        assert (await taking).envelope == envelope

    async def test_publications_one_after_the_other_from_a_thread_are_answered_each(self, harness: Harness) -> None:
        """Who makes the next one may publish something himself meanwhile; who stops to read loses nothing."""
        broker, worker = await harness.open(), await harness.worker()
        first, second, between, third, last = envelopes = [make_envelope() for _ in range(5)]

        def publications() -> Iterator[Publication]:
            yield Publication(envelopes=(first, second))
            assert len(broker.publish_blocking(Publication(envelopes=(between,)))) == 1
            yield Publication(envelopes=(third,))
            yield Publication(envelopes=(last,))

        def publish_all() -> list[list[PublishAnswer]]:
            return [[result.answer for result in answers] for answers in broker.publish_each_blocking(publications())]

        def publish_some() -> None:
            each = broker.publish_each_blocking(Publication(envelopes=(make_envelope(),)) for _ in range(3))
            next(each)
            each.close()  # type: ignore[attr-defined]

        assert await asyncio.to_thread(publish_all) == [[ACCEPTED, ACCEPTED], [ACCEPTED], [ACCEPTED]]
        assert sorted(await worker.take_ids(5)) == sorted(envelope.id for envelope in envelopes)
        await asyncio.to_thread(publish_some)
        assert 1 <= len(await worker.fetch()) <= 2

    async def test_a_job_that_is_given_back_when_its_worker_is_quiet_goes_to_another(self, harness: Harness) -> None:
        envelopes = [make_envelope() for _ in range(5)]
        await publish(await harness.open(), *envelopes)
        leaving, staying = await harness.worker(), await harness.worker()
        taken = await leaving.take(2)
        await leaving.subscription.quiet()
        assert await leaving.fetch() == []
        for delivery in taken:
            assert await leaving.end(delivery, Action.RELEASE) is SettleAnswer.ACCEPTED
        assert sorted(await staying.take_ids(5)) == sorted(envelope.id for envelope in envelopes)

    async def test_a_job_is_delivered_to_one_worker_only(self, harness: Harness) -> None:
        await publish(await harness.open(), *(make_envelope() for _ in range(20)))
        one, other = await harness.worker(), await harness.worker()
        taken = [delivery.envelope.id for delivery in await one.take(10) + await other.take(10)]
        assert len(set(taken)) == 20
        assert await one.fetch() == await other.fetch() == []

    async def test_a_limit_of_zero_leases_nothing(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope())
        assert await worker.fetch(0) == []
        assert len(await worker.take(1)) == 1

    async def test_what_waits_is_still_there_when_the_broker_was_closed_and_opened_again(
        self, harness: Harness
    ) -> None:
        broker, envelope = await harness.open(), make_envelope()
        await publish(broker, envelope)
        await broker.close()
        await broker.close()
        await broker.open()
        assert (await (await harness.worker()).take_one()).envelope == envelope

    async def test_a_history_that_the_envelope_carries_is_that_of_its_first_lease(self, harness: Harness) -> None:
        carried = make_envelope(epoch=4, attempts=2, crashes=1, suspect=True, note=b"n")
        worker = await harness.worker()
        await publish(worker.broker, carried)
        delivery = await worker.take_one()
        assert delivery.receipt.epoch == 4
        assert (delivery.attempts, delivery.crashes, delivery.suspect, delivery.note) == (2, 1, True, b"n")


class TestBadMessagesAreRefused(Suite):
    async def test_a_body_beyond_the_limit_is_refused_with_the_reason_and_hurts_no_other(
        self, harness: Harness
    ) -> None:
        worker = await harness.worker()
        large, small = make_envelope(body=b"x" * (worker.broker.max_payload + 1)), make_envelope()
        refused, accepted = await publish(worker.broker, large, small)
        assert (refused.answer, accepted.answer) == (PublishAnswer.REFUSED, ACCEPTED)
        assert str(worker.broker.max_payload) in refused.reason
        assert await worker.take_ids(1) == [small.id]

    async def test_a_body_of_just_the_limit_is_taken(self, harness: Harness) -> None:
        worker = await harness.worker()
        envelope = make_envelope(body=b"x" * worker.broker.max_payload)
        await publish(worker.broker, envelope)
        assert (await worker.take_one()).envelope.body == envelope.body

    async def test_a_result_too_large_is_invalid_and_the_job_can_still_be_dead_lettered(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope())
        delivery = await worker.take_one()
        record = success(delivery.envelope, value=b"x" * (16 * worker.broker.max_payload + 1))
        [result] = await worker.settle(settlement(delivery, record=record))
        assert result.answer is SettleAnswer.INVALID
        assert result.reason
        assert await worker.end(delivery, Action.DEAD_LETTER, reason=result.reason) is SettleAnswer.ACCEPTED

    async def test_a_follow_up_too_large_makes_the_settlement_invalid_and_nothing_of_it_happens(
        self, harness: Harness
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope())
        delivery = await worker.take_one()
        small, large = make_envelope(), make_envelope(body=b"x" * (worker.broker.max_payload + 1))
        follow_ups = Publication(envelopes=(small, large))
        assert await worker.end(delivery, follow_ups=follow_ups) is SettleAnswer.INVALID
        assert await worker.fetch() == []
        assert await worker.end(delivery) is SettleAnswer.ACCEPTED


class TestIdsAreEnqueuedOnce(Suite):
    promise = "id_deduplication"

    @pytest.mark.parametrize("state", ["waiting", "scheduled", "running", "ended", "dead"])
    async def test_an_id_is_taken_while_its_job_is(self, harness: Harness, state: str) -> None:
        worker = await harness.worker()
        envelope = make_envelope("given", fingerprint=b"same", delay=60.0 if state == "scheduled" else 0.0)
        await publish(worker.broker, envelope)
        if state in {"running", "ended", "dead"}:
            delivery = await worker.take_one()
            if state != "running":
                action = Action.ACK if state == "ended" else Action.DEAD_LETTER
                await worker.end(delivery, action, record=success(envelope))
        for fields, answer in (
            ({"fingerprint": b"same"}, EXISTS),
            ({"fingerprint": b"other"}, CONFLICT),
            ({"fingerprint": b"same", "task": "suite.other"}, CONFLICT),
            ({}, EXISTS),
        ):
            [result] = await publish(worker.broker, make_envelope("given", **fields))
            assert (result.answer, result.id) == (answer, "given")
        assert len(await worker.fetch()) == (1 if state == "waiting" else 0)

    async def test_an_id_twice_in_one_publication_is_enqueued_once(self, harness: Harness) -> None:
        worker = await harness.worker()
        results = await publish(worker.broker, make_envelope("a"), make_envelope("a"), make_envelope("b"))
        assert [result.answer for result in results] == [ACCEPTED, EXISTS, ACCEPTED]
        assert await worker.take_ids(2) == ["a", "b"]

    async def test_an_id_is_free_again_when_its_record_is_no_longer_kept(self, harness: Harness) -> None:
        worker = await harness.worker()
        envelope = make_envelope("given", fingerprint=b"f", keep=60.0)
        await publish(worker.broker, envelope)
        await worker.succeed(await worker.take_one())
        await harness.advance(59)
        assert (await publish(worker.broker, envelope))[0].answer is EXISTS
        await harness.advance(2)
        assert (await publish(worker.broker, envelope))[0].answer is ACCEPTED
        assert await worker.take_ids(1) == ["given"]

    async def test_a_given_id_stays_reserved_although_the_result_is_not_kept(self, harness: Harness) -> None:
        worker = await harness.worker()
        envelope = make_envelope("given", fingerprint=b"f", keep=60.0, keeps_result=False)
        await publish(worker.broker, envelope)
        assert await worker.end(await worker.take_one()) is SettleAnswer.ACCEPTED
        assert (await publish(worker.broker, envelope))[0].answer is EXISTS
        await harness.advance(61)
        assert (await publish(worker.broker, envelope))[0].answer is ACCEPTED


class TestDelaysAndExpiry(Suite):
    promise = "delays"

    async def test_a_delayed_job_is_not_fetched_before_its_time(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("later", delay=10.0), make_envelope("now"))
        assert await worker.take_ids(1) == ["now"]
        await harness.advance(9)
        assert await worker.fetch() == []
        await harness.advance(2)
        assert await worker.take_ids(1) == ["later"]

    async def test_the_later_of_delay_and_absolute_time_counts(self, harness: Harness) -> None:
        worker = await harness.worker()
        now = harness.clock.time()
        await publish(
            worker.broker,
            make_envelope("at 20", delay=10.0, run_at=now + 20),
            make_envelope("at 10", delay=10.0, run_at=now + 5),
            make_envelope("now", run_at=now - 100),
        )
        assert await worker.take_ids(1) == ["now"]
        await harness.advance(11)
        assert await worker.take_ids(1) == ["at 10"]
        assert await worker.fetch() == []
        await harness.advance(10)
        assert await worker.take_ids(1) == ["at 20"]

    async def test_a_job_that_comes_due_takes_the_place_of_its_publication(self, harness: Harness) -> None:
        self.needs(harness, "keeps_place_on_release")
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("first", delay=10.0))
        await publish(worker.broker, make_envelope("second"))
        await harness.advance(11)
        assert await worker.take_ids(2) == ["first", "second"]

    async def test_expiry_is_counted_from_publication_on_the_brokers_clock(self, harness: Harness) -> None:
        worker = await harness.worker()
        now = harness.clock.time()
        await publish(
            worker.broker,
            make_envelope("a", expires_in=30.0),
            make_envelope("b", expires_at=now + 40),
            make_envelope("c", expires_in=30.0, expires_at=now + 20),
            make_envelope("d"),
        )
        await harness.advance(5)
        ends = {delivery.envelope.id: delivery.expires_at for delivery in await worker.take(4)}
        expected = {"a": now + 30, "b": now + 40, "c": now + 20, "d": None}
        assert ends == {name: pytest.approx(at, abs=1.0) for name, at in expected.items()}

    async def test_an_expired_job_is_delivered_for_the_worker_to_end_it(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope(expires_in=5.0))
        await harness.advance(10)
        delivery = await worker.take_one()
        assert delivery.expires_at is not None
        assert delivery.expires_at < delivery.leased_at


class TestLeasesRunOut(Suite):
    async def test_a_leased_job_is_not_fetched_again_while_its_lease_holds(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        await worker.take_one()
        await harness.advance(29)
        assert await (await harness.worker()).fetch() == []

    async def test_a_lease_that_ran_out_comes_back_as_a_suspect(self, harness: Harness) -> None:
        dead, living = await harness.worker(lease=30.0), await harness.worker()
        await publish(dead.broker, make_envelope(note=b"n", attempts=2))
        first = await dead.take_one()
        await harness.advance(31)
        again = await living.take_one()
        assert again.receipt.epoch > first.receipt.epoch
        assert again.suspect
        assert (again.attempts, again.note) == (2, b"n")

    async def test_also_a_job_without_any_history_has_one_once_its_lease_ran_out(self, harness: Harness) -> None:
        self.needs(harness, "fencing")
        dead, living = await harness.worker(lease=30.0), await harness.worker()
        await publish(dead.broker, make_envelope())
        first = await dead.take_one()
        await harness.advance(31)
        [again] = await living.fetch() or [await living.take_one()]  # also where nobody had looked before
        assert again.receipt.epoch > first.receipt.epoch
        assert again.suspect
        assert await dead.end(first) is SettleAnswer.LOST

    async def test_a_lease_is_kept_by_extending_it(self, harness: Harness) -> None:
        worker, other = await harness.worker(lease=30.0), await harness.worker()
        await publish(worker.broker, make_envelope())
        delivery = await worker.take_one()
        for _ in range(4):
            await harness.advance(20)
            assert await worker.extend(delivery) == await worker.extend()  # nothing lost, nothing cancelled
        assert await other.fetch() == []
        assert await worker.end(delivery) is SettleAnswer.ACCEPTED

    async def test_who_comes_late_may_still_extend_or_settle_what_nobody_else_has_taken(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope("extended"), make_envelope("settled"))
        extended, settled = await worker.take(2)
        await harness.advance(60)
        assert not (await worker.extend(extended)).lost
        assert await worker.end(settled) is SettleAnswer.ACCEPTED
        assert await worker.fetch() == []
        assert await worker.end(extended) is SettleAnswer.ACCEPTED

    async def test_extending_tells_which_leases_are_lost_and_keeps_the_others(self, harness: Harness) -> None:
        self.needs(harness, "fencing")
        worker, other = await harness.worker(lease=30.0), await harness.worker(lease=300.0)
        await publish(worker.broker, make_envelope("ended"), make_envelope("taken"))
        ended, taken = await worker.take(2)
        await harness.advance(31)
        await other.take(2)
        await publish(worker.broker, make_envelope("kept"))
        kept = await worker.take_one()
        await worker.end(ended)
        await harness.advance(20)
        answer = await worker.extend(ended, taken, kept)
        assert answer.lost == {"ended", "taken"}
        await harness.advance(20)
        assert await other.fetch() == []


class TestOnlyTheGuiltyPay(Suite):
    promise = "fencing"  # who knows nothing of leases knows nothing of marks

    async def test_a_lost_lease_counts_as_a_crash_only_if_its_run_was_marked_as_started(self, harness: Harness) -> None:
        dying, living = await harness.worker(lease=30.0), await harness.worker()
        await publish(dying.broker, make_envelope("marked"), make_envelope("unmarked"))
        marked, _ = await dying.take(2)
        await dying.extend(marked, started=True)
        await harness.advance(31)
        crashes = {delivery.envelope.id: delivery.crashes for delivery in await living.take(2)}
        assert crashes == {"marked": 1, "unmarked": 0}

    async def test_the_mark_holds_for_its_own_lease_only(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        await worker.extend(await worker.take_one(), started=True)
        await harness.advance(31)
        assert (await worker.take_one()).crashes == 1
        await harness.advance(31)
        assert (await worker.take_one()).crashes == 1

    async def test_a_later_renewal_does_not_take_the_mark_away(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        delivery = await worker.take_one()
        await worker.extend(delivery, started=True)
        await worker.extend(delivery)
        await harness.advance(31)
        assert (await worker.take_one()).crashes == 1

    async def test_a_job_given_back_pays_nothing_although_it_was_marked(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope())
        delivery = await worker.take_one()
        await worker.extend(delivery, started=True)
        await worker.end(delivery, Action.RELEASE)
        again = await worker.take_one()
        assert (again.crashes, again.suspect) == (0, False)

    async def test_a_suspect_stays_one_until_a_settlement_says_otherwise(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        await worker.take_one()
        await harness.advance(31)
        await worker.end(await worker.take_one(), Action.RELEASE)
        suspect = await worker.take_one()
        assert suspect.suspect
        await worker.end(suspect, Action.RETRY, attempts=1, suspect=False)
        assert not (await worker.take_one()).suspect


class TestEveryLeaseHasAnEpoch(Suite):
    async def test_the_first_epoch_is_one_and_each_lease_has_a_higher_one(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        epochs = []
        for action in (Action.RETRY, Action.RELEASE, None, Action.RETRY):
            delivery = await worker.take_one()
            epochs.append(delivery.receipt.epoch)
            if action is None:
                await harness.advance(31)
            else:
                await worker.end(delivery, action)
        assert epochs[0] == 1
        assert epochs == sorted(set(epochs))


class TestJobsKeepTheirPlace(Suite):
    promise = "keeps_place_on_release"

    async def test_a_released_job_goes_back_to_its_place(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(name) for name in "abcd"))
        first, second = await worker.take(2)
        await worker.end(second, Action.RELEASE)
        await worker.end(first, Action.RELEASE)
        assert await worker.take_ids(4) == ["a", "b", "c", "d"]

    async def test_a_job_released_for_later_goes_back_to_its_place_then(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a"), make_envelope("b"))
        await worker.end(await worker.take_one(), Action.RELEASE, delay=5.0)
        assert [delivery.envelope.id for delivery in await worker.fetch(0)] == []
        await harness.advance(6)
        assert await worker.take_ids(2) == ["a", "b"]

    async def test_a_job_whose_lease_ran_out_goes_back_to_its_place(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, *(make_envelope(name) for name in "abc"))
        await worker.take(2)
        await harness.advance(31)
        assert await worker.take_ids(3) == ["a", "b", "c"]


class TestSettlingIsOneStep(Suite):
    async def test_an_acknowledged_job_never_comes_back(self, harness: Harness) -> None:
        worker = await harness.worker(lease=30.0)
        await publish(worker.broker, make_envelope())
        assert await worker.end(await worker.take_one()) is SettleAnswer.ACCEPTED
        await harness.advance(300)
        assert await worker.fetch() == []

    async def test_a_retry_comes_back_with_what_its_settlement_stored(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope())
        await worker.end(await worker.take_one(), Action.RETRY, attempts=1, crashes=2, suspect=True, note=b"note")
        again = await worker.take_one()
        assert (again.attempts, again.crashes, again.suspect, again.note) == (1, 2, True, b"note")

    async def test_a_retry_goes_behind_what_waits(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope(name) for name in "abc"))
        await worker.end(await worker.take_one(), Action.RETRY, attempts=1)
        assert await worker.take_ids(3) == ["b", "c", "a"]

    async def test_a_retry_with_a_delay_waits_for_its_time(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a"))
        await worker.end(await worker.take_one(), Action.RETRY, delay=10.0, attempts=1)
        await harness.advance(9)
        assert await worker.fetch() == []
        await harness.advance(2)
        assert await worker.take_ids(1) == ["a"]

    async def test_follow_ups_are_published_with_the_end_and_not_before(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("first"))
        delivery = await worker.take_one()
        follow_ups = Publication(envelopes=(make_envelope("next"), make_envelope("later", delay=5.0)))
        assert await worker.end(delivery, follow_ups=follow_ups) is SettleAnswer.ACCEPTED
        assert await worker.take_ids(1) == ["next"]
        assert await worker.fetch() == []
        await harness.advance(6)
        assert await worker.take_ids(1) == ["later"]

    async def test_one_answer_for_each_settlement_in_order(self, harness: Harness) -> None:
        worker = await harness.worker()
        await publish(worker.broker, *(make_envelope() for _ in range(3)))
        first, second, third = await worker.take(3)
        await worker.end(second)
        results = await worker.settle(
            settlement(first), settlement(second), settlement(third, Action.RETRY), settlement(first)
        )
        answers = [result.answer for result in results]
        assert answers == [SettleAnswer.ACCEPTED, SettleAnswer.LOST, SettleAnswer.ACCEPTED, SettleAnswer.LOST]


class TestOnlyTheHolderEndsAJob(Suite):
    promise = "fencing"

    async def test_who_lost_a_lease_cannot_end_the_job_and_nothing_of_its_settlement_happens(
        self, harness: Harness
    ) -> None:
        zombie, heir = await harness.worker(lease=30.0), await harness.worker(lease=30.0)
        await publish(zombie.broker, make_envelope("job"))
        lost = await zombie.take_one()
        await harness.advance(31)
        held = await heir.take_one()
        follow_ups = Publication(envelopes=(make_envelope("never"),))
        for action in Action:
            record = success(lost.envelope, value=b"zombie")
            assert await zombie.end(lost, action, record=record, follow_ups=follow_ups) is SettleAnswer.LOST
        assert await heir.fetch() == []
        store = zombie.broker.store
        if store is not None:
            [record_now] = await store.get(["job"])
            assert record_now is not None
            assert record_now.value is None
        assert await heir.end(held) is SettleAnswer.ACCEPTED

    async def test_a_settled_lease_cannot_be_settled_again(self, harness: Harness) -> None:
        worker = await harness.worker()
        for action in Action:
            await publish(worker.broker, make_envelope(f"job-{action.value}"))
            delivery = await worker.take_one()
            assert await worker.end(delivery, action, delay=60.0) is SettleAnswer.ACCEPTED
            assert await worker.end(delivery) is SettleAnswer.LOST
            assert (await worker.extend(delivery)).lost == {delivery.envelope.id}

    async def test_who_lost_a_lease_cannot_report(self, harness: Harness) -> None:
        zombie, heir = await harness.worker(lease=30.0), await harness.worker()
        await publish(zombie.broker, make_envelope("job"))
        lost = await zombie.take_one()
        await harness.advance(31)
        held = await heir.take_one()
        await heir.extend(held, report=RunReport(started_at=50.0, worker_id="heir", fraction=0.5, saved=b"heir"))
        answer = await zombie.extend(
            lost, started=True, report=RunReport(started_at=1.0, worker_id="zombie", fraction=0.9, saved=b"zombie")
        )
        assert answer.lost == {"job"}
        store = zombie.broker.store
        if store is not None:
            [record] = await store.get(["job"])
            assert record is not None
            assert (record.status, record.worker_ids, record.fraction) == (TaskStatus.RUNNING, ("heir",), 0.5)
            assert (record.saved, record.started_at) == (b"heir", 50.0)


class TestLostRepliesCanBeRepeated(Suite):
    async def test_a_publication_repeated_with_its_call_has_the_same_answers_and_no_second_effect(
        self, harness: Harness
    ) -> None:
        self.needs(harness, "id_deduplication")
        worker = await harness.worker()
        call = CallId("producer", 1)
        envelopes = [make_envelope("a", keep=0.0), make_envelope("b", keep=0.0), make_envelope("a", keep=0.0)]
        first = await publish(worker.broker, *envelopes, call=call)
        for delivery in await worker.take(2):
            assert await worker.end(delivery) is SettleAnswer.ACCEPTED
        # The jobs have ended and are not remembered: only the call tells that this is no new publication.
        assert await publish(await harness.open(), *envelopes, call=call) == first
        assert await worker.fetch() == []

    async def test_a_settlement_repeated_with_its_call_has_the_same_answers_and_no_second_effect(
        self, harness: Harness
    ) -> None:
        worker = await harness.worker()
        await publish(worker.broker, make_envelope("a"), make_envelope("b"))
        first, second = await worker.take(2)
        stale = msgspec.structs.replace(
            second, receipt=msgspec.structs.replace(second.receipt, epoch=second.receipt.epoch + 7)
        )
        settlements = (
            settlement(first, follow_ups=Publication(envelopes=(make_envelope("next", keep=0.0),))),
            settlement(stale),
            settlement(second, Action.RETRY, attempts=1),
        )
        call = CallId("worker", 1)
        answers = await worker.settle(*settlements, call=call)
        assert [result.answer for result in answers] == [
            SettleAnswer.ACCEPTED,
            SettleAnswer.LOST,
            SettleAnswer.ACCEPTED,
        ]
        for delivery in await worker.take(2):
            await worker.end(delivery)
        assert await worker.settle(*settlements, call=call) == answers
        assert await worker.fetch() == []

    async def test_sessions_numbers_and_verbs_do_not_mix(self, harness: Harness) -> None:
        worker = await harness.worker()
        for count, call in enumerate([CallId("s", 1), CallId("s", 2), CallId("t", 1)], start=1):
            [result] = await publish(worker.broker, make_envelope(f"{count}"), call=call)
            assert result.answer is ACCEPTED
        for number, delivery in enumerate(await worker.take(3), start=1):
            [ended] = await worker.settle(settlement(delivery), call=CallId("s", number))
            assert ended.answer is SettleAnswer.ACCEPTED
