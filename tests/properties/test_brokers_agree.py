"""Whatever happens in whatever order, all brokers say and do what the memory broker, the specification, says and does.

The lost jobs, crashed workers, zombies and repeated calls of these stories are those of promises 1 to 4.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twins import Held, Twins

from heeler.brokers.memory import MemoryBroker
from heeler.brokers.redis.broker import RedisBroker
from heeler.brokers.redis.options import options_of
from heeler.brokers.sqlite import SqliteBroker
from heeler.clock import new_id
from heeler.io_thread import IoThread
from heeler.model import (
    TICK,
    Action,
    Arrival,
    ArrivalKind,
    CallId,
    Envelope,
    Guard,
    Latch,
    LatchRule,
    Member,
    Publication,
    PublishAnswer,
    ResultRecord,
    RunReport,
    SettleAnswer,
    TaskStatus,
)
from heeler.testing.manual_clock import ManualClock
from heeler.url import BrokerUrl
from services import redis_url

QUEUES = ("a", "b")
WORKERS = (("a", "b"), ("b", "a"), ("a",))
PUBLISHED = [f"job {number}" for number in range(10)]
FOLLOWING = [f"next {number}" for number in range(4)]  # published by settlements and latches
IDS = PUBLISHED + FOLLOWING
LATCHES = ["latch 0", "latch 1"]
REMEMBERED = 100.0  # seconds for which the last call of a session can surely be repeated
ROOM = Path("/dev/shm")  # where there is one, a commit need not wait for a disk

ids = st.sampled_from(IDS)
latch_ids = st.sampled_from(LATCHES)
members = st.builds(Member, latch_ids, st.integers(TICK, 2), st.booleans(), st.booleans())
arrivals = st.builds(Arrival, latch_ids, st.integers(TICK, 2), st.sampled_from(ArrivalKind), ids)
published = st.builds(
    Envelope,
    id=st.sampled_from(PUBLISHED),
    task=st.sampled_from(["x", "y"]),
    queue=st.sampled_from(QUEUES),
    body=st.binary(max_size=8),
    content_type=st.just("m"),
    priority=st.sampled_from([0, 0, 5, -5]),
    delay=st.sampled_from([0.0, 0.0, 0.0, 4.0, 16.0]),
    expires_in=st.sampled_from([None, 8.0]),
    keep=st.sampled_from([0.0, 0.0, 20.0, 4096.0]),
    keeps_result=st.booleans(),
    fingerprint=st.sampled_from([b"", b"1", b"2"]),
    ends_at=st.lists(members, max_size=1).map(tuple),
)
following = st.builds(
    lambda envelope, name: msgspec.structs.replace(envelope, id=name), published, st.sampled_from(FOLLOWING)
)
latches = st.builds(
    Latch,
    id=latch_ids,
    rule=st.sampled_from(LatchRule),
    total=st.sampled_from([None, 1, 2, 3]),
    envelope=st.none() | following,
    on_break=st.none() | following,
    scope=st.sampled_from([None, *LATCHES]),
    data=st.sampled_from([b"", b"1", b"2"]),
    keep=st.sampled_from([64.0, 4096.0]),
)
cells = st.sampled_from([None, b"1", b"2"])
publications = st.builds(
    Publication,
    envelopes=st.lists(published, max_size=6).map(tuple),
    latches=st.lists(latches, max_size=1).map(tuple),
    guard=st.none() | st.none() | st.none() | st.builds(Guard, st.just("cell"), cells, cells),
)
follow_ups = st.builds(
    lambda publication, envelopes: msgspec.structs.replace(publication, envelopes=tuple(envelopes)),
    publications,
    st.lists(following, max_size=3),
)
reports = st.builds(
    RunReport,
    started_at=st.sampled_from([None, 1.0, 2.0]),
    worker_id=st.sampled_from(["", "v", "w"]),
    fraction=st.sampled_from([None, 0.5]),
    message=st.sampled_from([None, "half"]),
    saved=st.sampled_from([None, b"saved"]),
)
queues = st.sampled_from(QUEUES)
some_ids = st.lists(ids, min_size=1, max_size=3, unique=True)
administration = st.one_of(
    st.tuples(st.just("resume"), st.tuples(queues), st.just({})),
    st.tuples(st.just("resume"), st.tuples(queues), st.just({})),
    st.tuples(st.just("pause"), st.tuples(queues), st.just({})),
    st.tuples(
        st.just("redrive"), st.tuples(st.none() | some_ids), st.fixed_dictionaries({"queue": st.none() | queues})
    ),
    st.tuples(st.just("redrive"), st.just(()), st.just({})),
    st.tuples(st.just("purge_dead"), st.tuples(some_ids), st.just({})),
    st.tuples(st.just("purge"), st.tuples(queues), st.fixed_dictionaries({"scheduled": st.booleans()})),
    st.tuples(st.just("forget"), st.tuples(some_ids), st.just({})),
    st.tuples(st.just("revive"), st.tuples(some_ids), st.just({})),
    st.tuples(
        st.just("break_latches"),
        st.tuples(st.lists(latch_ids, min_size=1, max_size=2, unique=True)),
        st.fixed_dictionaries({"by": st.just("") | ids, "cancelled": st.booleans()}),
    ),
    st.tuples(
        st.just("expire"),
        st.tuples(some_ids, st.lists(latch_ids, max_size=1), st.sampled_from([2.0, 64.0])),
        st.just({}),
    ),
)
OF_THE_STORE = ("forget", "revive", "break_latches", "expire")
fetches = st.fixed_dictionaries(
    {
        "worker": st.integers(0, len(WORKERS) - 1),
        "limit": st.sampled_from([1, 2, 3, 9, 0]),
        "max_bytes": st.sampled_from([1 << 20, 1 << 20, 8]),
        "skip": st.sampled_from([frozenset(), frozenset(), frozenset({"x"})]),
    }
)
# What happens how often. One rule draws from this, because Hypothesis leaves whole rules out of most stories.
EVENTS = (
    *("publish",) * 4,
    *("fetch",) * 5,
    *("settle",) * 5,
    *("extend",) * 2,
    *("let_time_pass",) * 3,
    "publish_again_after_a_lost_reply",
    "settle_again_after_a_lost_reply",
    "cancel",
    "administer",
)


class Story(RuleBasedStateMachine):
    """Producers, workers that may die or come back from the dead, and somebody who administers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=ROOM if ROOM.is_dir() else None))
        self.clock = ManualClock()
        self.io = IoThread("heeler-properties")
        memory = MemoryBroker(io=self.io, clock=self.clock, namespace="story")
        sqlite = SqliteBroker(path=str(self.folder / "jobs.db"), io=self.io, clock=self.clock, namespace="story")
        self.namespace = f"story-{new_id()}"
        options = options_of(BrokerUrl.parse(redis_url()))
        on_redis = RedisBroker(options, io=self.io, clock=self.clock, namespace=self.namespace, time_from=self.clock)
        self.twins = Twins([memory, sqlite, on_redis], WORKERS)
        self.leases: list[Held] = []  # all there ever were
        self.newest: dict[str, Held] = {}
        self.calls = 0
        self.last_publication: tuple[Publication, object, float] | None = None
        self.last_settlement: tuple[list[tuple[Held, dict[str, object]]], CallId, object, float] | None = None

    def teardown(self) -> None:
        self.twins.close()
        self.io.close()
        shutil.rmtree(self.folder)
        with redis.Redis.from_url(redis_url()) as client:
            for key in client.scan_iter(f"{{{self.namespace}}}:*", count=1000):
                client.delete(key)

    @rule(data=st.data(), event=st.sampled_from(EVENTS))
    def something_happens(self, data: st.DataObject, event: str) -> None:
        getattr(self, event)(data)

    def publish(self, data: st.DataObject) -> None:
        self.calls += 1
        publication = msgspec.structs.replace(data.draw(publications), call=CallId("producer", self.calls))
        answers = self.twins.publish(publication)
        accepted = [result.id for result in answers if result.answer is PublishAnswer.ACCEPTED]
        assert len(set(accepted)) == len(accepted)
        self.last_publication = (publication, answers, self.clock.time())

    def publish_again_after_a_lost_reply(self, data: st.DataObject) -> None:
        if self.last_publication is not None and self._recent(self.last_publication[-1]):
            publication, answers, _ = self.last_publication
            assert self.twins.publish(publication) == answers

    def fetch(self, data: st.DataObject) -> None:
        options = data.draw(fetches)
        fetched = self.twins.fetch(**options)
        assert len(fetched) <= options["limit"]
        for lease in fetched:
            assert lease.deliveries[0].envelope.queue in WORKERS[options["worker"]]
            assert lease.deliveries[0].envelope.task not in options["skip"]
            self.newest[lease.id] = lease
        self.leases += fetched

    def extend(self, data: st.DataObject) -> None:
        if self.leases:
            leases = data.draw(st.lists(self._a_lease(), min_size=1, max_size=3, unique_by=lambda lease: lease.id))
            answer = self.twins.extend(leases, started=data.draw(st.booleans()), report=data.draw(st.none() | reports))
            for lease in leases:
                if self.newest[lease.id] is not lease or lease.settled:
                    assert lease.id in answer.lost

    def settle(self, data: st.DataObject) -> None:
        if not self.leases:
            return
        leases = data.draw(st.lists(self._a_lease(), min_size=1, max_size=4))
        if any(lease.id in FOLLOWING for lease in leases):
            # In which order the settlements of a batch take effect is open: none may publish what another ends.
            leases = leases[:1]
        settlements = [(lease, self._settlement(lease, data)) for lease in leases]
        self.calls += 1
        call = CallId("worker", self.calls)
        answers = self.twins.settle(settlements, call)
        for lease, result in zip(leases, answers, strict=True):
            if result.answer is SettleAnswer.ACCEPTED:
                assert not lease.settled, "two ends of one lease were accepted"
                assert self.newest[lease.id] is lease, "the end of a lost lease was accepted"
                lease.settled = True
        self.last_settlement = (settlements, call, answers, self.clock.time())

    def settle_again_after_a_lost_reply(self, data: st.DataObject) -> None:
        if self.last_settlement is not None and self._recent(self.last_settlement[-1]):
            settlements, call, answers, _ = self.last_settlement
            assert self.twins.settle(settlements, call) == answers

    def let_time_pass(self, data: st.DataObject) -> None:
        self.clock.advance(data.draw(st.sampled_from([1, 4, 16, 31, 31, 1024])))

    def cancel(self, data: st.DataObject) -> None:
        self.twins.cancel(data.draw(some_ids))

    def administer(self, data: st.DataObject) -> None:
        verb, arguments, options = data.draw(administration)
        change = self.twins.change_store if verb in OF_THE_STORE else self.twins.administer
        change(verb, *arguments, **options)

    @invariant()
    def all_that_can_be_read_is_the_same(self) -> None:
        records = {record.envelope.id: record for record in self.twins.get(IDS) if record is not None}
        for size in self.twins.sizes(QUEUES):
            for state, count in (
                ("waiting", size.waiting),
                ("scheduled", size.scheduled),
                ("running", size.running),
            ):
                listed = self.twins.listed(state, size.queue)
                assert len(listed) == count
                assert all(not record.status.is_finished for record in listed)
                assert {record.envelope.id for record in listed} <= set(records)
        self.twins.dead_letters()
        self.twins.latches(LATCHES)

    def _a_lease(self) -> st.SearchStrategy[Held]:
        """Mostly one that may still hold; now and then that of a zombie."""
        current = [lease for lease in self.newest.values() if not lease.settled]
        anyone = st.sampled_from(self.leases)
        return st.one_of(st.sampled_from(current), st.sampled_from(current), anyone) if current else anyone

    def _recent(self, then: float) -> bool:
        return then + REMEMBERED > self.clock.time()

    def _settlement(self, lease: Held, data: st.DataObject) -> dict[str, object]:
        action = data.draw(st.sampled_from(Action))
        ended = action in {Action.ACK, Action.DEAD_LETTER}
        status = data.draw(st.sampled_from([TaskStatus.SUCCESSFUL, TaskStatus.FAILED, TaskStatus.CANCELLED]))
        record = ResultRecord(
            envelope=lease.deliveries[0].envelope,
            status=status if ended else TaskStatus.READY,
            attempts=data.draw(st.integers(0, 2)),
            worker_ids=("w",),
            value=b"value" if ended else None,
        )
        return {
            "action": action,
            "delay": 0.0 if ended else data.draw(st.sampled_from([0.0, 0.0, 4.0])),
            "attempts": record.attempts,
            "crashes": data.draw(st.integers(0, 1)),
            "suspect": data.draw(st.booleans()),
            "note": data.draw(st.sampled_from([b"", b"note"])),
            "record": data.draw(st.sampled_from([record, None])),
            "follow_ups": data.draw(st.none() | follow_ups) if ended else None,
            "arrivals": tuple(data.draw(st.lists(arrivals, max_size=3))),
            "reason": "given up" if action is Action.DEAD_LETTER else "",
        }


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # Phase.shrink takes minutes: add it to look into a story that fails
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
