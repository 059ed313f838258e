"""Chains, groups and chords, as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from heeler.dag.place import FailurePolicy, failure_policies
from heeler.dag.sketch import Group as GroupSketch
from heeler.dag.sketch import Sketch
from heeler.errors import InvalidWorkflow
from heeler.overrides import Overrides
from heeler.workflow.parts import Chain, Composable, Composite, Numbers, chain_of, checked, in_a_line
from heeler.workflow_sender import WorkflowSender

__all__ = ["Group", "chain", "checked_policy", "chord", "group"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


_Any = Composable[Any]


@overload
def chain(one: Composable[R], /) -> Chain[R]: ...
@overload
def chain(one: _Any, last: Composable[R], /) -> Chain[R]: ...
@overload
def chain(one: _Any, two: _Any, last: Composable[R], /) -> Chain[R]: ...
@overload
def chain(one: _Any, two: _Any, three: _Any, last: Composable[R], /) -> Chain[R]: ...
@overload
def chain(one: _Any, two: _Any, three: _Any, four: _Any, last: Composable[R], /) -> Chain[R]: ...
@overload
def chain(*steps: Composable[Any]) -> Chain[Any]: ...
def chain(*steps: Composable[Any]) -> Chain[Any]:
    """Steps one after the other: `chain(fetch.s(url), parse.s(), store.s("db"))`, or `fetch.s(url) | parse.s()`.

    Each gets the value of the one before as first argument, unless it is immutable (`.si(…)`). A group followed by a
    step is a chord. Raises InvalidWorkflow.
    """
    return chain_of(steps)


class Group(Composite[list[R_co]]):
    """Members side by side; its value is the list of their values, in order."""

    __slots__ = ("_failure", "_members")

    def __init__(self, members: tuple[Composable[R_co], ...] | _Stream, failure: FailurePolicy) -> None:
        super().__init__()
        self._members = members
        self._failure: FailurePolicy = failure

    def __repr__(self) -> str:
        return f"group({self._members!r})"

    @property
    def _label(self) -> str:
        return "group"

    @property
    def _bare_shown(self) -> str:
        return f"group({in_a_line(self._members) if isinstance(self._members, tuple) else '…'})"

    def _copy(self) -> Group[R_co]:
        return Group(self._members, self._failure)

    def _parts(self) -> Iterator[Composable[Any]]:
        return iter(self._members) if isinstance(self._members, tuple) else iter(())

    def _senders(self) -> Iterator[WorkflowSender]:
        if isinstance(self._members, _Stream):
            for member in self._members.ahead():
                yield from member._senders()
        yield from super()._senders()

    @property
    def _is_drawn_once(self) -> bool:
        return isinstance(self._members, _Stream) or super()._is_drawn_once

    def _bare_sketch(self, ask: Overrides, numbers: Numbers, depth: int) -> Sketch:
        members = self._members
        is_stream = isinstance(members, _Stream)
        drawn = members.draw() if isinstance(members, _Stream) else members
        sketches = _Sketches(drawn, lambda member: member._sketch(ask, numbers, depth))
        return GroupSketch(members=sketches, failure=self._failure, drawn_once=is_stream)


@overload
def group(*members: Composable[R], failure: FailurePolicy = "fail_fast") -> Group[R]: ...
@overload
def group(members: Iterable[Composable[R]], /, *, failure: FailurePolicy = "fail_fast") -> Group[R]: ...
def group(*members: Any, failure: FailurePolicy = "fail_fast") -> Group[Any]:
    """Members side by side: `group(resize.s(path, 64) for path in paths)`, or `group(a.s(), b.s())`.

    Any number; from an iterator they are drawn and sent in batches while it is enqueued, which can be done once.
    `failure` is what becomes of it when a member fails: "fail_fast" (it fails; members that have not started are
    skipped), "continue" (a Failure stands in the member's place), "ignore" (the member is left out). Raises
    InvalidWorkflow.
    """
    checked_policy(failure, "group")
    if len(members) != 1 or isinstance(members[0], Composable):
        return Group(checked(members, "group"), failure)
    [several] = members
    if isinstance(several, (list, tuple)):
        return Group(checked(several, "group"), failure)
    if not isinstance(several, Iterable):
        raise InvalidWorkflow(f"group: a member is a signature (task.s(…)) or a part of a workflow, got {several!r}")
    return Group(_Stream(iter(several)), failure)


def chord(members: Composite[Any] | Iterable[Composable[Any]], body: Composable[R]) -> Chain[R]:
    """A group whose members' values go to a body as a list: `chord(group(count.s(f) for f in files), merge.s())`."""
    header = members if isinstance(members, Composable) else group(members)
    return Chain(checked((header, body), "chord"), is_chord=True)


def checked_policy(failure: Any, where: str) -> None:
    """Raises InvalidWorkflow for what is no policy."""
    if failure not in failure_policies:
        raise InvalidWorkflow(f"{where}: failure is one of {', '.join(failure_policies)}, got {failure!r}")


class _Stream:
    """Members that are drawn once."""

    def __init__(self, members: Iterator[Any]) -> None:
        self._members = members
        self._seen: list[Composable[Any]] = []
        self._drawn = False

    def __repr__(self) -> str:
        return "…"

    def ahead(self) -> Iterator[Composable[Any]]:
        """The members from the first one on, as many as are looked at: one, unless it is empty itself.

        Raises InvalidWorkflow if they were drawn.
        """
        self._check_unread()
        yield from self._seen
        for member in self._members:
            self._seen += checked((member,), "group")
            yield self._seen[-1]

    def draw(self) -> Iterator[Composable[Any]]:
        """Raises InvalidWorkflow the second time."""
        self._check_unread()
        self._drawn = True
        return self._draw()

    def _check_unread(self) -> None:
        if self._drawn:
            raise InvalidWorkflow(
                "this group was made from an iterator, which can be read once, and has been enqueued; make it from a "
                "list to enqueue it again"
            )

    def _draw(self) -> Iterator[Composable[Any]]:
        seen, self._seen = self._seen, []
        yield from seen
        for member in self._members:
            yield from checked((member,), "group")


class _Sketches:
    """The sketches of members, each made when it is drawn."""

    def __init__(self, members: Iterable[Composable[Any]], sketch: Callable[[Composable[Any]], Sketch]) -> None:
        self._members = members
        self._sketch = sketch

    def __iter__(self) -> Iterator[Sketch]:
        return map(self._sketch, self._members)
