"""What workflows are made of: values that can stand in each other, none of which is sent before its `enqueue`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from heeler.dag.sketch import Sketch, Steps
from heeler.dag.template import Template
from heeler.errors import InvalidWorkflow
from heeler.overrides import NO_OVERRIDES, Overrides, with_options
from heeler.workflow_result import WorkflowResult
from heeler.workflow_sender import PreparedWorkflow, WorkflowOptions, WorkflowSender

__all__ = [
    "Chain",
    "Composable",
    "Composite",
    "Growing",
    "Numbers",
    "chain_of",
    "checked",
    "in_a_line",
    "later",
    "merged",
    "too_deep_refused",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

DEEPEST = 50
"""How many parts may stand in each other."""

MOST_STEPS = 10_000
"""How many steps a chain may have."""

_SHOWN = 4  # parts of which something is said in a line

Numbers = Mapping[Any, int]
"""The numbers of the nodes of the graph in which a part stands."""

_NO_NUMBERS: Numbers = {}


class Composable(ABC, Generic[R_co]):
    """What can be a part of a workflow: a signature, or a workflow itself."""

    __slots__ = ()

    @property
    @abstractmethod
    def _label(self) -> str:
        """What it is, in a word: the name of a node that has no other."""

    @property
    @abstractmethod
    def _shown(self) -> str:
        """What it is, in a line, for people; of many parts the first are named."""

    @abstractmethod
    def _sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        """What it is compiled from. `ask` are the options of all around it. Raises InvalidWorkflow."""

    @abstractmethod
    def _senders(self) -> Iterator[WorkflowSender]:
        """Who could send it: the first will do."""

    @property
    def _is_drawn_once(self) -> bool:
        """Whether it can be sent only once, because there is an iterator in it."""
        return False

    @abstractmethod
    def _nodes(self) -> Iterator[Any]:
        """The nodes for whose results arguments in it stand, as far as that can be seen before it is sent."""

    def __or__(self, other: Composable[R]) -> Chain[R]:
        if not isinstance(other, Composable):
            return NotImplemented
        return chain_of((self, other))


class Composite(Composable[R_co]):
    """A workflow, or a part of one. Immutable: its methods give copies."""

    __slots__ = ("_ask", "_catch", "_name", "_then")

    def __init__(self) -> None:
        self._ask: Overrides = NO_OVERRIDES
        self._then: tuple[Composable[Any], ...] = ()
        self._catch: tuple[Composable[Any], ...] = ()
        self._name = ""

    @abstractmethod
    def _copy(self) -> Composite[R_co]: ...

    @abstractmethod
    def _parts(self) -> Iterator[Composable[Any]]:
        """What it is made of, as far as that can be seen before it is sent."""

    @abstractmethod
    def _bare_sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        """The sketch without callbacks."""

    @property
    @abstractmethod
    def _bare_shown(self) -> str:
        """The line without callbacks."""

    @property
    def _shown(self) -> str:
        text = self._bare_shown
        for name, followers in (("then", self._then), ("catch", self._catch)):
            if followers:
                text += f".{name}({in_a_line(followers)})"
        return text

    @property
    def _is_bare(self) -> bool:
        """Whether nothing is asked for and nothing follows."""
        return self._ask is NO_OVERRIDES and not self._then and not self._catch

    def then(self, *followers: Composable[Any]) -> Composite[R_co]:
        """A copy with jobs that follow its success, with its value as first argument."""
        return self._changed(then=(*self._then, *checked(followers, "then")))

    def catch(self, *followers: Composable[Any]) -> Composite[R_co]:
        """A copy with jobs that follow its failure, with a FailedRun of the job to blame as first argument."""
        return self._changed(catch=(*self._catch, *checked(followers, "catch")))

    def using(self, **options: Any) -> Composite[R_co]:
        """A copy with other options; names and errors are those of `Task.using`.

        `id` makes the enqueue idempotent, `result_ttl` is how long results are kept after the end of the workflow,
        `run_after` delays the first jobs; all others are for each job that does not say otherwise.
        """
        return self._changed(ask=with_options(self._ask, options))

    def enqueue(self) -> WorkflowResult[R_co]:
        """Send it; when this returns, the broker holds all of it.

        Raises InvalidWorkflow, and what `Task.enqueue` raises.
        """
        return self._sender().send(self._whole(), self._options())

    async def aenqueue(self) -> WorkflowResult[R_co]:
        """`enqueue` from async code."""
        return await self._sender().asend(self._whole(), self._options())

    def prepare(self) -> PreparedWorkflow:
        """The handle, and what somebody else publishes for it."""
        return self._sender().prepare(self._whole(), self._options())

    def template(self, sender: WorkflowSender, most: int) -> Template:
        """What somebody else keeps to start it again and again, by this sender; `most` is how many jobs it may have.

        Raises InvalidWorkflow, and what wrong calls raise.
        """
        if self._is_drawn_once:
            raise InvalidWorkflow(
                f"a group in this {self._label} was made from an iterator, which can be read once, and is to start "
                f"again and again; make the group from a list"
            )
        return sender.template(self._whole(), self._options(), most)

    def _changed(self, **changes: Any) -> Composite[R_co]:
        copy = self._copy()
        for name in ("ask", "then", "catch", "name"):
            setattr(copy, f"_{name}", changes.get(name, getattr(self, f"_{name}")))
        return copy

    def _whole(self) -> Sketch:
        without_id = msgspec.structs.replace(self._ask, id=None)
        return self._changed(ask=without_id)._sketch(NO_OVERRIDES, _NO_NUMBERS, 0)

    def _options(self) -> WorkflowOptions:
        return WorkflowOptions(id=self._ask.id, name=self._name, keep=self._ask.result_ttl)

    def _sender(self) -> WorkflowSender:
        with too_deep_refused():
            for sender in self._senders():
                return sender
        raise InvalidWorkflow(f"{self._label} has no jobs, so nothing says by which app it is to be sent")

    def _senders(self) -> Iterator[WorkflowSender]:
        for part in (*self._parts(), *self._then, *self._catch):
            yield from part._senders()

    def _nodes(self) -> Iterator[Any]:
        for part in (*self._parts(), *self._then, *self._catch):
            yield from part._nodes()

    @property
    def _is_drawn_once(self) -> bool:
        return any(part._is_drawn_once for part in (*self._parts(), *self._then, *self._catch))

    def _sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        if self._ask.id is not None:
            raise InvalidWorkflow(
                f"a {self._label} with the id {self._ask.id!r} stands within another workflow; only of the whole an id "
                f"can be chosen"
            )
        if depth > DEEPEST:
            raise too_deep()
        options = merged(ask, self._ask)
        sketch = self._bare_sketch(options, numbers, depth + 1)
        if self._is_bare or not (self._then or self._catch):
            return sketch
        after = later(options)
        return msgspec.structs.replace(  # a chain of one step is that step, which may have callbacks of its own
            sketch,
            then=(*sketch.then, *(follower._sketch(after, numbers, depth + 1) for follower in self._then)),
            catch=(*sketch.catch, *(follower._sketch(after, numbers, depth + 1) for follower in self._catch)),
        )


class Chain(Composite[R_co]):
    """Steps one after the other, each with the value of the one before as first argument; its value is the last's."""

    __slots__ = ("_is_chord", "_steps")

    def __init__(self, steps: tuple[Composable[Any], ...], *, is_chord: bool = False) -> None:
        super().__init__()
        self._steps = steps
        self._is_chord = is_chord

    def __repr__(self) -> str:
        return f"{self._label}({', '.join(map(repr, self._steps))})"

    @property
    def _label(self) -> str:
        return "chord" if self._is_chord else "chain"

    @property
    def _bare_shown(self) -> str:
        return f"{self._label}({in_a_line(self._steps)})"

    def _copy(self) -> Chain[R_co]:
        return Chain(self._steps, is_chord=self._is_chord)

    def _parts(self) -> Iterator[Composable[Any]]:
        return iter(self._steps)

    def _bare_sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        after = later(ask)
        steps = [step._sketch(after if n else ask, numbers, depth) for n, step in enumerate(self._steps)]
        return steps[0] if len(steps) == 1 else Steps(steps=steps, is_chord=self._is_chord)


def chain_of(steps: Sequence[Composable[Any]]) -> Chain[Any]:
    """A chain of these steps; chains among them that ask for nothing of their own become part of it."""
    flat: list[Composable[Any]] = []
    for step in checked(steps, "chain"):
        if isinstance(step, Chain) and step._is_bare and not step._is_chord:
            flat += step._steps
        else:
            flat.append(step)
    if not flat:
        raise InvalidWorkflow("chain: a chain needs at least one step")
    if len(flat) > MOST_STEPS:
        raise InvalidWorkflow(f"chain: {len(flat):,} steps are more than the {MOST_STEPS:,} that a chain may have")
    return Chain(tuple(flat))


def too_deep() -> InvalidWorkflow:
    """What is raised for parts that stand in each other too deep."""
    return InvalidWorkflow(
        f"parts of a workflow stand in each other more than {DEEPEST} deep; put steps that follow each other into one "
        f"chain, and members side by side into one group"
    )


@contextmanager
def too_deep_refused() -> Iterator[None]:
    """Say so where parts stand in each other so deep that they cannot even be walked through."""
    try:
        yield
    except RecursionError:
        raise too_deep() from None


def checked(parts: Iterable[Any], where: str) -> tuple[Composable[Any], ...]:
    """Parts that can stand in a workflow. Raises InvalidWorkflow."""
    found = tuple(parts)
    for part in found:
        if not isinstance(part, Composable):
            raise InvalidWorkflow(
                f"{where}: a part is a signature (task.s(…)), a chain, group, chord or Workflow, got {part!r}"
            )
    return tuple(part._snapshot() if isinstance(part, Growing) else part for part in found)


class Growing(Composable[R_co]):
    """What can still be added to: it takes part as it is at that moment."""

    __slots__ = ()

    @abstractmethod
    def _snapshot(self) -> Composite[R_co]: ...


def in_a_line(parts: Sequence[Composable[Any]]) -> str:
    """The parts for people: the first ones, and how many more there are."""
    texts = [part._shown for part in parts[:_SHOWN]]
    return ", ".join([*texts, f"… {len(parts) - _SHOWN:,} more"] if len(parts) > _SHOWN else texts)


def merged(around: Overrides, own: Overrides) -> Overrides:
    """The own options, and those of all around where nothing is asked for."""
    if around is NO_OVERRIDES or around == NO_OVERRIDES:
        return own
    if own is NO_OVERRIDES:
        return around
    changes = {
        name: value
        for name in Overrides.__struct_fields__
        if (value := getattr(own, name)) != getattr(NO_OVERRIDES, name)
    }
    if "run_at" in changes or "delay" in changes:
        around = later(around)
    return msgspec.structs.replace(around, **changes)


def later(ask: Overrides) -> Overrides:
    """The options for jobs that do not come first: what delays the whole has delayed them already."""
    if ask.run_at is None and ask.delay == 0.0:
        return ask
    return msgspec.structs.replace(ask, run_at=None, delay=0.0)
