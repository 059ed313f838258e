"""From a workflow's sketch to what is published of it: jobs, and latches that let jobs go. As lazy as a stream.

Every latch is joined by jobs that tell it of their end. What a job has to tell follows from where it stands:

- The last job of a step tells the latch for which the next step waits. A group's members do so themselves, each with a
  number of its own; that is the whole of a chord.
- What makes a part fail tells everybody who waits for the part, at once: so a failing step tells all that the chain's
  end would tell, and the workflow's own latch.
- Where a failure is tolerated, it is told as OK, and goes no further.
- Where several are to be told of several, a relay stands in between: a job that no function runs.

Latches come before the jobs that tell them, and the jobs that wait for nothing come last, as far as a stream allows it.
The number of a latch's members is told when the last one is known.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

import msgspec

from heeler.dag.place import RelayKind, Source
from heeler.dag.shape import (
    FAN,
    Node,
    Shape,
    caught,
    entry,
    fanned,
    following,
    joined,
    outcome,
    relayed,
    root_path,
)
from heeler.dag.sketch import Call, Graph, GraphNode, Group, Sketch, Steps
from heeler.model import TICK, LatchRule, Member

__all__ = [
    "BYTES_AT_ONCE",
    "Close",
    "Entry",
    "Item",
    "Measure",
    "Planned",
    "PlannedJob",
    "PlannedLatch",
    "PlannedRelay",
    "compile_workflow",
    "end_nodes",
]

_RULES = {"all": LatchRule.ALL_OK, "any": LatchRule.ANY_OK, "always": LatchRule.ALL_ENDED}
_NO_SOURCES: Mapping[int, Source] = {}
BYTES_AT_ONCE = 256 << 10  # of jobs that one relay lets go


class PlannedJob(msgspec.Struct, frozen=True):
    """A call in its place.

    `first` is what its first argument is filled with, `sources` those that name nodes; `waits`: something comes before.
    """

    id: str
    call: Call
    scope: str
    ends_at: tuple[Member, ...]
    first: Source | None
    sources: Mapping[int, Source]
    exempt: bool
    is_callback: bool
    waits: bool = False


class PlannedRelay(msgspec.Struct, frozen=True):
    """A job that no function runs; see `dag.place.Relay`."""

    id: str
    kind: RelayKind
    scope: str
    ends_at: tuple[Member, ...] = ()
    jobs: tuple[Planned, ...] = ()
    latch: str = ""


Planned = PlannedJob | PlannedRelay


class PlannedLatch(msgspec.Struct, frozen=True):
    """A latch; `total` is None until it is closed."""

    id: str
    rule: LatchRule
    total: int | None
    scope: str | None
    release: Planned | None = None
    on_break: Planned | None = None


class Close(msgspec.Struct, frozen=True):
    """From now on the number of the latch's members is known, and what it joins."""

    latch: str
    total: int
    shape: Shape


class Entry(msgspec.Struct, frozen=True):
    """A job that may start at once."""

    job: Planned


class Measure(msgspec.Struct, frozen=True):
    """The answer to this is how many bytes the job takes."""

    job: Planned


Item = PlannedLatch | Close | Entry | Measure


class _Around(msgspec.Struct, frozen=True):
    """What a part is told of what it stands in.

    `scope` is the latch that stops it, `first` the value for its first jobs, `waits` whether something comes before
    it, `exempt` that it runs even if the rest is broken.
    """

    scope: str
    first: Source | None = None
    waits: bool = False
    exempt: bool = False
    is_callback: bool = False
    sources: Mapping[int, Source] | None = None


class _Emitted(msgspec.Struct, frozen=True):
    """A part's shape, and how many members of the latch that it was given to spread in are its own."""

    shape: Shape
    count: int


_Emitting = Generator[Item, int | None, _Emitted]


def compile_workflow(sketch: Sketch, id: str) -> Generator[Item, int | None, Shape]:
    """What is to be published, in order; at last the shape. The workflow's own latch comes first and is closed last."""
    yield PlannedLatch(
        id,
        LatchRule.ALL_OK,
        None,
        None,
        release=PlannedRelay(f"{id}:over", "over", id, latch=id),
        on_break=PlannedRelay(f"{id}:broken", "broken", id, latch=id),
    )
    path = root_path("job" if isinstance(sketch, Call) else "", id)
    emitted = yield from _Compiler(id).emit(sketch, path, (), id, _Around(scope=id))
    yield Close(id, emitted.count, emitted.shape)
    return emitted.shape


def end_nodes(graph: Graph) -> list[int]:
    """The nodes for which no other waits."""
    waited_for = {number for node in graph.nodes for number in node.after}
    return [number for number in range(len(graph.nodes)) if number not in waited_for]


class _Compiler:
    """Compiles parts of the workflow `id`.

    Each part tells its outcome to `sinks`, as one member of each; and to the latch `spread`, in which it may have as
    many members as it likes, numbered from 0, because nobody else joins it.
    """

    def __init__(self, id: str) -> None:
        self._id = id

    def emit(
        self, sketch: Sketch, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around
    ) -> _Emitting:
        if not (sketch.then or sketch.catch):
            return (yield from self._emit(sketch, path, sinks, spread, around))
        then, catch = yield from self._callbacks(sketch, path, around)
        sinks = (*sinks, Member(outcome(path), 0))
        if spread is not None and not isinstance(sketch, Call):
            sinks = (*sinks, Member(spread, 0))
            spread = None
        emitted = yield from self._emit(sketch, path, sinks, spread, around)
        return _Emitted(msgspec.structs.replace(emitted.shape, then=then, catch=catch), 1)

    def _emit(
        self, sketch: Sketch, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around
    ) -> _Emitting:
        if isinstance(sketch, Call):
            return (yield from self._call(sketch, path, sinks, spread, around))
        if isinstance(sketch, Steps):
            return (yield from self._steps(sketch, path, sinks, spread, around))
        if isinstance(sketch, Group):
            return (yield from self._group(sketch, path, sinks, spread, around))
        assert isinstance(sketch, Graph)
        return (yield from self._graph(sketch, path, sinks, spread, around))

    def _call(self, call: Call, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around) -> _Emitting:
        ends_at = sinks if spread is None else (*sinks, Member(spread, 0))
        if not around.is_callback:
            ends_at = (*ends_at, Member(self._id, TICK))
        yield Entry(
            PlannedJob(
                path,
                call,
                around.scope,
                ends_at,
                around.first if call.takes else None,
                around.sources or _NO_SOURCES,
                around.exempt,
                around.is_callback,
                around.waits,
            )
        )
        return _Emitted(Shape("job", task=call.task), 1)

    def _steps(
        self, sketch: Steps, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around
    ) -> _Emitting:
        """From the last step to the first, so that each latch is there before the jobs that tell it."""
        steps = sketch.steps
        failures = _only_failures(sinks if spread is None else (*sinks, Member(spread, 0)))
        shapes: list[Shape] = []
        count = 1
        for number in range(len(steps) - 1, -1, -1):
            here = f"{path}/{number}"
            latch = None if number == len(steps) - 1 else _next_latch(steps[number], here)
            if number == 0:
                inner = around
            else:
                inner = msgspec.structs.replace(
                    around, first=_source_of(steps[number - 1], f"{path}/{number - 1}"), waits=True
                )
            emitting = (
                self.emit(steps[number], here, sinks, spread, inner)
                if latch is None
                else self.emit(steps[number], here, failures, latch, inner)
            )
            if number == 0:
                emitted = yield from emitting
            else:
                before = _next_latch(steps[number - 1], f"{path}/{number - 1}")
                emitted = yield from self._after(emitting, entry(here), before, LatchRule.ALL_OK, None, around.scope)
            if latch is None:
                count = emitted.count
            else:
                yield Close(latch, emitted.count, emitted.shape)
            shapes.append(emitted.shape)
        shapes.reverse()
        return _Emitted(Shape("chord" if sketch.is_chord else "chain", kinds=tuple(shapes)), count)

    def _group(
        self, sketch: Group, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around
    ) -> _Emitting:
        tolerant = sketch.failure != "fail_fast"
        join, told = self._join(path, sinks, spread)
        if join != spread:
            yield self._own_join(join, told, around)
        failures = () if tolerant else _only_failures(told)
        inner = around if tolerant else msgspec.structs.replace(around, scope=join)
        kinds: dict[Shape, int] = {}
        runs: list[tuple[int, int]] = []
        number = 0
        for member in sketch.members:
            sink = Member(join, number, tolerant=tolerant)
            emitted = yield from self.emit(member, f"{path}/{number}", (sink, *failures), None, inner)
            _add_to_runs(runs, kinds.setdefault(emitted.shape, len(kinds)))
            number += 1
        shape = Shape("group", kinds=tuple(kinds), runs=tuple(runs), failure=sketch.failure)
        members = number
        if not number and around.waits:  # somebody has to tell that it is its turn
            yield Entry(PlannedRelay(f"{path}:none", "pass", around.scope, (Member(join, 0),)))
            members = 1
        if join == spread:
            return _Emitted(shape, members)
        yield Close(join, members, shape)
        return _Emitted(shape, 1)

    def _graph(
        self, sketch: Graph, path: str, sinks: tuple[Member, ...], spread: str | None, around: _Around
    ) -> _Emitting:
        join, told = self._join(path, sinks, spread)
        if join != spread:
            yield self._own_join(join, told, around)
        graph = _GraphPlan(sketch, path, join, _only_failures(told))
        shapes: list[Shape | None] = [None] * len(sketch.nodes)
        waiting = [number for number, node in enumerate(sketch.nodes) if node.after]
        starting = [number for number, node in enumerate(sketch.nodes) if not node.after]
        for number in (*waiting, *starting):
            node = sketch.nodes[number]
            here = f"{path}/{number}"
            for relay, latch in graph.fans(number):
                yield PlannedLatch(
                    latch,
                    LatchRule.ALL_OK,
                    1,
                    join,
                    release=PlannedRelay(latch, "pass", join, relay),
                    on_break=PlannedRelay(f"{latch}:skip", "skip", join, relay, latch=latch),
                )
            node_sinks = graph.sinks(number)
            inner = msgspec.structs.replace(
                around,
                scope=join,
                first=None if node.after else around.first,
                waits=around.waits or bool(node.after),
                exempt=around.exempt or node.when == "always",
                sources=graph.sources(node),
            )
            emitting = self.emit(node.sketch, here, node_sinks, None, inner)
            if node.after:
                skip = None
                if graph.matters(number):
                    skip = PlannedRelay(f"{here}:skip", "skip", join, node_sinks, latch=entry(here))
                emitted = yield from self._after(
                    emitting, entry(here), entry(here), _RULES[node.when], len(node.after), join, skip
                )
            else:
                emitted = yield from emitting
            shapes[number] = emitted.shape
        shape = _graph_shape(sketch, shapes)
        if join == spread:
            return _Emitted(shape, len(sketch.nodes))
        yield Close(join, len(sketch.nodes), shape)
        return _Emitted(shape, 1)

    def _join(self, path: str, sinks: tuple[Member, ...], spread: str | None) -> tuple[str, tuple[Member, ...]]:
        """The latch that members of a part tell, and whom the part tells besides, as one."""
        if spread is not None and not any(sink.tells_ok for sink in sinks):
            return spread, sinks
        return joined(path), sinks if spread is None else (*sinks, Member(spread, 0))

    def _own_join(self, join: str, told: tuple[Member, ...], around: _Around) -> PlannedLatch:
        release = PlannedRelay(join, "pass", around.scope, told) if told else None
        return PlannedLatch(join, LatchRule.ALL_OK, None, around.scope, release=release)

    def _after(
        self,
        emitting: _Emitting,
        name: str,
        latch: str,
        rule: LatchRule,
        total: int | None,
        scope: str,
        on_break: Planned | None = None,
    ) -> _Emitting:
        """Have what would start at once be let go by a latch. Many jobs are let go in parts, one after the other."""
        letting = _LettingGo(name, scope)
        emitted = yield from letting.collect(emitting)
        yield from letting.finish()
        yield PlannedLatch(latch, rule, total, scope, release=letting.first, on_break=on_break)
        return _Emitted(msgspec.structs.replace(emitted.shape, relays=letting.relays), emitted.count)

    def _callbacks(
        self, sketch: Sketch, path: str, around: _Around
    ) -> Generator[Item, int | None, tuple[tuple[Shape, ...], tuple[Shape, ...]]]:
        inner = msgspec.structs.replace(around, waits=True, exempt=True, is_callback=True, scope=self._id)
        then = _LettingGo(outcome(path), self._id)
        catch = _LettingGo(caught(path), self._id)
        shapes: dict[str, list[Shape]] = {"t": [], "c": []}
        for mark, followers, letting, source in (
            ("t", sketch.then, then, _source_of(sketch, path)),
            ("c", sketch.catch, catch, Source("failed", outcome(path))),
        ):
            for number, follower in enumerate(followers):
                emitting = self.emit(
                    follower, f"{path}/{mark}{number}", (), None, msgspec.structs.replace(inner, first=source)
                )
                shapes[mark].append((yield from letting.collect(emitting)).shape)
            yield from letting.finish()
            if letting.relays:
                shapes[mark][0] = msgspec.structs.replace(shapes[mark][0], relays=letting.relays)
        yield PlannedLatch(outcome(path), LatchRule.ALL_OK, 1, around.scope, release=then.first, on_break=catch.first)
        return tuple(shapes["t"]), tuple(shapes["c"])


class _LettingGo:
    """Collects jobs that are to be let go together: alone as it is, else by relays of which each lets the next go."""

    def __init__(self, name: str, scope: str) -> None:
        self._name = name
        self._scope = scope
        self._jobs: list[Planned] = []
        self._bytes = 0
        self.first: Planned | None = None
        self.relays = -1  # beyond the first

    def collect(self, emitting: _Emitting) -> _Emitting:
        """Take the jobs out that would start at once."""
        answer: int | None = None
        while True:
            try:
                item = emitting.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(item, Entry):
                answer = None
                yield from self._add(item.job)
            else:
                answer = yield item

    def _add(self, job: Planned) -> Generator[Item, int | None, None]:
        size = (yield Measure(job)) or 0
        if self._jobs and (len(self._jobs) == FAN or self._bytes + size > BYTES_AT_ONCE):
            yield from self._relay(is_last=False)
        self._jobs.append(job)
        self._bytes += size

    def finish(self) -> Iterator[PlannedLatch]:
        """No more come."""
        if self.relays < 0 and len(self._jobs) <= 1:
            self.first = self._jobs[0] if self._jobs else None
            self.relays = 0
        else:
            yield from self._relay(is_last=True)

    def _relay(self, *, is_last: bool) -> Iterator[PlannedLatch]:
        self.relays += 1
        ends_at = () if is_last else (Member(relayed(self._name, self.relays + 1), 0),)
        id = relayed(self._name, self.relays)
        relay = PlannedRelay(id, "pass", self._scope, ends_at, tuple(self._jobs))
        self._jobs, self._bytes = [], 0
        if self.relays == 0:
            self.first = relay
        else:
            yield PlannedLatch(id, LatchRule.ALL_OK, 1, self._scope, release=relay)


class _GraphPlan:
    """Whom the nodes of a graph tell."""

    def __init__(self, graph: Graph, path: str, join: str, failures: tuple[Member, ...]) -> None:
        self._graph = graph
        self._path = path
        self._join = join
        self._failures = failures
        self._dependents: list[list[tuple[int, int]]] = [[] for _ in graph.nodes]  # who waits, and as which member
        for number, node in enumerate(graph.nodes):
            for position, before in enumerate(node.after):
                self._dependents[before].append((number, position))
        self._matters = [False] * len(graph.nodes)
        for number in range(len(graph.nodes) - 1, -1, -1):
            node = graph.nodes[number]
            self._matters[number] = (
                node.when == "any"
                or node.failure != "fail_fast"
                or any(
                    graph.nodes[other].when != "all" or self._matters[other] for other, _ in self._dependents[number]
                )
            )

    def matters(self, number: int) -> bool:
        """Whether somebody has to be told if the node is skipped; else all know that from whoever failed."""
        return self._matters[number]

    def sinks(self, number: int) -> tuple[Member, ...]:
        node = self._graph.nodes[number]
        own = Member(self._join, number, tolerant=node.failure != "fail_fast")
        failures = self._failures if node.failure == "fail_fast" else ()
        if len(self._dependents[number]) <= FAN:
            return (own, *self._waiting(number, self._dependents[number]), *failures)
        return (own, *(Member(latch, 0) for _, latch in self.fans(number)), *failures)

    def fans(self, number: int) -> list[tuple[tuple[Member, ...], str]]:
        """Where very many wait for a node: whom each of its relays tells, and that relay's latch."""
        dependents = self._dependents[number]
        if len(dependents) <= FAN:
            return []
        return [
            (tuple(self._waiting(number, dependents[start : start + FAN])), fanned(f"{self._path}/{number}", k))
            for k, start in enumerate(range(0, len(dependents), FAN))
        ]

    def _waiting(self, number: int, dependents: list[tuple[int, int]]) -> Iterator[Member]:
        tolerant = self._graph.nodes[number].failure != "fail_fast"
        for other, position in dependents:
            is_all = self._graph.nodes[other].when == "all"
            yield Member(entry(f"{self._path}/{other}"), position, tolerant=tolerant and is_all)

    def sources(self, node: GraphNode) -> Mapping[int, Source]:
        """Where the results of the nodes before it are found."""
        found = {}
        for before in node.after:
            other = self._graph.nodes[before]
            source = _source_of(other.sketch, f"{self._path}/{before}")
            failure = other.failure
            if node.when == "any":
                failure = "ignore"  # it may not have ended yet
            elif node.when == "always" and failure == "fail_fast":
                failure = "continue"
            found[before] = msgspec.structs.replace(source, failure=failure)
        return found


def _only_failures(sinks: tuple[Member, ...]) -> tuple[Member, ...]:
    return tuple(Member(sink.latch, sink.number, False, sink.tolerant) for sink in sinks)


def _next_latch(step: Sketch, path: str) -> str:
    """The latch for which the step after this one waits."""
    return joined(path) if isinstance(step, Call) or not (step.then or step.catch) else following(path)


def _source_of(sketch: Sketch, path: str) -> Source:
    """Where the value of a part is found."""
    if isinstance(sketch, Call):
        return Source("job", path)
    if isinstance(sketch, Steps):
        last = len(sketch.steps) - 1
        return _source_of(sketch.steps[last], f"{path}/{last}")
    if isinstance(sketch, Graph):
        ends = end_nodes(sketch)
        if len(ends) == 1:
            node = sketch.nodes[ends[0]]
            return msgspec.structs.replace(_source_of(node.sketch, f"{path}/{ends[0]}"), failure=node.failure)
    return Source("all", joined(path))


def _add_to_runs(runs: list[tuple[int, int]], kind: int) -> None:
    if runs and runs[-1][0] == kind:
        runs[-1] = (kind, runs[-1][1] + 1)
    else:
        runs.append((kind, 1))


def _graph_shape(graph: Graph, shapes: list[Shape | None]) -> Shape:
    kinds: dict[Shape, int] = {}
    nodes = []
    for node, shape in zip(graph.nodes, shapes, strict=True):
        assert shape is not None
        kind = kinds.setdefault(shape, len(kinds))
        nodes.append(Node(node.name, kind, node.after, node.when, node.failure))
    return Shape("graph", kinds=tuple(kinds), nodes=tuple(nodes))
