"""Workflows where nothing is stored: what follows travels in the envelope of the job that it follows.

That does for chains, for jobs side by side, and for callbacks. It does not where several have to end before something
follows: nobody would know which of them was the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from heeler.dag.place import Place, Source, Travel, decode_place, encode_place
from heeler.dag.sketch import Call, Graph, Group, Sketch, Steps
from heeler.errors import ConfigurationError
from heeler.model import Envelope

__all__ = ["Seal", "failed", "succeeded", "travelling"]

Seal = Callable[[Call, str, Source | None], Envelope]
"""Makes the envelope of a call under an id; its first argument is what the source says, unless that is None."""

_BEFORE = Source("before")
_NEEDS_A_STORE = (
    "this workflow waits for several jobs to end, which needs a store to remember them, and this app has none that can "
    "be read; give `results` a URL, such as redis:// or sqlite:///, or use chains, `then` and `catch` only"
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def travelling(sketch: Sketch, path: str, seal: Seal) -> list[Envelope]:
    """The jobs that start at once, with all that follows in them. Raises ConfigurationError for what needs a store."""
    return _entries(sketch, path, None, seal, (), ())


def succeeded(place: Place) -> list[tuple[Envelope, Place]]:
    """The jobs that follow a job that has succeeded; their gaps are to be filled with its result."""
    travel = place.travel
    if travel is None:
        return []
    following = [_opened(data) for data in travel.then]
    if travel.steps:
        envelope, its = _opened(travel.steps[0])
        own = its.travel or Travel()
        rest = msgspec.structs.replace(own, steps=travel.steps[1:], chain_catch=travel.chain_catch)
        following.append((envelope, msgspec.structs.replace(its, travel=rest)))
    return following


def failed(place: Place) -> list[tuple[Envelope, Place]]:
    """The jobs that follow a job that has failed for good; their gaps are to be filled with a FailedRun."""
    travel = place.travel
    return [] if travel is None else [_opened(data) for data in (*travel.catch, *travel.chain_catch)]


def _opened(data: bytes) -> tuple[Envelope, Place]:
    envelope = _decode(data)
    return envelope, decode_place(envelope.place)


def _entries(
    sketch: Sketch, path: str, first: Source | None, seal: Seal, then: tuple[bytes, ...], catch: tuple[bytes, ...]
) -> list[Envelope]:
    """The first jobs of a part. `then` and `catch` are what follows its success or failure besides its own."""
    then = (*then, *_followers(sketch.then, f"{path}/t", seal))
    catch = (*catch, *_followers(sketch.catch, f"{path}/c", seal))
    if isinstance(sketch, Call):
        return [_with_travel(seal(sketch, path, first if sketch.takes else None), Travel(then=then, catch=catch))]
    if isinstance(sketch, Steps):
        return _chain(sketch.steps, path, first, seal, then, catch)
    if isinstance(sketch, Graph) or then or catch:
        raise ConfigurationError(_NEEDS_A_STORE)
    assert isinstance(sketch, Group)
    return [
        entry
        for number, member in enumerate(sketch.members)
        for entry in _entries(member, f"{path}/{number}", first, seal, (), ())
    ]


def _followers(sketches: Sequence[Sketch], path: str, seal: Seal) -> list[bytes]:
    return [
        _encode(entry)
        for number, follower in enumerate(sketches)
        for entry in _entries(follower, f"{path}{number}", _BEFORE, seal, (), ())
    ]


def _chain(
    steps: Sequence[Sketch],
    path: str,
    first: Source | None,
    seal: Seal,
    then: tuple[bytes, ...],
    catch: tuple[bytes, ...],
) -> list[Envelope]:
    *others, last = steps
    if not others:
        return _entries(last, f"{path}/0", first, seal, then, catch)
    here = f"{path}/{len(others)}"
    rest: list[bytes] = []
    if isinstance(last, Call):
        [entry] = _entries(last, here, _BEFORE, seal, then, ())
        rest = [_encode(entry)]
        then = ()
    elif catch:
        raise ConfigurationError(_NEEDS_A_STORE)
    else:  # jobs side by side may end a chain: they follow the last single job
        then = tuple(_encode(entry) for entry in _entries(last, here, _BEFORE, seal, then, ()))
    for number in range(len(others) - 1, 0, -1):
        [entry] = _single(others[number], f"{path}/{number}", _BEFORE, seal, then)
        then = ()
        rest.append(_encode(entry))
    rest.reverse()
    [entry] = _single(others[0], f"{path}/0", first, seal, then)
    own = decode_place(entry.place)
    travel = msgspec.structs.replace(own.travel or Travel(), steps=tuple(rest), chain_catch=catch)
    return [msgspec.structs.replace(entry, place=encode_place(msgspec.structs.replace(own, travel=travel)))]


def _single(step: Sketch, path: str, first: Source | None, seal: Seal, then: tuple[bytes, ...]) -> list[Envelope]:
    if not isinstance(step, Call):
        raise ConfigurationError(_NEEDS_A_STORE)
    return _entries(step, path, first, seal, then, ())


def _with_travel(envelope: Envelope, travel: Travel) -> Envelope:
    if travel == Travel():
        return envelope
    place = msgspec.structs.replace(decode_place(envelope.place), travel=travel)
    return msgspec.structs.replace(envelope, place=encode_place(place))
