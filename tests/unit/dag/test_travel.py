"""What travels with a job where nothing is stored."""

from __future__ import annotations

import pytest
from simulation import call, chain, chord, graph, group, node

from heeler.dag.place import Input, Place, Source, decode_place, encode_place
from heeler.dag.sketch import Call, Sketch
from heeler.dag.travel import failed, succeeded, travelling
from heeler.errors import ConfigurationError
from heeler.model import Envelope

a, b, c, d = (call(name) for name in "abcd")
t, z = call("t"), call("z")


def seal(call: Call, id: str, first: Source | None) -> Envelope:
    place = Place((Input(("x",), first),)) if first is not None else Place()
    return Envelope(id=id, task=call.leaf, queue="q", body=b"", content_type="", place=encode_place(place))


def story(sketch: Sketch, fails: str = "") -> list[str]:
    """The jobs that run, and which of them are handed something."""
    ready = [(envelope, decode_place(envelope.place)) for envelope in travelling(sketch, "w", seal)]
    ran = []
    while ready:
        envelope, place = ready.pop(0)
        ran.append(envelope.task + ("+" if place.inputs else ""))
        ready += failed(place) if envelope.task in fails else succeeded(place)
    return ran


@pytest.mark.parametrize(
    ("sketch", "fails", "ran"),
    [
        (a, "", "a"),
        (chain(a, b, c), "", "a b+ c+"),
        (chain(a, b, c), "b", "a b+"),
        (chain(a, call("b", takes=False), c), "", "a b c+"),
        (call("a", then=(t, b), catch=(z,)), "", "a t+ b+"),
        (call("a", then=(t,), catch=(z, c)), "a", "a z+ c+"),
        (chain(a, b, then=(t,), catch=(z,)), "", "a b+ t+"),
        (chain(a, b, then=(t,), catch=(z,)), "a", "a z+"),
        (chain(a, b, then=(t,), catch=(z,)), "b", "a b+ z+"),
        (chain(call("a", then=(t,)), b), "", "a t+ b+"),
        (call("a", then=(chain(t, b),)), "", "a t+ b+"),
        (call("a", catch=(chain(z, b),)), "a", "a z+ b+"),
        (group([a, chain(b, c)]), "", "a b c+"),
        (chain(a, group([b, c])), "", "a b+ c+"),
        (chain(a, b, group([c, d])), "", "a b+ c+ d+"),
    ],
)
def test_what_follows_what(sketch: Sketch, fails: str, ran: str) -> None:
    assert " ".join(story(sketch, fails)) == ran


@pytest.mark.parametrize(
    "sketch",
    [
        chord([a, b], c),
        chain(a, group([b, c]), d),
        group([a, b], then=(t,)),
        group([a, b], catch=(z,)),
        graph(node(a), node(b)),
        chain(a, group([b, c]), catch=(z,)),
    ],
)
def test_what_waits_for_several_jobs_needs_a_store(sketch: Sketch) -> None:
    with pytest.raises(ConfigurationError, match="needs a store"):
        travelling(sketch, "w", seal)


def test_ids_follow_from_the_shape() -> None:
    [first] = travelling(chain(a, b, catch=(z,)), "w", seal)
    [(second, _)] = succeeded(decode_place(first.place))
    [(caught, _)] = failed(decode_place(first.place))
    assert (first.id, second.id, caught.id) == ("w/0", "w/1", "w/c0")
