"""A workflow that is kept and made real later is, job by job and latch by latch, what sending it would publish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from workflow_tasks import Shop

from heeler import Heeler, Middleware, Workflow, chain, chord, group
from heeler.dag.shape import decode_record, encode_record
from heeler.dag.template import Template, render
from heeler.errors import ConfigurationError, InvalidWorkflow
from heeler.model import RELAY_TASK, Envelope, Latch, Member
from heeler.startables import MOST_JOBS, Startables
from heeler.workflow_sender import WorkflowSender


@pytest.fixture
def shop(memory_app: Heeler) -> Shop:
    return Shop(memory_app)


def parts(shop: Shop) -> list[Any]:
    add, double, total, show = shop.add, shop.double, shop.total, shop.show
    flow = Workflow("nightly", failure="continue")
    a, b = flow.add(add.s(1, 2)), flow.add(chain(add.s(3, 4), double.s()))
    both = flow.add(show.s(a, other=[b, {"deep": a}]), when="always")
    flow.add(chord([double.s(n) for n in range(120)], total.s()), after=[both])
    fan = Workflow("fan")
    first = fan.add(double.s(1))
    for _ in range(150):
        fan.add(double.s(first))
    return [
        chain(add.s(1, 2), double.s(), add.si(3, 4)),
        group([double.s(n) for n in range(3)]),
        chain(double.s(1), group([double.s() for _ in range(150)]), total.s()),
        chord([chain(add.s(1, 1), double.s()), group([add.s(1, 2)])], show.s()),
        shop.work.s(7).then(shop.note.s(), shop.note.s()).catch(shop.refund.s()),
        chord([double.s(1)], total.s()).then(shop.note.s()).catch(group([shop.refund.s() for _ in range(2)])),
        group([double.s(1), double.s(2)], failure="ignore").using(queue_name="slow", priority=3, result_ttl=5),
        flow,
        fan,
        group([flow, chain(flow, show.s())]),
    ]


def _plain(envelope: Envelope | None) -> Any:
    """Without the moments at which it was made."""
    return None if envelope is None else msgspec.structs.replace(envelope, enqueued_at=0.0)


def _plain_latch(latch: Latch, id: str) -> Latch:
    data = latch.data
    if latch.id == id:
        data = encode_record(msgspec.structs.replace(decode_record(data), enqueued_at=0.0, fingerprint=b""))
    return msgspec.structs.replace(
        latch, envelope=_plain(latch.envelope), on_break=_plain(latch.on_break), data=data, reply_to=None
    )


def test_it_is_what_would_have_been_sent(memory_app: Heeler, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = memory_app._producer
    monkeypatch.setattr(producer._clock, "time", lambda: 1000.0)
    memory_app.connections.opened_blocking()
    for part in parts(shop):
        sender = WorkflowSender(producer)
        template = part.template(sender, MOST_JOBS)
        assert template == part.template(sender, MOST_JOBS), "the same workflow, the same template"
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(template), type=Template)
        rendered = render(kept, "run", lambda job, id: producer.sealer.prepare_member_like(job, id, {}), 1000.0)
        sent = part.using(id="run").prepare()
        [publication] = sent.publications
        assert [_plain(one) for one in rendered.envelopes] == [_plain(one) for one in publication.envelopes]
        assert [_plain_latch(one, "run") for one in rendered.latches] == [
            _plain_latch(one, "run") for one in publication.latches
        ]
        assert rendered.record.shape == sent.result._record.shape
        assert rendered.record.jobs == sent.result._record.jobs


def test_one_that_is_held_back_has_one_envelope_that_starts_it(memory_app: Heeler, shop: Shop) -> None:
    producer = memory_app._producer
    members = group([shop.double.s(n) for n in range(250)])
    template = members.template(WorkflowSender(producer), MOST_JOBS)
    rendered = render(
        template, "run", lambda job, id: producer.sealer.prepare_member_like(job, id, {}), 1.0, held_back=True
    )
    [first] = rendered.envelopes
    assert first.task == RELAY_TASK
    chained = [latch for latch in rendered.latches if latch.id.startswith("run:start")]
    assert [latch.id for latch in chained] == ["run:start>1", "run:start>2"]


def test_its_last_relays_tell_who_waits_for_its_end(memory_app: Heeler, shop: Shop) -> None:
    producer = memory_app._producer
    template = chain(shop.double.s(1), shop.double.s()).template(WorkflowSender(producer), MOST_JOBS)
    told = Member("others", 0)
    rendered = render(
        template, "run", lambda job, id: producer.sealer.prepare_member_like(job, id, {}), 1.0, ends_at=(told,)
    )
    [root] = [latch for latch in rendered.latches if latch.id == "run"]
    for relay in (root.envelope, root.on_break):
        assert relay is not None
        assert told in relay.ends_at


class TestRefusals:
    def test_a_group_from_an_iterator_can_be_started_once_only(self, memory_app: Heeler, shop: Shop) -> None:
        startables = Startables(memory_app._producer)
        streams = group(shop.double.s(n) for n in range(3))
        inside = Workflow("inside")
        inside.add(chord(streams, shop.total.s()))
        for part in (streams, chord(streams, shop.total.s()), inside, shop.double.s(1).then(streams)):
            with pytest.raises(InvalidWorkflow, match=r"made from an iterator, .* make the group from a list"):
                startables.pack(part)
        assert streams.enqueue() is not None, "nothing of it was drawn"

    def test_more_jobs_than_can_start_in_one_step(self, memory_app: Heeler, shop: Shop) -> None:
        startables = Startables(memory_app._producer)
        most = group([shop.double.s(n) for n in range(MOST_JOBS)])
        assert startables.pack(most).jobs == MOST_JOBS
        for part in (
            group([shop.double.s(n) for n in range(MOST_JOBS + 1)]),
            group([group([shop.double.s(n) for n in range(4)]) for _ in range(300)]),
        ):
            with pytest.raises(InvalidWorkflow, match="more than the 1,000 jobs that can start in one step"):
                startables.pack(part)

    def test_more_bytes_than_can_be_kept(self, memory_app: Heeler, shop: Shop) -> None:
        with pytest.raises(InvalidWorkflow, match="pass references instead of data"):
            Startables(memory_app._producer).pack(chain(shop.work.s("x" * (1 << 19)), shop.work.si("x" * (1 << 19))))

    def test_an_id(self, memory_app: Heeler, shop: Shop) -> None:
        with pytest.raises(InvalidWorkflow, match="cannot have the one id 'mine'"):
            Startables(memory_app._producer).pack(group([shop.double.s(1)]).using(id="mine"))

    def test_tasks_of_another_app(self, memory_app: Heeler, shop: Shop) -> None:
        with Heeler("memory://") as other, pytest.raises(InvalidWorkflow, match="another app"):
            Startables(other._producer).pack(group([shop.double.s(1)]))


class _Seen(Middleware):
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, Any, str]] = []
        self.answers = False

    def around_enqueue(self, message: Any, call_next: Any) -> Any:
        self.seen.append((message.id, message.args, message.kwargs, message.headers.get("a", "")))
        return None if self.answers else call_next(message)


@pytest.fixture
def seen() -> _Seen:
    return _Seen()


@pytest.fixture
def watched(seen: _Seen) -> Iterator[Shop]:
    with Heeler("memory://", middleware=[seen]) as app:
        yield Shop(app)


async def test_middleware_is_asked_for_each_job_when_it_starts(watched: Shop, seen: _Seen) -> None:
    startables = Startables(watched.app._producer)
    packed = startables.pack(chain(watched.add.s(1, y=2), watched.double.s()))
    assert seen.seen == []
    started = await startables.start(packed.content, "run", {"a": "b"})
    assert sorted(one[0] for one in seen.seen) == ["run/0", "run/1"]
    assert {one[0]: one[1:] for one in seen.seen}["run/0"] == ((1,), {"y": 2}, "b")
    assert [one.headers for one in started.envelopes] == [{"a": "b"}]


async def test_a_middleware_must_not_answer_in_the_place_of_a_part(watched: Shop, seen: _Seen) -> None:
    startables = Startables(watched.app._producer)
    packed = startables.pack(chain(watched.add.s(1, y=2), watched.double.s()))
    seen.answers = True
    with pytest.raises(ConfigurationError, match="around_enqueue"):
        await startables.start(packed.content, "run", {})


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda shop: shop.add.s(1, 2), "shop.add(1, 2)"),
        (lambda shop: shop.add.si(1, 2), "shop.add(1, 2)"),
        (lambda shop: chain(shop.add.s(1, 2), shop.double.s()), "chain(shop.add(1, 2), shop.double())"),
        (
            lambda shop: chord([shop.double.s(n) for n in range(500)], shop.total.s()),
            "chord(group(shop.double(0), shop.double(1), shop.double(2), shop.double(3), … 496 more), shop.total())",
        ),
        (
            lambda shop: shop.double.s(5).then(shop.note.s()).catch(shop.refund.s()),
            "shop.double(5).then(shop.note()).catch(shop.refund())",
        ),
        (lambda shop: _flow(shop), "workflow nightly (add, add-2, add-3, add-4, add-5, add-6, … 3 more)"),
    ],
)
def test_it_says_in_a_line_what_it_is(memory_app: Heeler, shop: Shop, make: Any, shown: str) -> None:
    assert Startables(memory_app._producer).pack(make(shop)).shown == shown


def _flow(shop: Shop) -> Workflow:
    flow = Workflow("nightly")
    for n in range(9):
        flow.add(shop.add.s(n, n))
    return flow
