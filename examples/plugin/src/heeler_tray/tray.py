"""What stands for a message server here: messages in the order in which they are taken, and who waits for them."""

from __future__ import annotations

import bisect
import heapq
import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heeler.model import DeadLetter, Envelope

__all__ = ["Message", "Sleeper", "Tray", "tray_named"]


@dataclass(eq=False)
class Message:
    """`number` tells messages apart: the same job may be on its way twice."""

    envelope: Envelope
    number: int
    due_at: float
    redelivered: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Larger priorities first, then the order in which they were sent."""
        return (-self.envelope.priority, self.number)


class Sleeper(Protocol):
    """A subscription that waits for messages."""

    @property
    def queues(self) -> Sequence[str]: ...

    def wake(self) -> None:
        """There is a message for you."""
        ...

    def look_at_the_clock(self) -> None:
        """A message may come due earlier than you know."""
        ...


@dataclass(eq=False)
class Tray:
    """Shared by all brokers of one name, which may be on different threads: all is done under `lock`."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    lines: dict[str, list[Message]] = field(default_factory=dict)  # by queue, what may be taken, in order
    delayed: list[tuple[float, int, Message]] = field(default_factory=list)  # a heap
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    sleepers: dict[Sleeper, None] = field(default_factory=dict)  # who has waited longest is first
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def send(self, envelope: Envelope, due_at: float, now: float) -> None:
        self.put(Message(envelope, next(self._numbers), due_at), now)

    def put(self, message: Message, now: float) -> None:
        """Put a message in at its place, or aside until it is due."""
        queue = message.envelope.queue
        line = self.lines.setdefault(queue, [])
        if message.due_at <= now:
            bisect.insort(line, message, key=lambda one: one.place)
            self.wake_one(queue)
        else:
            heapq.heappush(self.delayed, (message.due_at, message.number, message))
            for sleeper in self.sleepers:
                sleeper.look_at_the_clock()

    def put_what_is_due(self, now: float) -> None:
        while self.delayed and self.delayed[0][0] <= now:
            self.put(heapq.heappop(self.delayed)[2], now)

    def next_due_at(self) -> float | None:
        return self.delayed[0][0] if self.delayed else None

    def take(self, queue: str) -> Message | None:
        line = self.lines.get(queue)
        return line.pop(0) if line else None

    def wake_one(self, queue: str) -> None:
        """One message, one sleeper; who leaves some behind wakes the next."""
        for sleeper in self.sleepers:
            if queue in sleeper.queues:
                del self.sleepers[sleeper]
                sleeper.wake()
                return


_trays: dict[tuple[str, str], Tray] = {}
os.register_at_fork(after_in_child=_trays.clear)  # a forked child begins with nothing


def tray_named(namespace: str, name: str) -> Tray:
    return _trays.setdefault((namespace, name), Tray())
