"""Whatever a composed broker asks in whatever order, all stores of jobs of other brokers answer as memory does.

The worker's side is played by whoever holds the answers: messages that come twice or late, ends of lost runs, calls
that are repeated because their answer was lost, errands that are cleared late or never.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from heeler.brokers.memory.ordered_store import MemoryOrderedStore
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.redis.ordered_store import AREA, RedisOrderedStore
from heeler.brokers.sqlite import SqliteBroker
from heeler.brokers.sqlite.ordered_store import SqliteOrderedStore
from heeler.clock import new_id
from heeler.contracts import Applied, BeginAnswer, Begun, Cancelled, Candidate, OrderedStore, Reserved, Unsent
from heeler.io_thread import IoThread
from heeler.model import (
    Action,
    Arrival,
    ArrivalKind,
    CallId,
    DeadLetter,
    Delivery,
    Envelope,
    Guard,
    Latch,
    LatchRule,
    Member,
    Publication,
    PublishAnswer,
    Receipt,
    Renewal,
    ResultRecord,
    RunReport,
    SettleAnswer,
    Settlement,
    TaskStatus,
    revived,
)
from heeler.testing.manual_clock import ManualClock
from heeler.url import BrokerUrl
from services import forget_namespace, redis_url

LEASE = 30.0
REMEMBERED = 115.0  # seconds for which nothing is forgotten that stores may forget when they like
IDS = [f"job {number}" for number in range(6)] + [f"next {number}" for number in range(3)]
LOST = ["lost 0", "lost 1"]
LATCHES = ["latch 0", "latch 1"]
ROOM = Path("/dev/shm")  # where there is one, a commit need not wait for a disk

members = st.builds(Member, st.sampled_from(LATCHES), st.integers(0, 2))
arrivals = st.builds(Arrival, st.sampled_from(LATCHES), st.integers(0, 2), st.sampled_from(ArrivalKind))


def envelopes_of(names: Sequence[str]) -> st.SearchStrategy[Envelope]:
    return st.builds(
        Envelope,
        id=st.sampled_from(names),
        task=st.sampled_from(["x", "y"]),
        queue=st.sampled_from(["a", "b"]),
        body=st.binary(max_size=8),
        content_type=st.just("m"),
        delay=st.sampled_from([0.0, 0.0, 0.0, 4.0, 16.0]),
        expires_in=st.sampled_from([None, None, 8.0]),
        keep=st.sampled_from([0.0, 20.0, 4096.0]),
        keeps_result=st.booleans(),
        fingerprint=st.sampled_from([b"", b"", b"1", b"2"]),
        reply_to=st.sampled_from([None, "nobody"]),
        ends_at=st.lists(members, max_size=1).map(tuple),
    )


latches = st.builds(
    Latch,
    id=st.sampled_from(LATCHES),
    rule=st.sampled_from(LatchRule),
    total=st.sampled_from([None, 1, 2, 3]),
    envelope=st.none() | envelopes_of(IDS[6:]),
    on_break=st.none() | envelopes_of(IDS[6:]),
    keep=st.just(4096.0),
)
cells = st.sampled_from([None, b"1", b"2"])
guards = st.none() | st.none() | st.builds(Guard, st.just("cell"), cells, cells)


def publications_of(names: Sequence[str]) -> st.SearchStrategy[Publication]:
    return st.builds(
        Publication,
        envelopes=st.lists(envelopes_of(names), min_size=1, max_size=5).map(tuple),
        latches=st.lists(latches, max_size=1).map(tuple),
        guard=guards,
    )


reports = st.builds(
    RunReport,
    started_at=st.sampled_from([None, 1.0, 2.0]),
    worker_id=st.sampled_from(["", "v", "w"]),
    fraction=st.sampled_from([None, 0.5]),
    message=st.sampled_from([None, "half"]),
    saved=st.sampled_from([None, b"saved"]),
)
some_ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)
EVENTS = (
    *("reserve",) * 3,
    *("begin",) * 5,
    *("apply",) * 4,
    *("renew",) * 2,
    *("clear",) * 2,
    *("let_time_pass",) * 3,
    *("cancel", "drop", "unsent", "revive", "pause", "resume", "forget"),
    *("reserve_again", "apply_again", "begin_what_the_store_has_forgotten"),
)


class OrderedStory(RuleBasedStateMachine):
    """All that a composed broker asks its store."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=ROOM if ROOM.is_dir() else None))
        self.clock = ManualClock()
        self.began = self.clock.time()
        self.io = IoThread("heeler-properties")
        self.namespace = f"story-{new_id()}"
        self.runner = asyncio.Runner()
        self.stores = self._make_stores()
        for store in self.stores:
            self.runner.run(store.open())
        self.calls = 0
        self.messages: list[Envelope] = []  # all that ever had to be sent
        self.lost: dict[str, Envelope] = {}
        self.runs: list[Delivery] = []  # all that ever began
        self.letters: list[DeadLetter] = []
        self.keys: list[tuple[str, ...]] = []  # of errands, by store
        self.last_publication: tuple[Publication, Any] | None = None
        self.last_settlements: tuple[list[Settlement], CallId, Any] | None = None

    def _make_stores(self) -> list[OrderedStore]:
        shared: dict[str, Any] = {"io": self.io, "clock": self.clock, "namespace": self.namespace}
        options = options_of(BrokerUrl.parse(redis_url()))
        return [
            MemoryOrderedStore(clock=self.clock, namespace=self.namespace),
            SqliteOrderedStore(SqliteBroker(path=str(self.folder / "results.db"), **shared)),
            RedisOrderedStore(RedisBroker(options, area=AREA, time_from=self.clock, **shared)),
        ]

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        self.io.close()
        shutil.rmtree(self.folder)
        forget_namespace(redis_url(), self.namespace)

    @rule(data=st.data(), event=st.sampled_from(EVENTS))
    def something_happens(self, data: st.DataObject, event: str) -> None:
        getattr(self, event)(data)

    # What is asked

    def reserve(self, data: st.DataObject) -> None:
        publication = msgspec.structs.replace(data.draw(publications_of(IDS[:6])), call=self._call())
        self.last_publication = (publication, self._reserved(publication).results)

    def reserve_again(self, data: st.DataObject) -> None:
        if self.last_publication is not None:
            publication, results = self.last_publication
            assert self._reserved(publication).results == results

    def _reserved(self, publication: Publication) -> Reserved:
        told = self._same(lambda store: store.reserve(publication), _reserved)
        self._owe([one.unsent for one in told])
        accepted = [result.id for result in told[0].results if result.answer is PublishAnswer.ACCEPTED]
        assert len(set(accepted)) == len(accepted)
        return told[0]

    def begin(self, data: st.DataObject) -> None:
        if self.messages:
            chosen = data.draw(st.lists(st.sampled_from(self.messages[-12:]), min_size=1, max_size=4))
            self._begin([Candidate(envelope, data.draw(st.booleans())) for envelope in chosen])

    def begin_what_the_store_has_forgotten(self, data: st.DataObject) -> None:
        """Of a message that the store never heard of, or has lost that a later one was sent."""
        lost = self.lost.setdefault(name := data.draw(st.sampled_from(LOST)), data.draw(envelopes_of([name])))
        newest = {envelope.id: envelope for envelope in (*self.lost.values(), *self.messages)}
        envelope = data.draw(st.sampled_from([lost, *newest.values()]))
        later = msgspec.structs.replace(envelope, epoch=envelope.epoch + 1, attempts=1, note=b"n", suspect=True)
        self._begin([Candidate(data.draw(st.sampled_from([envelope, later])), data.draw(st.booleans()))])

    def _begin(self, candidates: list[Candidate]) -> None:
        told = self._same(
            lambda store: store.begin(candidates, LEASE), lambda answers: [_begun(one) for one in answers]
        )
        for number, candidate in enumerate(candidates):
            answer = told[0][number]
            self._owe([answers[number].unsent for answers in told])
            if answer.answer is BeginAnswer.RUN:
                envelope = candidate.envelope
                self.runs.append(
                    Delivery(
                        envelope=envelope,
                        receipt=Receipt(envelope.id, answer.epoch),
                        leased_at=answer.at,
                        attempts=envelope.attempts,
                        crashes=answer.crashes,
                        suspect=answer.suspect,
                        note=envelope.note,
                    )
                )

    def renew(self, data: st.DataObject) -> None:
        if self.runs:
            renewals = [
                Renewal(delivery=run, started=data.draw(st.booleans()), report=data.draw(st.none() | reports))
                for run in data.draw(st.lists(st.sampled_from(self.runs[-6:]), min_size=1, max_size=3, unique_by=id))
            ]
            self._same(lambda store: store.renew(renewals, LEASE))

    def apply(self, data: st.DataObject) -> None:
        if self.runs:
            runs = data.draw(st.lists(st.sampled_from(self.runs[-6:]), min_size=1, max_size=3))
            settlements = [self._settlement(run, data) for run in runs]
            call = self._call()
            self.last_settlements = (settlements, call, self._applied(settlements, call))

    def apply_again(self, data: st.DataObject) -> None:
        if self.last_settlements is not None:
            settlements, call, answers = self.last_settlements
            assert self._applied(settlements, call) == answers

    def _applied(self, settlements: list[Settlement], call: CallId) -> list[SettleAnswer]:
        told = self._same(
            lambda store: store.apply(settlements, call), lambda answers: [_applied(one) for one in answers]
        )
        for number in range(len(settlements)):
            self._owe([answers[number].unsent for answers in told])
        return [answer.answer for answer in told[0]]

    def clear(self, data: st.DataObject) -> None:
        if self.keys:
            chosen = data.draw(st.lists(st.sampled_from(self.keys[-8:]), min_size=1, max_size=3))
            acknowledged = data.draw(st.booleans())
            for number, store in enumerate(self.stores):
                self.runner.run(store.clear([keys[number] for keys in chosen], acknowledged=acknowledged))

    def unsent(self, data: st.DataObject) -> None:
        older_than = data.draw(st.sampled_from([0.0, 5.0, 40.0]))
        self._same(
            lambda store: store.unsent(older_than), lambda found: sorted([_content(one) for one in found], key=repr)
        )

    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(some_ids)
        told = self._same(lambda store: store.cancel(ids), lambda answers: [_cancelled(one) for one in answers])
        for number in range(len(ids)):
            self._owe([answers[number].unsent for answers in told])

    def drop(self, data: st.DataObject) -> None:
        if self.messages:
            chosen = data.draw(st.lists(st.sampled_from(self.messages[-6:]), min_size=1, max_size=2))
            told = self._same(lambda store: store.drop(chosen, "purged"), lambda ends: [_content(end) for end in ends])
            for number in range(len(chosen)):
                self._owe([ends[number] for ends in told])

    def revive(self, data: st.DataObject) -> None:
        if self.letters:
            letters = [data.draw(st.sampled_from(self.letters))]
            told = self._same(lambda store: store.revive(letters), lambda found: [_content(one) for one in found])
            self._owe([found[0] for found in told])

    def pause(self, data: st.DataObject) -> None:
        self._same(lambda store: store.pause("a"))

    def resume(self, data: st.DataObject) -> None:
        self._same(lambda store: store.resume("a"))

    def forget(self, data: st.DataObject) -> None:
        ids = data.draw(some_ids)
        self._same(lambda store: store.forget(ids))

    def let_time_pass(self, data: st.DataObject) -> None:
        seconds = data.draw(st.sampled_from([1.0, 4.0, 16.0, LEASE + 1]))
        if self.clock.time() + seconds < self.began + REMEMBERED:
            self.clock.advance(seconds)

    @invariant()
    def all_that_can_be_read_is_the_same(self) -> None:
        self._same(lambda store: store.get(IDS + LOST), lambda records: [_read(record) for record in records])
        self._same(lambda store: store.paused())

    # How it is asked

    def _call(self) -> CallId:
        self.calls += 1
        return CallId("caller", self.calls)

    def _same(
        self, ask: Callable[[OrderedStore], Any], reduce: Callable[[Any], Any] = lambda answer: answer
    ) -> list[Any]:
        """The answers of all stores, which say the same."""
        told = [self.runner.run(ask(store)) for store in self.stores]
        for store, answer in zip(self.stores[1:], told[1:], strict=True):
            _check_same(reduce(told[0]), reduce(answer), type(store).__name__)
        return told

    def _owe(self, unsent: list[Unsent | None]) -> None:
        first = unsent[0]
        if first is None:
            return
        self.keys.append(tuple([one.key for one in unsent if one is not None]))
        self.messages += [message.envelope for message in first.messages]
        if first.letter is not None:
            self.letters.append(first.letter)

    def _settlement(self, run: Delivery, data: st.DataObject) -> Settlement:
        action = data.draw(st.sampled_from([Action.ACK, Action.ACK, *Action]))
        ended = action in {Action.ACK, Action.DEAD_LETTER}
        status = data.draw(st.sampled_from([TaskStatus.SUCCESSFUL, TaskStatus.FAILED]))
        record = ResultRecord(
            envelope=run.envelope,
            status=status if ended else TaskStatus.READY,
            attempts=data.draw(st.integers(0, 2)),
            worker_ids=("w",),
            value=b"value" if ended else None,
        )
        is_plain = action is Action.ACK and data.draw(st.booleans())
        return Settlement(
            delivery=run,
            action=action,
            delay=0.0 if ended else data.draw(st.sampled_from([0.0, 4.0])),
            attempts=record.attempts,
            crashes=data.draw(st.integers(0, 1)),
            suspect=data.draw(st.booleans()),
            note=data.draw(st.sampled_from([b"", b"note"])),
            record=data.draw(st.sampled_from([record, None])),
            follow_ups=None if is_plain or not ended else data.draw(st.none() | publications_of(IDS[6:])),
            arrivals=() if is_plain else tuple(data.draw(st.lists(arrivals, max_size=2))),
            reason="given up" if action is Action.DEAD_LETTER else "",
        )


def _check_same(first: Any, other: Any, name: str) -> None:
    if first != other:
        if isinstance(first, list) and isinstance(other, list):
            first, other = next(
                pair for pair in itertools.zip_longest(first, other, fillvalue="nothing") if pair[0] != pair[1]
            )
        raise AssertionError(f"memory says\n  {first}\n{name} says\n  {other}")


def _content(unsent: Unsent | None) -> Any:
    return None if unsent is None else (unsent.messages, unsent.letter)


def _reserved(reserved: Reserved) -> Any:
    answers = [(result.answer, result.id) for result in reserved.results]
    return answers, _content(reserved.unsent)


def _begun(begun: Begun) -> Any:
    return msgspec.structs.replace(begun, unsent=None), _content(begun.unsent)


def _applied(applied: Applied) -> Any:
    return applied.answer, _content(applied.unsent)


def _cancelled(cancelled: Cancelled) -> Any:
    return cancelled.answer, _content(cancelled.unsent)


def _read(record: ResultRecord | None) -> Any:
    """What a reader cares for: neither wording, nor which of its messages the record has."""
    return record and msgspec.structs.replace(
        record,
        envelope=revived(record.envelope, 1),
        errors=tuple([error.exception_class_path for error in record.errors]),
    )


TestOrderedStory = OrderedStory.TestCase
TestOrderedStory.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # Phase.shrink takes minutes: add it to look into a story that fails
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
