"""What runs of a workflow, and how it ends, given which of its jobs fail."""

from __future__ import annotations

import random

import pytest
from simulation import Simulation, call, chain, chord, graph, group, node

from heeler.dag.place import Source
from heeler.dag.shape import jobs_of, latches_of
from heeler.dag.sketch import Call, Sketch
from heeler.model import LatchState

RELEASED, BROKEN, OPEN = LatchState.RELEASED, LatchState.BROKEN, LatchState.OPEN

a, b, c, d, e = (call(name) for name in "abcde")
t, z = call("t"), call("z")


@pytest.mark.parametrize(
    ("sketch", "fails", "ran", "state"),
    [
        (a, "", "a", RELEASED),
        (a, "a", "a", BROKEN),
        (call("a", then=(t,), catch=(z,)), "", "at", RELEASED),
        (call("a", then=(t,), catch=(z,)), "a", "az", BROKEN),
        (call("a", then=(t, b), catch=(z, c)), "", "abt", RELEASED),
        (call("a", then=(t, b), catch=(z, c)), "a", "acz", BROKEN),
        (call("a", then=(chain(t, b),), catch=(chain(z, c),)), "at", "acz", BROKEN),
        (call("a", then=(t,)), "t", "at", RELEASED),
        (chain(a, b, c), "", "abc", RELEASED),
        (chain(a, b, c), "b", "ab", BROKEN),
        (chain(a, b, then=(t,), catch=(z,)), "", "abt", RELEASED),
        (chain(a, b, then=(t,), catch=(z,)), "a", "az", BROKEN),
        (chain(call("a", then=(t,)), b), "", "abt", RELEASED),
        (chain(call("a", catch=(z,)), b), "a", "az", BROKEN),
        (chain(chain(a, b), chain(c, d)), "", "abcd", RELEASED),
        (chain(chain(a, b), chain(c, d)), "c", "abc", BROKEN),
        (group([a, b, c]), "", "abc", RELEASED),
        (group([a, b, c]), "a", "a", BROKEN),
        (group([a, b, c]), "c", "abc", BROKEN),
        (group([a, b, c], "continue"), "ab", "abc", RELEASED),
        (group([a, b, c], "ignore"), "abc", "abc", RELEASED),
        (group([]), "", "", RELEASED),
        (group([a, b], then=(t,), catch=(z,)), "", "abt", RELEASED),
        (group([a, b], then=(t,), catch=(z,)), "b", "abz", BROKEN),
        (group([a, b], "continue", then=(t,), catch=(z,)), "b", "abt", RELEASED),
        (chord([a, b], c), "", "abc", RELEASED),
        (chord([a, b], c), "a", "a", BROKEN),
        (chord([a, b], c, catch=(z,)), "b", "abz", BROKEN),
        (chord([a, b], c, catch=(z,)), "ab", "az", BROKEN),
        (chord([a, b], c, "continue"), "ab", "abc", RELEASED),
        (chord([a, b], c, "continue"), "c", "abc", BROKEN),
        (chord([], a), "", "a", RELEASED),
        (chord([chain(a, b), c], d), "", "abcd", RELEASED),
        (chord([chain(a, b), c], d, "continue"), "a", "acd", RELEASED),
        (chord([chain(a, b), c], d, "continue"), "b", "abcd", RELEASED),
        (chain(a, group([b, c]), d), "", "abcd", RELEASED),
        (chain(a, group([b, c]), d), "a", "a", BROKEN),
        (chain(a, group([b, c]), d), "c", "abc", BROKEN),
        (chain(a, group([b, c])), "", "abc", RELEASED),
        (chain(a, group([b, c])), "c", "abc", BROKEN),
        (chain(a, group([]), b), "", "ab", RELEASED),
        (chain(a, group([])), "", "a", RELEASED),
        (chain(group([a, b]), group([c, d]), e), "", "abcde", RELEASED),
        (chain(group([a, b]), group([c, d]), e), "b", "ab", BROKEN),
        (chain(a, group([b, c], then=(t,), catch=(z,)), d), "", "abcdt", RELEASED),
        (chain(a, group([b, c], then=(t,), catch=(z,)), d), "c", "abcz", BROKEN),
        (group([group([a, b]), group([c, d])]), "", "abcd", RELEASED),
        (group([group([a, b]), group([c, d])]), "d", "abcd", BROKEN),
        (group([group([a, b]), group([c, d])], "continue"), "a", "acd", RELEASED),
        (group([group([a, b], "continue"), c]), "a", "abc", RELEASED),
        (chord([group([a, b]), chord([c], d)], e), "", "abcde", RELEASED),
        (chord([group([]), a], b), "", "ab", RELEASED),
        (chain(a, chord([b, chain(c, d)], e)), "", "abcde", RELEASED),
        (chain(a, chord([b, chain(c, d)], e)), "c", "abc", BROKEN),
        (graph(node(a), node(b), node(c, [0, 1])), "", "abc", RELEASED),
        (graph(node(a), node(b), node(c, [0, 1])), "a", "a", BROKEN),
        (graph(node(a, failure="continue"), node(b), node(c, [0, 1])), "a", "abc", RELEASED),
        (graph(node(a, failure="ignore"), node(b), node(c, [0, 1])), "a", "abc", RELEASED),
        (graph(node(a), node(b, [0]), node(c, [1], "always")), "a", "ac", BROKEN),
        (graph(node(a), node(b, [0]), node(c, [1], "always")), "", "abc", RELEASED),
        (graph(node(a), node(b), node(c, [0, 1], "any")), "", "abc", RELEASED),
        (graph(node(a, failure="continue"), node(b), node(c, [0, 1], "any")), "a", "abc", RELEASED),
        (
            graph(node(a, failure="continue"), node(b, failure="continue"), node(c, [0, 1], "any")),
            "ab",
            "ab",
            BROKEN,
        ),
        (
            graph(node(a, failure="continue"), node(b, [0], "any", "continue"), node(c, [1])),
            "a",
            "ac",
            RELEASED,
        ),
        (graph(node(group([a, b])), node(c, [0])), "", "abc", RELEASED),
        (graph(node(group([a, b])), node(c, [0])), "b", "ab", BROKEN),
        (graph(node(group([a, b]), failure="continue"), node(c, [0])), "a", "ac", RELEASED),
        (graph(node(a), node(group([b, c]), [0]), node(d, [1])), "", "abcd", RELEASED),
        (graph(node(a), node(chain(b, c), [0]), node(d, [1], "always")), "a", "ad", BROKEN),
        (graph(node(graph(node(a), node(b, [0]))), node(c, [0])), "", "abc", RELEASED),
        (graph(node(graph(node(a), node(b, [0]))), node(c, [0])), "b", "ab", BROKEN),
        (chain(graph(node(a), node(b)), c), "", "abc", RELEASED),
        (chain(a, graph(node(b), node(c, [0])), d), "", "abcd", RELEASED),
        (group([graph(node(a), node(b)), c]), "", "abc", RELEASED),
        (graph(node(a), node(b, [0]), catch=(z,)), "a", "az", BROKEN),
        (graph(node(call("a", then=(t,))), node(b, [0])), "", "abt", RELEASED),
    ],
)
def test_what_runs_and_how_it_ends(sketch: Sketch, fails: str, ran: str, state: LatchState) -> None:
    simulation = Simulation(sketch, fails).run()
    assert "".join(sorted(simulation.ran)) == ran
    assert simulation.state is state


def test_steps_run_in_order_and_the_body_last() -> None:
    simulation = Simulation(chain(a, b, chord([c, d], e)), chance=random.Random(7)).run()
    assert simulation.ran[:2] == ["a", "b"]
    assert simulation.ran[-1] == "e"


@pytest.mark.parametrize("seed", range(20))
def test_a_failed_job_that_is_revived_takes_the_workflow_to_its_end(seed: int) -> None:
    sketch = graph(
        node(a), node(chain(b, c), [0]), node(chord([d, e], t), [0]), node(z, [1, 2]), node(call("y"), [3], "always")
    )
    chance = random.Random(seed)
    broken = chance.choice("abcdetz")
    simulation = Simulation(sketch, broken, chance=chance).run()
    assert simulation.state is BROKEN
    assert "y" in simulation.ran
    for name in (broken, *simulation.skipped):
        simulation.revive(name)
    simulation.skipped.clear()
    simulation.run()
    assert simulation.state is RELEASED
    assert set(simulation.ran) == set("abcdetzy")
    assert simulation.skipped == []


def test_what_follows_one_job_many_times_is_let_go_in_parts() -> None:
    members = [call(f"m{number}") for number in range(1234)]
    simulation = Simulation(chain(a, group(members), b)).run()
    assert len(simulation.ran) == 1236
    assert simulation.ran[-1] == "b"
    assert simulation.most_let_go == 100
    assert simulation.shape.kinds[1].relays == 12


def test_what_follows_is_let_go_in_parts_of_a_bounded_size() -> None:
    members = [call(f"m{number}") for number in range(20)]
    simulation = Simulation(chain(a, group(members), b), size_of=lambda job: 100_000).run()
    assert len(simulation.ran) == 22
    assert simulation.most_let_go == 2


def test_a_node_with_very_many_dependents_tells_a_bounded_number() -> None:
    sketch = graph(node(a), *[node(call(f"n{number}"), [0]) for number in range(5000)])
    simulation = Simulation(sketch).run()
    assert len(simulation.ran) == 5001
    assert simulation.state is RELEASED
    assert simulation.most_told <= 110
    failed = Simulation(graph(node(a), *[node(call(f"n{number}"), [0], "always") for number in range(500)]), "a").run()
    assert len(failed.ran) == 501


def test_very_many_nodes_before_one() -> None:
    sketch = graph(*[node(call(f"n{number}")) for number in range(4999)], node(a, range(4999)))
    simulation = Simulation(sketch, chance=random.Random(1)).run()
    assert simulation.ran[-1] == "a"


def test_a_chain_of_a_thousand_steps() -> None:
    simulation = Simulation(chain(*[call(f"s{number}") for number in range(1000)])).run()
    assert simulation.ran == [f"s{number}" for number in range(1000)]
    assert simulation.ticks == 1000


def test_every_job_but_callbacks_is_counted_once() -> None:
    sketch = chain(a, chord([call("b", then=(t,)), chain(c, d)], e), catch=(z,))
    simulation = Simulation(sketch).run()
    assert sorted(simulation.ran) == ["a", "b", "c", "d", "e", "t"]
    assert simulation.ticks == 5


def test_ids_follow_from_the_shape() -> None:
    sketch = chain(
        call("a", then=(t,)),
        group([b, chain(c, d), group([e])]),
        graph(node(call("f")), node(call("g"), [0])),
        catch=(z,),
    )
    simulation = Simulation(sketch)
    expected = {job.id: job.call.task for job in simulation.jobs.values()}
    assert dict(jobs_of(simulation.shape, "w")) == expected
    assert set(simulation.latch_ids) <= {*latches_of(simulation.shape, "w"), "w"}
    main = dict(jobs_of(simulation.shape, "w", callbacks=False))
    assert expected.keys() - main.keys() == {"w/0/t0", "w/c0"}


def test_all_latches_of_large_workflows_are_found_by_the_shape() -> None:
    many = [call(f"m{number}") for number in range(450)]
    more = [call(f"n{number}") for number in range(450)]
    sketch = chain(
        a, group(many), graph(node(b), *[node(call(f"g{number}"), [0]) for number in range(300)]), group(more)
    )
    simulation = Simulation(sketch)
    assert set(simulation.latch_ids) <= {*latches_of(simulation.shape, "w"), "w"}


def test_a_group_of_alike_members_has_a_small_shape() -> None:
    shape = Simulation(group(_alike("m", 1000))).shape
    assert shape.runs == ((0, 1000),)
    assert len(shape.kinds) == 1
    mixed = Simulation(group([*_alike("m", 500), a, *_alike("n", 500)])).shape
    assert mixed.runs == ((0, 500), (1, 1), (0, 500))


def _alike(prefix: str, count: int) -> list[Sketch]:
    return [Call(leaf=f"{prefix}{number}", task="tasks.m") for number in range(count)]


@pytest.mark.parametrize(
    ("sketch", "name", "source"),
    [
        (chain(a, b), "b", Source("job", "w/0")),
        (chain(a, call("b", takes=False)), "b", None),
        (chain(group([a, b]), c), "c", Source("all", "w/0:all")),
        (chain(chain(a, b), c), "c", Source("job", "w/0/1")),
        (chain(a, group([b, c])), "c", Source("job", "w/0")),
        (chain(graph(node(a), node(b, [0])), c), "c", Source("job", "w/0/1")),
        (chain(graph(node(a), node(b)), c), "c", Source("all", "w/0:all")),
        (chain(group([a, b], then=(t,)), c), "c", Source("all", "w/0:all")),
        (chain(group([a, b], then=(t,)), c), "t", Source("all", "w/0:all")),
        (call("a", catch=(z,)), "z", Source("failed", "w/0:end")),
        (chord([a, b], c, catch=(z,)), "z", Source("failed", "w:end")),
        (group([chain(a, b), c]), "a", None),
    ],
)
def test_where_the_first_argument_comes_from(sketch: Sketch, name: str, source: Source | None) -> None:
    assert Simulation(sketch).jobs[name].first == source


def test_where_the_results_of_nodes_are_found() -> None:
    sketch = graph(
        node(a), node(group([b, c]), failure="continue"), node(d, [0, 1]), node(e, [0], "any"), node(z, [0], "always")
    )
    jobs = Simulation(sketch).jobs
    assert jobs["d"].sources == {0: Source("job", "w/0"), 1: Source("all", "w/1:all", "continue")}
    assert jobs["e"].sources == {0: Source("job", "w/0", "ignore")}
    assert jobs["z"].sources == {0: Source("job", "w/0", "continue")}
