"""Workers in miniature that run workflows on any broker and die, hang and repeat themselves as chance has it.

What a worker does with a job of a workflow is the real code (`PlacedRuns`, `decide`); only fetching, the running of
functions and settling are played, so that a test can stop between any two of them.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from contextlib import suppress
from typing import Any
from unittest import mock

import msgspec

from heeler import Heeler, Retry, TaskStatus, workflow_sender
from heeler.clock import new_id
from heeler.codecs import Codecs
from heeler.contracts import Broker, QueueShare, ResultStore, Subscription
from heeler.dag.shape import Record, decode_record, jobs_of, latches_of, root_path
from heeler.dag.values import drive, leaves_of, read_value
from heeler.errors import BrokerUnavailable
from heeler.model import (
    RELAY_TASK,
    Action,
    CallId,
    Delivery,
    Envelope,
    ErrorRecord,
    Latch,
    LatchRule,
    LatchState,
    Publication,
    Renewal,
    ResultRecord,
    SettleAnswer,
    Settlement,
)
from heeler.testing import ManualClock
from heeler.types import TypeRegistry
from heeler.wire.native import NativeFormat
from heeler.worker.completing import Completer, _PlainBuilder
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.outcome import Raised, Returned
from heeler.worker.placed_runs import PlacedRuns
from heeler.worker.run import Run
from heeler.workflow_result import revive_failed, revive_skipped
from heeler.workflow_sender import KEPT_WHILE_UNFINISHED, STREAM_DEADLINE, WorkflowOptions, _Sending
from workflow_specs import JobSpec, Spec, build, jobs_in, judge, result_of, value_of

__all__ = ["Hand", "OneBroker", "Place", "World", "Written"]

LEASE = 30.0
_MOST_DEATHS = 6
_OF_CALLBACKS = re.compile("/[tc][0-9]")
_WORKED_OFF = 20_000.0  # seconds within which all of a workflow has ended in these stories
_encode = msgspec.msgpack.encode


class Written:
    """What a caller would publish of a spec, in batches of a drawn size."""

    def __init__(self, spec: Spec, batch: int) -> None:
        self.spec = spec
        self.id = new_id()
        with Heeler("memory://", clock=ManualClock()) as app:

            def work(got: Any = None, *, name: str, refs: Any = ()) -> Any: ...

            task = app.task(work, name="work")
            part: Any = build(spec, task)
            whole = part.then() if isinstance(spec, JobSpec) and not (spec.then or spec.catch) else part
            whole = whole._snapshot() if hasattr(whole, "_snapshot") else whole
            app.connections.opened_blocking()
            with mock.patch.object(workflow_sender, "BATCH", batch):
                sending = _Sending(whole._sender(), whole._whole(), self.id, WorkflowOptions())
                try:
                    self.publications = list(sending.publications())
                finally:
                    sending.close()


class Hand:
    """A worker with a broker of its own, or a share of one."""

    def __init__(self, broker: Broker, subscription: Subscription) -> None:
        self.broker = broker
        self.subscription = subscription
        self.held: list[Delivery] = []


class Place:
    """Where hands come from. `delivers_once`: a job that was let go once comes as new once."""

    delivers_once = True

    async def hire(self, lives: int | None = 60) -> Hand:
        """A new hand; where hands may die by themselves, this one does so after fewer steps than `lives`, or never."""
        raise NotImplementedError

    async def retire(self, hand: Hand) -> None:
        """It has died."""

    async def each_round(self, hand: Hand) -> None:
        """What processes do besides, now and then."""

    def ends(self) -> Counter[str] | None:
        """How often the end of each job was accepted; None: as the hands were told."""
        return None


class OneBroker(Place):
    """All hands share one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def hire(self, lives: int | None = 60) -> Hand:
        return Hand(self._broker, await self._broker.subscribe([QueueShare("default")], LEASE, new_id()))


class World:
    """Some hands, what they hold, what the dead of them still had to say, and what the broker accepted."""

    def __init__(self, written: Written, clock: ManualClock, chance: random.Random, place: Place) -> None:
        self._written = written
        self._clock = clock
        self._chance = chance
        self._place = place
        self._hands: list[Hand] = []
        self._zombies: list[tuple[list[Settlement], CallId]] = []
        self._calls = 0
        self._session = new_id()
        self._deaths = 0
        self._how = {job.name: job.how for job in jobs_in(written.spec)}
        self._told: Counter[str] = Counter()  # by id: ends that were answered as accepted
        self._first_leases: Counter[str] = Counter()  # by id: how often it came as new
        self._codecs = Codecs(TypeRegistry())

    # The story

    async def live(self, dies_after: int | None = None) -> None:
        """The caller publishes (and perhaps dies after so many publications), and the workers work until all is done.

        The caller and the workers go on side by side.
        """
        self._hands = [await self._place.hire() for _ in range(2)]
        caller = await self._place.hire(lives=self._chance.choice([6, None]))
        waiting = list(self._written.publications)
        if dies_after is not None:
            del waiting[dies_after:]
            if not waiting:
                return
        touches = dies_after is None
        while waiting:
            if self._chance.random() < 0.5:
                try:
                    await self._publish(caller, waiting[0])
                except BrokerUnavailable:
                    break  # it has died: nobody sends the rest
                del waiting[0]
            else:
                await self._something()
                if touches:
                    await self._touch(caller)
        await self._place.retire(caller)
        for _ in range(self._chance.randrange(40)):
            await self._something()
        await self.work_off()

    async def _publish(self, caller: Hand, publication: Publication) -> None:
        publication = msgspec.structs.replace(publication, call=self._call())
        answers = await caller.broker.publish(publication)
        if self._chance.random() < 0.2:  # the answer was lost
            assert await caller.broker.publish(publication) == answers

    async def _touch(self, caller: Hand) -> None:
        """What a caller does that lives and has not sent all."""
        if await self._root() is not None:
            touch = Latch(id=self._written.id, rule=LatchRule.ALL_OK, total=None)
            with suppress(BrokerUnavailable):
                await caller.broker.publish(Publication(latches=(touch,)))

    async def _something(self) -> None:
        what = self._chance.choice(
            ["fetch", "fetch", "fetch", "work", "work", "work", "work", "start", "die", "zombie", "late"]
        )
        number = self._chance.randrange(len(self._hands))
        hand = self._hands[number]
        try:
            await getattr(self, f"_{what}")(hand)
        except BrokerUnavailable:
            await self._replace(hand)

    async def _replace(self, hand: Hand) -> None:
        hand.held = []
        await self._place.retire(hand)
        self._hands[self._hands.index(hand)] = await self._place.hire()

    async def _fetch(self, hand: Hand, limit: int = 0) -> list[Delivery]:
        fetched = await hand.subscription.fetch(limit or self._chance.choice([1, 2, 5]))
        self._first_leases.update(delivery.envelope.id for delivery in fetched if delivery.receipt.epoch == 1)
        hand.held += fetched
        return fetched

    async def _work(self, hand: Hand) -> None:
        """Run some of what is held, and settle it in any order, perhaps twice."""
        if hand.held:
            self._chance.shuffle(hand.held)
            count = self._chance.randint(1, len(hand.held))
            mine, hand.held = hand.held[:count], hand.held[count:]
            await self._settle(hand, await self._settlements(hand, mine), self._call())

    async def _start(self, hand: Hand) -> None:
        if hand.held:
            await hand.broker.extend([Renewal(delivery=hand.held[0], started=True)], LEASE)

    async def _die(self, hand: Hand) -> None:
        """It dies after it has run what it held, and before it settles that; its settlement may come late."""
        if self._deaths >= _MOST_DEATHS:
            return
        self._deaths += 1
        if hand.held and self._chance.random() < 0.5:
            self._zombies.append((await self._settlements(hand, hand.held), self._call()))
        await self._replace(hand)

    async def _zombie(self, hand: Hand) -> None:
        if self._zombies:
            settlements, call = self._zombies.pop(self._chance.randrange(len(self._zombies)))
            await self._settle(hand, settlements, call)

    async def _late(self, hand: Hand) -> None:
        """All leases run out."""
        self._clock.advance(LEASE + 1)
        for one in self._hands:
            if one.held and self._chance.random() < 0.5:
                self._zombies.append((await self._settlements(one, one.held), self._call()))
            one.held = []
        await self._place.each_round(hand)

    async def work_off(self) -> None:
        """Nobody dies any more, and all that is left is done."""
        for one in self._hands:
            await self._place.retire(one)
        hand = await self._place.hire(lives=None)
        self._hands = [hand]
        idle = 0
        while idle < 4:
            self._clock.advance(max(LEASE + 1, STREAM_DEADLINE / 2))
            await self._place.each_round(hand)
            idle += 1
            while await self._fetch(hand, 50):
                idle = 0
                mine, hand.held = hand.held, []
                await self._settle(hand, await self._settlements(hand, mine), self._call())

    # What a worker does

    async def _settlements(self, hand: Hand, deliveries: list[Delivery]) -> list[Settlement]:
        store = _store(hand)
        formats: Any = {NativeFormat.name: NativeFormat()}
        placed = PlacedRuns(store, Completer(store, self._codecs, formats, {}), self._clock, "w")
        runs = [Run(delivery, 0.0) for delivery in deliveries]
        found = await placed.sort(runs)
        settlements, ready = list(found.settlements), list(found.ready)
        for run, place in found.slow:
            more = await placed.complete(run, place)
            settlements += more.settlements
            ready += more.ready
        return settlements + [self._run(run) for run in ready]

    def _run(self, run: Run) -> Settlement:
        delivery = run.delivery
        body = run.completed.body if run.completed is not None else delivery.envelope.body
        arguments = self._codecs.get(delivery.envelope.content_type).decode(body)
        name, got, refs = arguments["name"], arguments.get("got"), arguments.get("refs", [])
        how = self._how[name]
        policy = Policy(content_type=delivery.envelope.content_type)
        outcome: Any = Returned(_encode(result_of(name, got, refs)))
        if how == "fails" or (how == "flaky" and not delivery.attempts):
            outcome = Raised(ErrorRecord("builtins.ValueError", f"{name} fails"))
        if how == "flaky":
            policy = Policy(retry=Retry(max_attempts=2, delay=1.0), content_type=delivery.envelope.content_type)
        now = self._clock.time()
        return decide(outcome, Facts(delivery, policy, "w", now, started_at=now))

    async def _settle(self, hand: Hand, settlements: list[Settlement], call: CallId) -> None:
        answers = await hand.broker.settle(settlements, call)
        if self._chance.random() < 0.2:  # the answer was lost
            assert await hand.broker.settle(settlements, call) == answers
        for settlement, answer in zip(settlements, answers, strict=True):
            if answer.answer is SettleAnswer.ACCEPTED and settlement.action in (Action.ACK, Action.DEAD_LETTER):
                self._told[settlement.delivery.envelope.id] += 1

    def _name(self, envelope: Envelope) -> str:
        return str(self._codecs.get(envelope.content_type).decode(envelope.body)["name"])

    def _call(self) -> CallId:
        self._calls += 1
        return CallId(self._session, self._calls)

    # Whether all is well

    async def check(self) -> None:
        """Every job was let go and ended at most once; the workflow has ended, as the model says."""
        ends = self._ends()
        assert not [id for id, count in ends.items() if count > 1]
        if self._place.delivers_once:
            assert not [id for id, count in self._first_leases.items() if count > 1]
        await self._check_nothing_is_left()
        ran = await self._ran()
        root = await self._root()
        if root is None:
            assert not ran
            return
        is_whole = root.total is not None
        judgement = judge(self._written.spec, stopped=not is_whole)
        assert ran <= judgement.must | judgement.may, ran - judgement.must - judgement.may
        if not is_whole:
            assert root.state is LatchState.BROKEN, "what was not sent to its end is broken"
            return
        assert root.state is (LatchState.RELEASED if judgement.ok else LatchState.BROKEN)
        assert judgement.must <= ran, judgement.must - ran
        record = decode_record(root.data)
        main = [id for id, _ in jobs_of(record.shape, root_path(record.shape.kind, self._written.id), callbacks=False)]
        assert root.ticks == sum(id in ends for id in main)
        assert record.jobs == len(main)
        if all(job.how != "fails" for job in jobs_in(self._written.spec)):
            assert await self._value(record) == value_of(self._written.spec)

    async def redrive_and_check(self, *, from_dead_letters: bool) -> None:
        """What has failed runs again and succeeds; then the workflow has succeeded, and all of it has run."""
        root = await self._root()
        if root is None or root.total is None or root.state is not LatchState.BROKEN:
            return
        before = self._ends().copy()
        self._how = dict.fromkeys(self._how, "ok")
        store = _store(self._hands[0])
        record = decode_record(root.data)
        records = await self._records()
        failed = [found.envelope for found in records if found.status is TaskStatus.FAILED]
        succeeded = [found.envelope.id for found in records if found.status is TaskStatus.SUCCESSFUL]
        if from_dead_letters:
            admin = self._hands[0].broker.admin
            assert admin is not None
            assert await admin.redrive([envelope.id for envelope in failed]) == len(failed)
            await revive_skipped(store, failed)
        else:
            await revive_failed(store, root.id, record.shape)
        await self.work_off()
        await self._check_nothing_is_left()
        root = await self._root()
        assert root is not None
        assert root.state is LatchState.RELEASED
        main = {job.name for job in jobs_in(self._written.spec, callbacks=False)}
        ran = await self._ran()
        assert main <= ran, main - ran
        ends = self._ends()
        assert not [id for id in succeeded if ends[id] > before[id]], "what had succeeded ran again"

    async def forget_and_check(self) -> None:
        """All that is known of the workflow is known for the same time after its end, and then it is gone at once.

        Callbacks, which follow the end, are kept for times of their own.
        """
        root = await self._root()
        if root is None:
            return
        store = _store(self._hands[0])
        record = decode_record(root.data)
        path = root_path(record.shape.kind, root.id)
        keep = record.keep if root.state is LatchState.RELEASED else KEPT_WHILE_UNFINISHED
        main = {id for id, _ in jobs_of(record.shape, path, callbacks=False)} & set(self._ends())
        latches = [root.id, *(latch for latch in latches_of(record.shape, path) if not _OF_CALLBACKS.search(latch))]
        self._clock.advance(keep - _WORKED_OFF)
        assert all(await store.get(list(main)))
        assert await self._root() is not None
        self._clock.advance(_WORKED_OFF + 1)
        assert await self._root() is None
        if any(job.how == "fails" for job in jobs_in(self._written.spec)):
            self._clock.advance(KEPT_WHILE_UNFINISHED)  # some may have run on when the rest had ended
        assert not any(await store.latches(latches))
        assert not any(await store.get(list(main)))

    def _ends(self) -> Counter[str]:
        ends = self._place.ends()
        return self._told if ends is None else ends

    async def _records(self) -> list[ResultRecord]:
        """Of all jobs that were ever on their way, relays apart."""
        records = await _store(self._hands[0]).get(list(self._ends()))
        return [found for found in records if found is not None and found.envelope.task != RELAY_TASK]

    async def _ran(self) -> set[str]:
        return {self._name(found.envelope) for found in await self._records() if found.attempts}

    async def _check_nothing_is_left(self) -> None:
        admin = self._hands[0].broker.admin
        assert admin is not None
        for size in await admin.sizes(["default"]):
            assert (size.waiting, size.scheduled, size.running) == (0, 0, 0)

    async def _root(self) -> Any:
        [latch] = await _store(self._hands[0]).latches([self._written.id])
        return latch

    async def _value(self, record: Record) -> Any:
        path = root_path(record.shape.kind, self._written.id)
        reading = read_value(record.shape, path, _PlainBuilder(self._codecs))
        return await drive(reading, leaves_of(record.shape, path), _store(self._hands[0]).get)


def _store(hand: Hand) -> ResultStore:
    assert hand.broker.store is not None
    return hand.broker.store
