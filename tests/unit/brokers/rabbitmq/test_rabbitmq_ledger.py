"""Acknowledgements: one for many wherever nothing unsettled is skipped."""

from hypothesis import given
from hypothesis import strategies as st
from pika import frame

from heeler.brokers.rabbitmq.ledger import Ledger
from heeler.brokers.rabbitmq.read_ahead import ReadAhead


def acknowledged(data: bytes) -> list[tuple[int, bool]]:
    methods = []
    while data:
        consumed, decoded = frame.decode_frame(data)
        methods.append((decoded.method.delivery_tag, bool(decoded.method.multiple)))
        data = data[consumed:]
    return methods


def test_a_run_from_the_first_is_one_acknowledgement() -> None:
    assert acknowledged(Ledger().acknowledge(1, [1, 2, 3])) == [(3, True)]


def test_what_comes_after_a_gap_is_acknowledged_one_by_one() -> None:
    ledger = Ledger()
    assert acknowledged(ledger.acknowledge(1, [2, 3])) == [(2, False), (3, False)]
    assert acknowledged(ledger.acknowledge(1, [1, 4])) == [(4, True)]


@given(st.permutations(range(1, 30)), st.lists(st.integers(1, 7), min_size=30))
def test_in_any_order_each_is_acknowledged_once(order: list[int], sizes: list[int]) -> None:
    ledger = Ledger()
    unsettled = set(order)
    while order:
        batch, order = order[: sizes[0]], order[sizes[0] :]
        sizes = sizes[1:]
        settled = set()
        for tag, multiple in acknowledged(ledger.acknowledge(1, batch)):
            assert tag in unsettled - settled  # RabbitMQ closes the channel for any other
            settled |= {one for one in unsettled if one <= tag} if multiple else {tag}
        assert settled == set(batch)
        unsettled -= settled


def test_short_jobs_are_read_ahead_and_long_ones_not() -> None:
    ahead = ReadAhead()
    ahead.measure(0, in_hand=0, room=16, now=0.0)
    assert ahead.wanted == 16
    ahead.measure(1000, in_hand=0, room=16, now=0.1)
    assert ahead.wanted == 16 + 500
    ahead.collapse()
    assert ahead.wanted == 16


def test_with_prefetch_limit_nothing_is_read_ahead() -> None:
    ahead = ReadAhead(limit_only=True)
    for settled in range(0, 5000, 1000):
        ahead.measure(settled, in_hand=0, room=16, now=settled / 1000)
        assert ahead.wanted == 16
