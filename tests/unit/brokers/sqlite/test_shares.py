from itertools import islice

from heeler.brokers.sqlite.shares import Shares


def waiting(**numbers: int) -> dict[int, list[str]]:
    return {ord(name): [f"{name}{n}" for n in range(count)] for name, count in numbers.items()}


def test_weights_are_spread_evenly_and_not_in_blocks() -> None:
    shares = Shares([ord("a"), ord("b")], [3, 1])
    assert "".join(item[0] for item in islice(shares.pick(waiting(a=9, b=9)), 8)) == "aabaaaba"


def test_what_is_left_of_one_pick_is_made_up_for_in_the_next() -> None:
    shares = Shares([ord("a"), ord("b")], [3, 1])
    picked = "".join(next(shares.pick(waiting(a=9, b=9)))[0] for _ in range(8))
    assert picked == "aabaaaba"


def test_a_queue_without_work_gets_no_credit() -> None:
    shares = Shares([ord("a"), ord("b")], [1, 1])
    assert [item[0] for item in shares.pick(waiting(a=3))] == ["a", "a", "a"]
    assert "".join(item[0] for item in islice(shares.pick(waiting(a=5, b=5)), 4)) == "abab"


def test_each_queue_keeps_its_order() -> None:
    shares = Shares([ord("a"), ord("b")], [2, None])
    picked = list(shares.pick(waiting(a=3, b=2)))
    assert [item for item in picked if item[0] == "a"] == ["a0", "a1", "a2"]
    assert [item for item in picked if item[0] == "b"] == ["b0", "b1"]


def test_without_weights_the_order_is_strict() -> None:
    assert Shares([1, 2], [None, None]).is_strict
    assert not Shares([1, 2], [None, 1]).is_strict
    assert Shares([1], [5]).is_strict
