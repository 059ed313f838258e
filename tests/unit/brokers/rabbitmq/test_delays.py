"""Delays are routed through queues whose holding times add up to them, whatever they are."""

from hypothesis import given
from hypothesis import strategies as st
from pika import spec

from heeler.brokers.rabbitmq.binding_keys import lets_through
from heeler.brokers.rabbitmq.delays import LONGEST, PLACES, UNIT, DelayNames, delay_key, due_binding, stops

MONTH = 30 * 86400.0


@given(st.floats(min_value=0.001, max_value=MONTH))
def test_the_stops_add_up_to_the_delay_and_less_than_two_units_more(delay: float) -> None:
    held = sum(stop.milliseconds for stop in stops(delay)) / 1000
    assert delay <= held < delay + UNIT + PLACES * 0.001 + 1e-6


@given(st.floats(min_value=0.001, max_value=MONTH))
def test_the_exchanges_lead_through_exactly_these_stops(delay: float) -> None:
    key = delay_key(delay, "q", "work")
    names = DelayNames("test.")
    bindings = [
        (method.source, method.destination, method.routing_key)
        if isinstance(method, spec.Exchange.Bind)
        else (method.exchange, method.queue, method.routing_key)
        for method in names.declarations("quorum", "dead")
        if isinstance(method, (spec.Exchange.Bind, spec.Queue.Bind)) and method.routing_key
    ]
    leads_on = {
        method.queue: method.arguments["x-dead-letter-exchange"]
        for method in names.declarations("quorum", "dead")
        if isinstance(method, spec.Queue.Declare)
    }
    here, passed = names.entry(delay), []
    while here != names.due:
        [there] = [to for source, to, pattern in bindings if source == here and lets_through("topic", pattern, key)]
        if there in leads_on:
            passed.append(there)
            here = leads_on[there]
        else:
            here = there
    assert passed == [names.queue(stop) for stop in stops(delay)]


def test_what_is_due_is_found_by_the_end_of_the_key() -> None:
    assert lets_through("topic", due_binding("q", "a.b"), delay_key(12.3, "q", "a.b"))
    assert not lets_through("topic", due_binding("q", "a.b"), delay_key(12.3, "q", "a.c"))
    assert not lets_through("topic", due_binding("k", "a.b"), delay_key(12.3, "q", "a.b"))
    assert lets_through("topic", due_binding("k", "img.*"), delay_key(12.3, "k", "img.png"))


def test_there_are_at_most_40_queues_each_as_durable_as_those_for_work() -> None:
    queues = [
        method for method in DelayNames("x.").declarations("quorum", "dead") if isinstance(method, spec.Queue.Declare)
    ]
    assert len(queues) == 39
    assert all(queue.durable and queue.arguments["x-queue-type"] == "quorum" for queue in queues)
    assert all(queue.arguments["x-dead-letter-strategy"] == "at-least-once" for queue in queues)
    assert max(queue.arguments["x-message-ttl"] for queue in queues) < 2**32  # what the server takes


def test_the_longest_way_is_more_than_a_month() -> None:
    assert LONGEST > MONTH
    assert sum(stop.milliseconds for stop in stops(LONGEST * 5)) / 1000 >= LONGEST


def test_up_to_two_minutes_there_are_at_most_four_stops() -> None:
    assert max(len(stops(unit * UNIT)) for unit in range(1, 2401)) == 4
