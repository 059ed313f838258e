"""The way of a delayed message through queues that hold each message equally long: the sum of the stops is its delay.

A delay is counted in units of 50 ms, rounded up, and written as digits: the lower places count to 7, the higher ones to
2. Each digit that is not zero is one stop: the queue for digit d at a place holds every message for d times what the
place is worth, and hands it to the exchange of the next place. As all that a queue holds waits equally long, nothing
waits behind what waits longer. The digits stand in the routing key, and the exchanges are topics that look at one digit
each. See docs/internals/rabbitmq.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec
from pika import spec

__all__ = [
    "LONGEST",
    "PLACES",
    "UNIT",
    "DelayNames",
    "Stop",
    "all_stops",
    "delay_key",
    "digits_of",
    "due_binding",
    "stops",
]

Kind = Literal["q", "k"]
"""Whether a destination is a queue's name or a routing key."""

MARKS = ("~q", "~k")  # the words before it, which no name may have between its dots
UNIT = 0.05  # seconds
_BASES = (7, 7, 7, 7, *(2,) * 15)  # of each place, the lowest first: 39 queues, and at most 4 stops up to two minutes
PLACES = len(_BASES)
_WORTH = [math.prod(_BASES[:place]) for place in range(PLACES)]  # in units
_MOST = math.prod(_BASES) - 1
LONGEST = _MOST * UNIT  # 45 days; more is travelled in several rounds
_ROUNDING = 1  # ms more at each stop, because the server cuts its own clock down to milliseconds


class Stop(msgspec.Struct, frozen=True):
    """One delay queue: the digit at a place, and for how many milliseconds it holds a message."""

    place: int
    digit: int

    @property
    def milliseconds(self) -> int:
        return self.digit * round(UNIT * 1000) * _WORTH[self.place] + _ROUNDING


def all_stops() -> Iterator[Stop]:
    for place, base in enumerate(_BASES):
        yield from (Stop(place, digit) for digit in range(1, base))


def digits_of(delay: float) -> list[int]:
    """The digits of a delay in seconds, the lowest place first, up to the last that is not zero.

    Those of the longest, where it is longer.
    """
    units = min(max(1, math.ceil(delay / UNIT - 1e-9)), _MOST)
    digits = []
    for base in _BASES:
        if not units:
            break
        units, digit = divmod(units, base)
        digits.append(digit)
    return digits


def stops(delay: float) -> list[Stop]:
    """The queues that a message passes, in this order."""
    return [Stop(place, digit) for place, digit in enumerate(digits_of(delay)) if digit][::-1]


def delay_key(delay: float, kind: Kind, destination: str) -> str:
    """The routing key that leads through the stops to a destination."""
    return ".".join([*map(str, digits_of(delay)), f"~{kind}", destination])


def due_binding(kind: Kind, destination: str) -> str:
    """What a queue is bound with to take what has passed all stops to the destination, which may have wildcards."""
    return f"#.~{kind}.{destination}"


class DelayNames:
    """What the exchanges and queues are called, and how they are declared."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}delay."
        self.due = f"{self._prefix}due"
        self.astray = f"{self._prefix}astray"  # where what is due goes that no queue takes

    def _exchange(self, place: int) -> str:
        return f"{self._prefix}{place}" if place >= 0 else self.due

    def entry(self, delay: float) -> str:
        """The exchange where its way begins: that of the first stop, because the places above are zeros."""
        return self._exchange(stops(delay)[0].place)

    def queue(self, stop: Stop) -> str:
        return f"{self._prefix}{stop.place}.{stop.digit}"

    def declarations(self, queue_type: str, dead_queue: str) -> Iterator[object]:
        """The methods that make it all, each harmless where it was made before."""
        yield spec.Exchange.Declare(exchange=self.astray, type="fanout", durable=True)
        yield spec.Queue.Bind(queue=dead_queue, exchange=self.astray)
        astray = {"alternate-exchange": self.astray}
        yield spec.Exchange.Declare(exchange=self.due, type="topic", durable=True, arguments=astray)
        for place in range(PLACES):
            here, following = self._exchange(place), self._exchange(place - 1)
            lower = "*." * place
            yield spec.Exchange.Declare(exchange=here, type="topic", durable=True)
            yield spec.Exchange.Bind(destination=following, source=here, routing_key=f"{lower}0.#")
            for digit in range(1, _BASES[place]):
                stop = Stop(place, digit)
                arguments: dict[str, object] = {
                    "x-queue-type": queue_type,
                    "x-message-ttl": stop.milliseconds,
                    "x-dead-letter-exchange": following,
                }
                if queue_type == "quorum":  # handed on with a confirm, as durable as the queues themselves
                    arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
                yield spec.Queue.Declare(queue=self.queue(stop), durable=True, arguments=arguments)
                yield spec.Queue.Bind(queue=self.queue(stop), exchange=here, routing_key=f"{lower}{digit}.#")
