"""Random workflows, and what must become of them: a model that knows nothing of latches, jobs or brokers.

A spec is built from what users write, and judged by what the guide promises. Which members of a failed group still ran
is open, so the model says of each job whether it must run, may run, or may not.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from heeler import Task, Workflow, chain, group
from heeler.workflow import Composable

__all__ = ["ChainSpec", "GraphSpec", "GroupSpec", "JobSpec", "Judgement", "NodeSpec", "Spec", "build", "judge", "specs"]

POLICIES = ("fail_fast", "fail_fast", "continue", "ignore")


@dataclass(kw_only=True)
class Spec:
    """What is common to all: what follows its success and its failure."""

    then: list[Spec] = field(default_factory=list)
    catch: list[Spec] = field(default_factory=list)


@dataclass(kw_only=True)
class JobSpec(Spec):
    """One job. `how`: it succeeds, it fails for good, or it succeeds at its second attempt."""

    name: str = ""
    how: str = "ok"
    takes: bool = True


@dataclass(kw_only=True)
class ChainSpec(Spec):
    steps: list[Spec]


@dataclass(kw_only=True)
class GroupSpec(Spec):
    members: list[Spec]
    failure: str
    streams: bool


@dataclass(kw_only=True)
class NodeSpec:
    part: Spec
    after: tuple[int, ...]
    when: str
    failure: str
    refers: bool


@dataclass(kw_only=True)
class GraphSpec(Spec):
    nodes: list[NodeSpec]


# Drawing them


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """A workflow of a few dozen jobs at most, each with a name of its own."""
    spec = draw(_part(depth=3).filter(lambda spec: any(True for _ in jobs_in(spec))))
    for number, job in enumerate(jobs_in(spec)):
        job.name = f"j{number}"
    return spec


def _part(depth: int, callbacks: bool = True) -> st.SearchStrategy[Spec]:
    kinds: list[st.SearchStrategy[Any]] = [
        st.builds(JobSpec, how=st.sampled_from(["ok", "ok", "ok", "ok", "fails", "flaky"]), takes=st.booleans())
    ]
    if depth:
        inner = st.deferred(lambda: _part(depth - 1, callbacks))
        kinds += [
            st.builds(ChainSpec, steps=st.lists(inner, min_size=1, max_size=3)),
            st.builds(
                GroupSpec,
                members=st.lists(inner, max_size=4),
                failure=st.sampled_from(POLICIES),
                streams=st.booleans(),
            ),
            _graph(inner),
        ]
    bare = st.one_of(*kinds)
    return _with_callbacks(bare, depth) if callbacks else bare


@st.composite
def _with_callbacks(draw: st.DrawFn, bare: st.SearchStrategy[Spec], depth: int) -> Spec:
    spec = draw(bare)
    follower = st.lists(_part(min(depth, 1), callbacks=False), min_size=1, max_size=2)
    followers = st.one_of(st.just(()), st.just(()), st.just(()), follower)
    return dataclasses.replace(spec, then=list(draw(followers)), catch=list(draw(followers)))


@st.composite
def _graph(draw: st.DrawFn, inner: st.SearchStrategy[Spec]) -> Spec:
    nodes = []
    for number in range(draw(st.integers(1, 5))):
        after = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        nodes.append(
            NodeSpec(
                part=draw(inner),
                after=tuple(after),
                when=draw(st.sampled_from(["all", "all", "any", "always"])) if after else "all",
                failure=draw(st.sampled_from(POLICIES)),
                refers=draw(st.booleans()),
            )
        )
    return GraphSpec(nodes=nodes)


def jobs_in(spec: Spec, *, callbacks: bool = True) -> Iterator[JobSpec]:
    """All jobs of a spec."""
    if isinstance(spec, JobSpec):
        yield spec
    elif isinstance(spec, ChainSpec):
        for step in spec.steps:
            yield from jobs_in(step, callbacks=callbacks)
    elif isinstance(spec, GroupSpec):
        for member in spec.members:
            yield from jobs_in(member, callbacks=callbacks)
    elif isinstance(spec, GraphSpec):
        for node in spec.nodes:
            yield from jobs_in(node.part, callbacks=callbacks)
    if callbacks:
        for follower in (*spec.then, *spec.catch):
            yield from jobs_in(follower)


# What a user would write


def build(spec: Spec, task: Task[Any, Any]) -> Composable[Any]:
    part = _bare(spec, task, [])
    return _followed(part, spec, task)


def _followed(part: Any, spec: Spec, task: Task[Any, Any]) -> Composable[Any]:
    if spec.then:
        part = part.then(*(build(follower, task) for follower in spec.then))
    if spec.catch:
        part = part.catch(*(build(follower, task) for follower in spec.catch))
    return part  # type: ignore[no-any-return]


def _bare(spec: Spec, task: Task[Any, Any], refs: list[Any]) -> Composable[Any]:
    if isinstance(spec, JobSpec):
        signature = task.s(name=spec.name, refs=refs)
        return signature if spec.takes else signature.immutable()
    if isinstance(spec, ChainSpec):
        return chain(*(build(step, task) for step in spec.steps))
    if isinstance(spec, GroupSpec):
        members = (build(member, task) for member in spec.members)
        return group(members if spec.streams else list(members), failure=spec.failure)  # type: ignore[arg-type]
    assert isinstance(spec, GraphSpec)
    flow = Workflow()
    nodes: list[Any] = []
    for number, node in enumerate(spec.nodes):
        referred = [nodes[before] for before in node.after] if _refers(node) else []
        part = _followed(_bare(node.part, task, referred), node.part, task)
        after = [nodes[before] for before in node.after]
        nodes.append(flow.add(part, f"n{number}", after=after, when=node.when, failure=node.failure))  # type: ignore[arg-type]
    return flow


def _refers(node: NodeSpec) -> bool:
    return node.refers and node.when == "all" and isinstance(node.part, JobSpec)


# What must become of it


class Judgement:
    """`must` and `may` are names of jobs that run; all others may not. `ok`: the workflow succeeds."""

    def __init__(self, ok: bool) -> None:
        self.ok = ok
        self.must: set[str] = set()
        self.may: set[str] = set()


def judge(spec: Spec, *, stopped: bool = False) -> Judgement:
    """`stopped`: the whole was stopped from outside, at any moment."""
    judge = _Judge()
    judgement = Judgement(judge.ok(spec))
    judge.walk(spec, judgement, certain=not stopped, exempt=False)
    return judgement


class _Judge:
    def ok(self, spec: Spec) -> bool:
        if isinstance(spec, JobSpec):
            return spec.how != "fails"
        if isinstance(spec, ChainSpec):
            return all(map(self.ok, spec.steps))
        if isinstance(spec, GroupSpec):
            return spec.failure != "fail_fast" or all(map(self.ok, spec.members))
        assert isinstance(spec, GraphSpec)
        states = self._states(spec)
        return all(state == "ok" or node.failure != "fail_fast" for state, node in zip(states, spec.nodes, strict=True))

    def _states(self, spec: GraphSpec) -> list[str]:
        """How each node ends: ok, failed, or skipped."""
        states: list[str] = []
        for node in spec.nodes:
            if node.when == "all":
                runs = all(states[before] == "ok" or spec.nodes[before].failure != "fail_fast" for before in node.after)
            else:
                runs = node.when == "always" or any(states[before] == "ok" for before in node.after)
            states.append(("ok" if self.ok(node.part) else "failed") if runs else "skipped")
        return states

    def walk(self, spec: Spec, into: Judgement, *, certain: bool, exempt: bool) -> None:
        """`certain`: it starts, and nothing around it stops it. `exempt`: it runs even if the rest is broken."""
        ok = self.ok(spec)
        if isinstance(spec, JobSpec):
            (into.must if certain else into.may).add(spec.name)
        elif isinstance(spec, ChainSpec):
            for step in spec.steps:
                self.walk(step, into, certain=certain, exempt=exempt)
                if not self.ok(step):
                    break
        elif isinstance(spec, GroupSpec):
            for member in spec.members:
                self.walk(member, into, certain=certain and (ok or exempt), exempt=exempt)
        elif isinstance(spec, GraphSpec):
            for state, node in zip(self._states(spec), spec.nodes, strict=True):
                if state != "skipped":
                    spared = exempt or node.when == "always"
                    self.walk(node.part, into, certain=certain and (ok or spared), exempt=spared)
        followers = (spec.then if ok else spec.catch) if certain else (*spec.then, *spec.catch)
        for follower in followers:
            self.walk(follower, into, certain=certain, exempt=True)


# What it is worth, if nothing fails


def result_of(name: str, got: Any, refs: Any) -> str:
    """What a job returns: something that tells what it was called with."""
    return f"{name}:{zlib.crc32(repr((got, refs)).encode()):08x}"


def value_of(spec: Spec, got: Any = None, refs: Any = ()) -> Any:
    """The value of a part to which `got` is handed."""
    if isinstance(spec, JobSpec):
        return result_of(spec.name, got if spec.takes else None, list(refs))
    if isinstance(spec, ChainSpec):
        for step in spec.steps:
            got = value_of(step, got)
        return got
    if isinstance(spec, GroupSpec):
        return [value_of(member, got) for member in spec.members]
    assert isinstance(spec, GraphSpec)
    values: list[Any] = []
    for node in spec.nodes:
        given = [values[before] for before in node.after] if _refers(node) else []
        values.append(value_of(node.part, None if node.after else got, given))
    waited_for = {before for node in spec.nodes for before in node.after}
    ends = {f"n{number}": value for number, value in enumerate(values) if number not in waited_for}
    return ends if len(ends) > 1 else next(iter(ends.values()))
