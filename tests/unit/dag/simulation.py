"""Runs compiled workflows without a broker: latches as the memory broker has them, and jobs that are only names."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from heeler.brokers.memory.latches import LatchTable
from heeler.dag.compile import Close, Entry, Measure, Planned, PlannedJob, PlannedLatch, PlannedRelay, compile_workflow
from heeler.dag.shape import Shape
from heeler.dag.sketch import Call, Graph, GraphNode, Group, Sketch, Steps
from heeler.model import Arrival, ArrivalKind, Envelope, Latch, LatchState, arrivals_of

__all__ = ["Simulation", "call", "chain", "chord", "graph", "group", "node"]

OK, FAILED, SKIPPED = ArrivalKind.OK, ArrivalKind.FAILED, ArrivalKind.SKIPPED


def call(name: str, **fields: object) -> Call:
    return Call(leaf=name, task=f"tasks.{name}", **fields)  # type: ignore[arg-type]


def chain(*steps: Sketch, **fields: object) -> Steps:
    return Steps(steps=steps, **fields)  # type: ignore[arg-type]


def group(members: Iterable[Sketch], failure: str = "fail_fast", **fields: object) -> Group:
    return Group(members=members, failure=failure, **fields)  # type: ignore[arg-type]


def chord(members: Iterable[Sketch], body: Sketch, failure: str = "fail_fast", **fields: object) -> Steps:
    return Steps(steps=(group(members, failure), body), is_chord=True, **fields)  # type: ignore[arg-type]


def node(sketch: Sketch, after: Iterable[int] = (), when: str = "all", failure: str = "fail_fast") -> GraphNode:
    return GraphNode(name="", sketch=sketch, after=tuple(after), when=when, failure=failure)  # type: ignore[arg-type]


def graph(*nodes: GraphNode, **fields: object) -> Graph:
    return Graph(nodes=nodes, **fields)  # type: ignore[arg-type]


class Simulation:
    """`fails` are the names of calls that fail. `ran` and `skipped` are names, in the order in which they ended."""

    def __init__(
        self,
        sketch: Sketch,
        fails: Iterable[str] = (),
        *,
        chance: random.Random | None = None,
        size_of: Callable[[Planned], int] = lambda job: 100,
    ) -> None:
        self.fails = set(fails)
        self.ran: list[str] = []
        self.skipped: list[str] = []
        self.relays: list[str] = []
        self.most_told = 0
        self.most_let_go = 0
        self.latch_ids: list[str] = []
        self._chance = chance
        self._table = LatchTable(lambda notice, reply_to: None)
        self._planned: dict[str, Planned] = {}
        self._ready: list[Planned] = []
        self.shape = self._publish(sketch, size_of)

    def _publish(self, sketch: Sketch, size_of: Callable[[Planned], int]) -> Shape:
        compiling = compile_workflow(sketch, "w")
        answer: int | None = None
        seen: set[str] = set()
        while True:
            try:
                item = compiling.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = None
            if isinstance(item, Measure):
                answer = size_of(item.job)
            elif isinstance(item, Entry):
                for member in self._told(item.job):
                    assert member in seen, f"{item.job.id} may start before {member} is there"
                self._ready.append(item.job)
                self._note(item.job)
            elif isinstance(item, PlannedLatch):
                seen.add(item.id)
                self.latch_ids.append(item.id)
                latch = Latch(
                    id=item.id,
                    rule=item.rule,
                    total=item.total,
                    envelope=self._note(item.release),
                    on_break=self._note(item.on_break),
                    scope=item.scope,
                )
                self._let_go(self._table.publish(latch, 0.0))
            else:
                assert isinstance(item, Close)
                rule = self._table.record(item.latch, False, 0.0)
                assert rule is not None
                self._let_go(self._table.publish(Latch(id=item.latch, rule=rule.rule, total=item.total), 0.0))

    def _told(self, planned: Planned) -> set[str]:
        return {member.latch for member in planned.ends_at}

    def _note(self, planned: Planned | None) -> Envelope | None:
        if planned is None:
            return None
        assert planned.id not in self._planned, f"two jobs have the id {planned.id}"
        self._planned[planned.id] = planned
        if isinstance(planned, PlannedRelay):
            for job in planned.jobs:
                self._note(job)
        return Envelope(id=planned.id, task="", queue="", body=b"", content_type="", ends_at=planned.ends_at)

    def _let_go(self, envelopes: Iterable[Envelope]) -> None:
        self._ready += [self._planned[envelope.id] for envelope in envelopes]

    def run(self) -> Simulation:
        """Until nothing is left."""
        while self._ready:
            number = self._chance.randrange(len(self._ready)) if self._chance else 0
            self.end(self._ready.pop(number))
        return self

    def end(self, planned: Planned) -> None:
        kind = OK
        if isinstance(planned, PlannedRelay):
            self.relays.append(planned.id)
            kind = SKIPPED if planned.kind == "skip" else OK
            self.most_let_go = max(self.most_let_go, len(planned.jobs))
            self._ready += planned.jobs
        elif self._is_stopped(planned):
            kind = SKIPPED
            self.skipped.append(planned.call.leaf)
        else:
            self.ran.append(planned.call.leaf)
            kind = FAILED if planned.call.leaf in self.fails else OK
        self.tell(planned, kind)

    def tell(self, planned: Planned, kind: ArrivalKind) -> None:
        envelope = Envelope(id=planned.id, task="", queue="", body=b"", content_type="", ends_at=tuple(planned.ends_at))
        arrivals: tuple[Arrival, ...] = arrivals_of(envelope, kind)
        self.most_told = max(self.most_told, len(arrivals))
        for arrival in arrivals:
            self._let_go(self._table.arrive(arrival, 0.0))

    def _is_stopped(self, planned: PlannedJob) -> bool:
        scope = self._table.record(planned.scope, False, 0.0)
        return scope is not None and scope.stopped and not planned.exempt

    def revive(self, name: str) -> None:
        """A call that ended not OK is to run again, and succeeds now."""
        self.fails.discard(name)
        [planned] = [job for job in self._planned.values() if isinstance(job, PlannedJob) and job.call.leaf == name]
        self.tell(planned, ArrivalKind.REVIVED)
        self._ready.append(planned)

    @property
    def state(self) -> LatchState:
        record = self._table.record("w", False, 0.0)
        assert record is not None
        return record.state

    @property
    def ticks(self) -> int:
        record = self._table.record("w", False, 0.0)
        assert record is not None
        return record.ticks

    @property
    def jobs(self) -> dict[str, PlannedJob]:
        """By name."""
        return {job.call.leaf: job for job in self._planned.values() if isinstance(job, PlannedJob)}
